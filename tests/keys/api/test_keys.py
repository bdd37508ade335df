"""The life of a key over the REST API."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from keys import values
from keys.models import ApiKey, Credential, Gateway, GatewayKey, Tier
from keys.services import api_keys, catalog, tenants
from tenants.audit import SYSTEM
from tenants.models import AuditEvent, Scope, Tenant
from tests.keys.api.asking import refusal, wrong_fields
from tests.support.api import ApiClient
from tests.support.factories import bring_into_service, buy, make_tier

pytestmark = pytest.mark.django_db
FIELDS = [
    "id",
    "name",
    "description",
    "tier",
    "status",
    "last_four",
    "credential_ready",
    "endpoint",
    "ready_in_seconds",
    "created_at",
    "disabled_at",
    "revoked_at",
]
URL = "http://127.0.0.1:4510/_aws/execute-api/groceries/v1"


@pytest.fixture
def tier() -> Tier:
    """Siloed, so that a key of it can do everything."""
    return make_tier(slug="premium")


@pytest.fixture
def shop(acme: Tenant, tier: Tier) -> ApiKey:
    """A key of Acme that is ready."""
    api_key = buy(acme, tier)
    bring_into_service()
    return api_key


def actions() -> list[str]:
    return list(AuditEvent.objects.filter(target_type="apikey").order_by("created_at", "pk").values_list("action", flat=True))


def value_of(pk: Any) -> str:
    return values.decrypt(ApiKey.objects.get(pk=pk).gateway_key.value_encrypted)


def same(told: str, moment: datetime | None) -> bool:
    return datetime.fromisoformat(told) == moment


# --- Buying


def test_purchase_answers_key_and_credential(api: ApiClient, alice: Any, acme: Tenant, tier: Tier) -> None:
    answer = api.post("/keys", {"tier": "premium", "name": " Shop ", "description": "Web"})

    body = answer.json()
    assert answer.status_code == 201
    assert list(body) == [*FIELDS, "credential"]
    assert (body["name"], body["description"], body["tier"], body["status"], body["endpoint"]) == (
        "Shop",
        "Web",
        "premium",
        "preparing",
        URL,
    )
    assert (body["disabled_at"], body["revoked_at"]) == (None, None)
    bought = ApiKey.objects.get(pk=body["id"])
    assert (bought.tenant, bought.created_by) == (acme, alice)
    assert body["credential"] == value_of(body["id"])
    assert body["last_four"] == body["credential"][-4:]
    assert same(body["created_at"], bought.created_at)
    assert answer["Location"] == f"/api/v1/keys/{body['id']}"
    events = AuditEvent.objects.filter(target_id=body["id"])
    assert {(event.action, event.actor_label) for event in events} == {
        ("api_key.bought", "alice@example.com (CI)"),
        ("api_key.revealed", "alice@example.com (CI)"),
    }
    assert body["credential"] not in str([event.data for event in events])


def test_etag_of_a_purchase_is_that_of_the_key(api: ApiClient, tier: Tier) -> None:
    bought = api.post("/keys", {"tier": "premium", "name": "Shop"})
    found = api.get(bought["Location"])
    assert found["ETag"] == bought["ETag"]
    assert {**found.json(), "credential": bought.json()["credential"]} == bought.json()
    assert api.get(bought["Location"], If_None_Match=bought["ETag"]).status_code == 304


def test_key_that_is_being_prepared_says_about_how_long_under_the_same_version(api: ApiClient, tier: Tier) -> None:
    Gateway.objects.update(propagation_seconds=30)
    bought = api.post("/keys", {"tier": "premium", "name": "Shop"})
    Gateway.objects.update(propagation_seconds=60)
    found = api.get(bought["Location"])

    assert 30 < bought.json()["ready_in_seconds"] < 40
    assert found["ETag"] == bought["ETag"]
    assert [row["ready_in_seconds"] for row in api.get("/keys").json()["data"]] == [bought.json()["ready_in_seconds"] + 30]
    assert api.patch(bought["Location"], {"name": "Web"}, If_Match=bought["ETag"]).status_code == 200

    Gateway.objects.update(resume_at=timezone.now() + timedelta(minutes=1))
    assert api.get("/keys").json()["data"][0]["ready_in_seconds"] is None
    bring_into_service()
    assert api.get("/keys").json()["data"][0]["ready_in_seconds"] is None


def test_pooled_purchase_is_ready_at_once(api: ApiClient) -> None:
    make_tier(slug="free", pool_size=2)
    bring_into_service()
    body = api.post("/keys", {"tier": "free", "name": "Shop"}).json()
    assert (body["status"], body["credential"]) == ("ready", value_of(body["id"]))


def test_same_idempotency_key_buys_once(api: ApiClient, tier: Tier) -> None:
    answers = [api.post("/keys", {"tier": "premium", "name": "Shop"}, Idempotency_Key="one") for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert answers[1]["Location"] == answers[0]["Location"]
    assert ApiKey.objects.count() == 1
    assert refusal(api.post("/keys", {"tier": "premium", "name": "Other"}, Idempotency_Key="one")) == (422, "idempotency-key-reused")


def test_same_body_without_an_idempotency_key_buys_twice(api: ApiClient, tier: Tier) -> None:
    ids = {api.post("/keys", {"tier": "premium", "name": "Shop"}).json()["id"] for _ in range(2)}
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, {"tier", "name"}),
        ({"tier": "premium", "name": " "}, {"name"}),
        ({"tier": "premium", "name": "a" * 101}, {"name"}),
        ({"tier": "premium", "name": "nul\0"}, {"name"}),
        ({"tier": "premium", "name": 5}, {"name"}),
        ({"tier": "premium", "name": None}, {"name"}),
        ({"tier": "premium", "name": "Shop", "description": "a" * 501}, {"description"}),
        ({"tier": "premium", "name": "Shop", "description": None}, {"description"}),
        ({"tier": "none", "name": "Shop"}, {"tier"}),
        ({"tier": ["premium"], "name": "Shop"}, {"tier"}),
        ({"tier": "premium", "name": "Shop", "isolation": "siloed", "slot": 1}, {"isolation", "slot"}),
    ],
)
def test_wrong_purchases_name_their_fields(api: ApiClient, tier: Tier, body: Any, wrong: set[str]) -> None:
    assert wrong_fields(api.post("/keys", body)) == wrong
    assert not ApiKey.objects.exists()


def test_maximum_is_refused_in_the_words_of_the_page(api: ApiClient, acme: Tenant) -> None:
    buy(acme, make_tier(slug="small", name="Small", max_api_keys=1))
    answer = api.post("/keys", {"tier": "small", "name": "Second"})
    assert refusal(answer) == (409, "refused")
    assert answer.json()["detail"].startswith("You have 1 key of the Small tier")


def test_retired_tier_is_not_sold(api: ApiClient, tier: Tier) -> None:
    catalog.retire_tier(tier=tier, actor=SYSTEM)
    answer = api.post("/keys", {"tier": "premium", "name": "Shop"})
    assert refusal(answer) == (409, "refused")
    assert "no longer sold" in answer.json()["detail"]


def test_nothing_is_bought_whose_credential_cannot_be_read(api: ApiClient) -> None:
    tier = make_tier(slug="free", pool_size=1)
    tier.pool.gateway_keys.update(value_encrypted="nonsense")
    answer = api.post("/keys", {"tier": "free", "name": "Shop"})
    assert refusal(answer) == (409, "refused")
    assert "nothing was bought" in answer.json()["detail"]
    assert not ApiKey.objects.exists()
    assert not Credential.objects.exists()
    assert actions() == []


# --- Looking


def test_every_state_is_shown_as_the_page_shows_it(api: ApiClient, acme: Tenant, tier: Tier) -> None:
    ready, disabled, revoked = (buy(acme, tier, name=name) for name in ("ready", "disabled", "revoked"))
    bring_into_service()
    buy(acme, tier, name="preparing")
    api_keys.disable(api_key=disabled, actor=SYSTEM)
    api_keys.revoke(api_key=revoked, actor=SYSTEM)

    for told in api.get("/keys").json()["data"]:
        row = ApiKey.objects.select_related("tenant", "gateway_key").get(pk=told["id"])
        assert told["name"] == told["status"] == row.status(timezone.now())
        assert told == api.get(f"/keys/{row.pk}").json()
        assert list(told) == FIELDS
        for column in ("disabled_at", "revoked_at"):
            assert (told[column] is None) == (getattr(row, column) is None)
    assert same(api.get(f"/keys/{revoked.pk}").json()["revoked_at"], ApiKey.objects.get(pk=revoked.pk).revoked_at)
    assert api.get(f"/keys/{ready.pk}").json()["status"] == "ready"


def test_another_organisations_key_is_like_none(as_person: Any, charlie: Any, shop: ApiKey) -> None:
    client = as_person(charlie)
    before = ApiKey.objects.values().get(pk=shop.pk)
    calls = [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("GET", "/usage"),
        *(("POST", f"/{verb}") for verb in ("rotate", "enable", "disable", "reveal")),
    ]
    for method, end in calls:
        answers = [client.call(method, f"/keys/{pk}{end}") for pk in (shop.pk, uuid.uuid4())]
        bodies = [{**answer.json(), "request_id": ""} for answer in answers]
        assert [refusal(answer) for answer in answers] == [(404, "not-found")] * 2, (method, end)
        assert bodies[0] == bodies[1]
        told = [{name for name in answer.headers if name != "X-Request-Id"} for answer in answers]
        assert told[0] == told[1]
    assert ApiKey.objects.values().get(pk=shop.pk) == before


# --- Renaming


def test_rename_changes_what_is_given(api: ApiClient, shop: ApiKey) -> None:
    answer = api.patch(f"/keys/{shop.pk}", {"description": "New"})
    assert (answer.status_code, answer.json()["name"], answer.json()["description"]) == (200, "Shop", "New")
    answer = api.patch(f"/keys/{shop.pk}", {"name": "Store"})
    assert (answer.json()["name"], answer.json()["description"]) == ("Store", "New")
    assert answer.json() == api.get(f"/keys/{shop.pk}").json()
    assert answer["ETag"] == api.get(f"/keys/{shop.pk}")["ETag"]
    assert actions() == ["api_key.bought", "api_key.renamed", "api_key.renamed"]


def test_empty_change_leaves_no_trace(api: ApiClient, shop: ApiKey) -> None:
    assert api.patch(f"/keys/{shop.pk}", {}).status_code == 200
    assert actions() == ["api_key.bought"]


@pytest.mark.parametrize(("body", "wrong"), [({"name": ""}, {"name"}), ({"name": None}, {"name"}), ({"tier": "x"}, {"tier"})])
def test_wrong_changes_name_their_fields(api: ApiClient, shop: ApiKey, body: Any, wrong: set[str]) -> None:
    assert wrong_fields(api.patch(f"/keys/{shop.pk}", body)) == wrong


def test_changes_of_an_old_version_are_refused(api: ApiClient, shop: ApiKey) -> None:
    old = api.get(f"/keys/{shop.pk}")["ETag"]
    assert api.patch(f"/keys/{shop.pk}", {"name": "Store"}, If_Match=old).status_code == 200
    for answer in (api.patch(f"/keys/{shop.pk}", {"name": "Again"}, If_Match=old), api.delete(f"/keys/{shop.pk}", If_Match=old)):
        assert refusal(answer) == (412, "precondition-failed")
        assert answer["ETag"] == api.get(f"/keys/{shop.pk}")["ETag"]
    shop.refresh_from_db()
    assert (shop.name, shop.revoked_at) == ("Store", None)
    assert api.delete(f"/keys/{shop.pk}", If_Match=api.get(f"/keys/{shop.pk}")["ETag"]).status_code == 200


# --- Revoking


def test_revoke_ends_the_key_and_keeps_it_in_the_list(api: ApiClient, shop: ApiKey) -> None:
    body = api.delete(f"/keys/{shop.pk}").json()
    assert (body["status"], body["notice"]) == ("revoked", None)
    assert body["revoked_at"] is not None
    assert api.delete(f"/keys/{shop.pk}").json() == body
    assert [key["status"] for key in api.get("/keys").json()["data"]] == ["revoked"]
    assert actions() == ["api_key.bought", "api_key.revoked"]


def test_revoke_says_what_it_cannot_do(api: ApiClient, acme: Tenant) -> None:
    api_key = buy(acme, make_tier(pool_size=1))
    notice = api.delete(f"/keys/{api_key.pk}").json()["notice"]
    assert notice == "If its credential leaked, tell our support: a copy of it may go on being answered until they replace it."


# --- Switches


def test_disable_and_enable(api: ApiClient, shop: ApiKey) -> None:
    disabled = api.post(f"/keys/{shop.pk}/disable")
    assert (disabled.status_code, disabled.json()["status"]) == (200, "disabled")
    assert api.post(f"/keys/{shop.pk}/disable").json() == disabled.json()
    enabled = api.post(f"/keys/{shop.pk}/enable")
    assert (enabled.status_code, enabled.json()["disabled_at"]) == (200, None)
    assert enabled["ETag"] == api.get(f"/keys/{shop.pk}")["ETag"]
    assert actions() == ["api_key.bought", "api_key.disabled", "api_key.enabled"]


@pytest.mark.parametrize("verb", ["enable", "disable", "reveal"])
def test_bodies_of_verbs_are_empty(api: ApiClient, shop: ApiKey, verb: str) -> None:
    assert wrong_fields(api.post(f"/keys/{shop.pk}/{verb}", {"now": True})) == {"now"}
    assert api.post(f"/keys/{shop.pk}/{verb}", {}).status_code == 200


@pytest.mark.parametrize("verb", ["disable", "rotate"])
def test_what_a_tier_cannot_do_is_refused_with_the_remedy(api: ApiClient, acme: Tenant, verb: str) -> None:
    api_key = buy(acme, make_tier(pool_size=1))
    bring_into_service()
    answer = api.post(f"/keys/{api_key.pk}/{verb}")
    assert refusal(answer) == (409, "refused")
    assert "Revoke the key" in answer.json()["detail"] or "tell our support" in answer.json()["detail"]


def test_nobody_keeps_the_gateway_busy_with_switches(api: ApiClient, settings: Any, shop: ApiKey) -> None:
    settings.API_SWITCHES_PER_MINUTE = 2
    with time_machine.travel(timezone.now(), tick=False):  # within one minute of the limit
        first = api.post(f"/keys/{shop.pk}/disable")
        assert first["RateLimit-Policy"] == '"default";q=1200;w=60, "switches";q=2;w=60'
        assert api.post(f"/keys/{shop.pk}/enable").status_code == 200
        answer = api.post(f"/keys/{shop.pk}/disable")
    assert refusal(answer) == (429, "rate-limited")
    assert 1 <= int(answer["Retry-After"]) <= 60
    assert api.get(f"/keys/{shop.pk}").status_code == 200


# --- Rotating and reading


def test_rotate_answers_the_new_credential_and_the_old_ones_end(api: ApiClient, shop: ApiKey) -> None:
    old = value_of(shop.pk)
    answer = api.post(f"/keys/{shop.pk}/rotate", {"grace_seconds": 600})

    body = answer.json()
    assert (answer.status_code, list(body)) == (200, [*FIELDS, "credential", "old_credential_ends_at"])
    assert body["credential"] == value_of(shop.pk) != old
    assert body["last_four"] == body["credential"][-4:]
    [ended] = Credential.objects.filter(api_key=shop, ends_at__isnull=False)
    assert same(body["old_credential_ends_at"], ended.ends_at)
    assert actions() == ["api_key.bought", "api_key.rotated", "api_key.revealed"]


def test_key_works_on_while_its_new_credential_is_being_made(api: ApiClient, shop: ApiKey) -> None:
    rotated = api.post(f"/keys/{shop.pk}/rotate", {"grace_seconds": 600})

    def standing() -> tuple[Any, ...]:
        [listed] = api.get("/keys").json()["data"]
        found = api.get(f"/keys/{shop.pk}")
        assert found.json() == listed
        return (listed["status"], listed["credential_ready"], listed["ready_in_seconds"] is None, found["ETag"])

    assert (rotated.json()["status"], rotated.json()["credential_ready"]) == ("ready", False)
    making = standing()
    assert making[:3] == ("ready", False, False)
    assert [len(api.get(f"/keys?status={status}").json()["data"]) for status in ("ready", "preparing")] == [1, 0]

    bring_into_service()
    made = standing()
    assert made[:3] == ("ready", True, True)
    assert made[3] != making[3]


def test_key_whose_old_credential_ended_at_once_is_being_prepared(api: ApiClient, shop: ApiKey) -> None:
    body = api.post(f"/keys/{shop.pk}/rotate", {"grace_seconds": 0}).json()
    assert (body["status"], body["credential_ready"]) == ("preparing", False)
    assert [len(api.get(f"/keys?status={status}").json()["data"]) for status in ("ready", "preparing")] == [0, 1]


def test_key_whose_old_credential_is_lost_too_is_being_prepared(api: ApiClient, shop: ApiKey) -> None:
    api.post(f"/keys/{shop.pk}/rotate", {"grace_seconds": 600})
    GatewayKey.objects.update(in_service_at=None)
    [listed] = api.get("/keys").json()["data"]
    assert (listed["status"], listed["credential_ready"]) == ("preparing", False)


def test_grace_is_a_day_unless_told(api: ApiClient, shop: ApiKey) -> None:
    before = timezone.now()
    ends_at = datetime.fromisoformat(api.post(f"/keys/{shop.pk}/rotate").json()["old_credential_ends_at"])
    assert before + timedelta(days=1) <= ends_at <= timezone.now() + timedelta(days=1)


@pytest.mark.parametrize("grace", [-1, 604_801, "600", 1.5, True, None])
def test_wrong_grace(api: ApiClient, shop: ApiKey, grace: Any) -> None:
    assert wrong_fields(api.post(f"/keys/{shop.pk}/rotate", {"grace_seconds": grace})) == {"grace_seconds"}
    assert Credential.objects.count() == 1


def test_second_rotation_within_the_grace_is_refused(api: ApiClient, shop: ApiKey) -> None:
    api.post(f"/keys/{shop.pk}/rotate", {"grace_seconds": 604_800})
    bring_into_service()
    assert refusal(api.post(f"/keys/{shop.pk}/rotate")) == (409, "refused")
    assert actions().count("api_key.revealed") == 1


def test_repeated_rotation_with_an_idempotency_key_rotates_once(api: ApiClient, shop: ApiKey) -> None:
    answers = [api.post(f"/keys/{shop.pk}/rotate", {"grace_seconds": 60}, Idempotency_Key="r").json() for _ in range(2)]
    assert answers[0] == answers[1]
    assert Credential.objects.filter(api_key=shop).count() == 2


def test_reveal(api: ApiClient, shop: ApiKey) -> None:
    answer = api.post(f"/keys/{shop.pk}/reveal")
    assert (answer.status_code, answer.json()["credential"]) == (200, value_of(shop.pk))
    assert "no-store" in answer["Cache-Control"]
    assert actions() == ["api_key.bought", "api_key.revealed"]


def test_revoked_key_does_nothing_more(api: ApiClient, shop: ApiKey) -> None:
    api.delete(f"/keys/{shop.pk}")
    for verb in ("rotate", "enable", "disable", "reveal"):
        assert refusal(api.post(f"/keys/{shop.pk}/{verb}")) == (409, "refused"), verb
    assert api.patch(f"/keys/{shop.pk}", {"name": "Late"}).status_code == 200


def test_suspended_organisation_is_refused_in_the_words_of_the_service(api: ApiClient, acme: Tenant, shop: ApiKey) -> None:
    tenants.suspend(tenant=acme, reason="No payment", actor=SYSTEM)
    assert api.get(f"/keys/{shop.pk}").json()["status"] == "disabled"
    answers = [api.post(f"/keys/{shop.pk}/{verb}") for verb in ("rotate", "enable", "disable", "reveal")]
    for answer in [*answers, api.post("/keys", {"tier": "premium", "name": "New"})]:
        assert refusal(answer) == (409, "refused")
        assert answer.json()["detail"].startswith("Acme is suspended.")
        assert "No payment" not in answer.content.decode()
    assert api.patch(f"/keys/{shop.pk}", {"name": "Store"}).status_code == 200
    assert api.delete(f"/keys/{shop.pk}").status_code == 200


# --- Rights


def test_each_scope_opens_its_own_and_no_more(as_person: Any, alice: Any, shop: ApiKey) -> None:
    calls = {
        Scope.KEYS_READ: [("GET", "/tiers"), ("GET", "/tiers/premium"), ("GET", "/keys"), ("GET", f"/keys/{shop.pk}")],
        Scope.USAGE_READ: [("GET", "/usage"), ("GET", f"/keys/{shop.pk}/usage")],
        Scope.KEYS_REVEAL: [("POST", f"/keys/{shop.pk}/reveal")],
        Scope.KEYS_WRITE: [
            ("POST", "/keys"),
            ("POST", "/keys/batch"),
            ("PATCH", f"/keys/{shop.pk}"),
            *(("POST", f"/keys/{shop.pk}/{verb}") for verb in ("rotate", "enable", "disable")),
            ("DELETE", f"/keys/{shop.pk}"),
        ],
    }
    for given in calls:
        client = as_person(alice, scopes=[given])
        for needed, those in calls.items():
            for method, path in those:
                answer = client.call(method, path, {} if method in {"POST", "PATCH"} else None)
                if needed is given:
                    assert answer.status_code not in {401, 403, 404}, (given, method, path)
                else:
                    assert refusal(answer) == (403, "insufficient-scope"), (given, method, path)
