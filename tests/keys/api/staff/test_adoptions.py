"""``/staff/adoptions``: asked for, decided about and withdrawn over the REST API."""

from typing import Any

import pytest

from keys.models import Adoption, AdoptionState
from keys.proposals import KeySeen, PlanSeen, Proposal, Take
from tenants.models import AuditEvent, User
from tests.support.api import ApiClient, make_client
from tests.support.factories import make_stage, make_tier

pytestmark = pytest.mark.django_db


@pytest.fixture
def api(sam: User) -> ApiClient:
    return make_client(sam)


def proposed(**plan: Any) -> Adoption:
    """An adoption that a worker has looked for."""
    gateway = make_stage().gateway
    seen = {
        "id": "p1", "name": "Basic", "rate": None, "burst": None, "quota_limit": None, "quota_period": "", "stages": ("groceries:v1",),
        "keys": (KeySeen(id="k1", name="Shop", enabled=True), KeySeen(id="k2", name="Both", enabled=True, plans=2)),
    }  # fmt: skip
    proposal = Proposal(plans=(PlanSeen(**{**seen, **plan}),), loose_keys=3)
    return Adoption.objects.create(gateway=gateway, proposal=proposal.as_json(), proposed_at=gateway.created_at)


def test_asking_makes_an_adoption_that_waits_for_a_worker(api: ApiClient, sam: User) -> None:
    gateway = make_stage().gateway

    answer = api.post("/staff/adoptions", {"gateway": str(gateway.pk)})

    assert (answer.status_code, answer.json()["state"], answer.json()["asked_by"]) == (202, "looking", sam.email)
    assert answer["Location"] == f"/api/v1/staff/adoptions/{answer.json()['id']}"
    assert api.post("/staff/adoptions", {"gateway": str(gateway.pk)}).status_code == 409


def test_a_proposal_says_what_is_in_the_way(api: ApiClient) -> None:
    make_tier(slug="basic")
    adoption = proposed()

    shown = api.get(f"/staff/adoptions/{adoption.pk}").json()

    [plan] = shown["plans"]
    assert (plan["plan"], plan["throttle_rate"], plan["suggested_tier"], shown["loose_keys"]) == ("p1", None, "basic-2", 3)
    assert [sentence.partition(",")[0] for sentence in plan["obstacles"]] == [
        "The plan has no rate above 0",
        "The plan has no burst above 0",
    ]
    assert [(key["id"], bool(key["left_alone"])) for key in plan["keys"]] == [("k1", False), ("k2", True)]


def test_decisions_are_kept_for_the_worker(api: ApiClient, sam: User) -> None:
    adoption = proposed()
    body = {
        "plans": [{"plan": "p1", "take": "siloed", "throttle_rate": 2.5, "throttle_burst": 5, "holders": [{"key": "k1", "tenants": ["A"]}]}]
    }

    answer = api.post(f"/staff/adoptions/{adoption.pk}/confirm", body)

    assert (answer.status_code, answer.json()["state"]) == (202, "confirmed")
    adoption.refresh_from_db()
    [decision] = adoption.decisions["plans"]
    assert (decision["take"], decision["tier"], decision["name"], decision["throttle_rate"]) == (Take.SILOED, "basic", "Basic", "2.500")
    assert decision["holders"] == {"k1": ["A"]}
    assert adoption.decisions["by"]["user"] == str(sam.pk)
    event = AuditEvent.objects.get(action="adoption.confirmed")
    assert (event.actor, event.data["plans"]) == (sam, [{"id": "p1", "name": "Basic", "take": "siloed", "tier": "basic"}])


def test_a_preview_tells_what_decisions_make_and_changes_nothing(api: ApiClient) -> None:
    adoption = proposed(rate=1, burst=1)
    body = {"plans": [{"plan": "p1", "take": "siloed"}]}

    answer = api.post(f"/staff/adoptions/{adoption.pk}/preview", body)

    assert answer.json() == {"keys": 1, "left": 1, "new_tiers": 1, "new_tenants": 1, "nameless": 1, "named_after_keys": 1, "tenants": 0}
    [plan] = api.get(f"/staff/adoptions/{adoption.pk}").json()["plans"]
    assert plan["new_tenants"] == 1
    body["plans"][0]["plan"] = "p2"
    refused = api.post(f"/staff/adoptions/{adoption.pk}/preview", body)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "plans.0.plan")
    adoption.refresh_from_db()
    assert adoption.state is AdoptionState.PROPOSED


def test_many_new_tenants_are_made_only_when_their_number_is_said(api: ApiClient) -> None:
    keys = tuple(KeySeen(id=f"k{number}", name=f"Shop {number}", enabled=True) for number in range(51))
    adoption = proposed(rate=1, burst=1, keys=keys)
    plans = [{"plan": "p1", "take": "siloed"}]

    for said in ({}, {"new_tenants": None}, {"new_tenants": 50}):
        refused = api.post(f"/staff/adoptions/{adoption.pk}/confirm", {"plans": plans, **said})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "new_tenants")
        assert "51 new tenants" in refused.json()["errors"][0]["detail"]

    answer = api.post(f"/staff/adoptions/{adoption.pk}/confirm", {"plans": plans, "new_tenants": 51})

    assert (answer.status_code, answer.json()["state"]) == (202, "confirmed")


@pytest.mark.parametrize(
    ("plan", "field"),
    [
        pytest.param({"plan": "p2", "take": "siloed"}, "plans.0.plan", id="unknown plan"),
        pytest.param({"plan": "p1", "take": "siloed"}, "plans.0.throttle_rate", id="no rate"),
        pytest.param({"plan": "p1", "take": "leave"}, "plans", id="nothing"),
        pytest.param(
            {"plan": "p1", "take": "siloed", "throttle_rate": 1, "throttle_burst": 1, "tier": "No slug"}, "plans.0.tier", id="slug"
        ),
        pytest.param(
            {"plan": "p1", "take": "siloed", "throttle_rate": 1, "throttle_burst": 1, "holders": [{"key": "k9", "tenants": ["A"]}]},
            "plans.0.holders",
            id="unknown key",
        ),
        pytest.param(
            {"plan": "p1", "take": "siloed", "throttle_rate": 1, "throttle_burst": 1, "holders": [{"key": "k1", "tenants": ["A", "B"]}]},
            "plans.0.holders",
            id="two tenants of one key",
        ),
        pytest.param(
            {"plan": "p1", "take": "siloed", "throttle_rate": 1, "throttle_burst": 1, "tenant": "00000000-0000-4000-8000-000000000000"},
            "plans.0.holders",
            id="unknown tenant",
        ),
        pytest.param(
            {"plan": "p1", "take": "siloed", "throttle_rate": 1, "throttle_burst": 1, "quota_limit": 5}, "plans.0.quota_limit", id="period"
        ),
    ],
)
def test_what_cannot_be_carried_out_is_refused_by_field(api: ApiClient, plan: dict[str, Any], field: str) -> None:
    adoption = proposed()

    answer = api.post(f"/staff/adoptions/{adoption.pk}/confirm", {"plans": [plan]})

    assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (400, [field])
    adoption.refresh_from_db()
    assert adoption.state is AdoptionState.PROPOSED


def test_withdrawing_is_for_ever_and_repeating_it_changes_nothing(api: ApiClient) -> None:
    adoption = proposed()

    assert [api.post(f"/staff/adoptions/{adoption.pk}/withdraw").status_code for _ in range(2)] == [200, 200]
    assert api.post(f"/staff/adoptions/{adoption.pk}/confirm", {"plans": [{"plan": "p1", "take": "leave"}]}).status_code == 409
    assert AuditEvent.objects.filter(action="adoption.withdrawn").count() == 1


@pytest.mark.parametrize("state", AdoptionState.values)
def test_the_list_is_filtered_by_a_state_that_is_derived(api: ApiClient, state: str) -> None:
    now = make_stage().gateway.created_at
    gateway = proposed().gateway
    Adoption.objects.all().delete()
    times: dict[str, dict[str, Any]] = {
        "looking": {},
        "proposed": {"proposed_at": now},
        "confirmed": {"proposed_at": now, "confirmed_at": now},
        "applied": {"proposed_at": now, "confirmed_at": now, "applied_at": now},
        "withdrawn": {"proposed_at": now, "withdrawn_at": now},
        "failed": {"confirmed_at": now, "error": "no"},
    }
    Adoption.objects.create(gateway=gateway, **times[state])

    found = {each: [row["state"] for row in api.get(f"/staff/adoptions?state={each}").json()["data"]] for each in AdoptionState.values}

    assert found == {each: [state] if each == state else [] for each in AdoptionState.values}
