"""Pools and plans of tiers over the REST API."""

from typing import Any

import pytest

from keys import selectors
from keys.models import ApiKey, Tier
from keys.services import api_keys, pools
from tenants.audit import SYSTEM
from tenants.models import AuditEvent, User
from tests.support.api import ApiClient, make_client
from tests.support.cast import make_user
from tests.support.factories import buy, make_gateway, make_stage, make_tenant, make_tier

pytestmark = pytest.mark.django_db

SPLIT = [
    {"slug": "free", "share": 10, "keys": 1},
    {"slug": "basic", "share": 50, "keys": 25, "blast_radius": 0.001},
    {"slug": "premium", "share": 40, "keys": 10},
]


def loads(tier: Tier) -> list[int]:
    return [load for _key, load in selectors.pool_loads(tier)]


@pytest.fixture
def grown() -> Tier:
    """A pool of 4 keys whose 8 API keys stand on the first."""
    tier = make_tier(pool_size=1)
    for _ in range(8):
        buy(make_tenant(), tier)
    pools.resize_pool(tier=tier, size=4, actor=SYSTEM)
    return tier


def test_pool_is_shown_with_its_histogram_and_free_slots(staff: ApiClient, grown: Tier) -> None:
    shown = staff.get(f"/staff/pools/{grown.pk}").json()

    assert (shown["load_min"], shown["load_max"], shown["blast_radius"], shown["free_slots"]) == (0, 8, 1, 24)
    assert shown["loads"] == [{"load": 0, "gateway_keys": 3}, {"load": 8, "gateway_keys": 1}]


def test_rebalance_does_what_its_preview_says(staff: ApiClient, grown: Tier) -> None:
    preview = staff.get(f"/staff/pools/{grown.pk}/rebalance").json()
    assert preview == {
        "size": 4, "moved": 6, "new_url": 0, "load_min": 2, "load_max": 2, "blast_radius_before": 1.0, "blast_radius": 0.25,
        "grace_seconds": 604_800,
    }  # fmt: skip
    assert loads(grown) == [8, 0, 0, 0]

    some = staff.post(f"/staff/pools/{grown.pk}/rebalance", {"most": 2}).json()
    rest = staff.post(f"/staff/pools/{grown.pk}/rebalance", {}).json()
    again = staff.post(f"/staff/pools/{grown.pk}/rebalance", {}).json()

    assert (some["moved"], rest["moved"], again["moved"]) == (2, 4, 0)
    assert rest["loads"] == [{"load": 2, "gateway_keys": 4}]
    assert loads(grown) == [2, 2, 2, 2]


def test_preview_of_a_size_names_moves_and_loads(staff: ApiClient, grown: Tier) -> None:
    pools.rebalance_pool(tier=grown, actor=SYSTEM)

    shown = staff.get(f"/staff/pools/{grown.pk}/preview?size=2").json()

    assert (shown["moved"], shown["load_min"], shown["load_max"], shown["blast_radius"]) == (4, 4, 4, 0.5)


def test_pool_that_cannot_grow_is_refused_with_the_reason(staff: ApiClient) -> None:
    tier = make_tier(stage=make_stage(make_gateway(capacity=3)), pool_size=2)

    refused = staff.post(f"/staff/pools/{tier.pk}/resize", {"size": 9})

    assert refused.status_code == 409
    assert "no room for so many keys" in refused.json()["detail"]


def test_plan_shows_what_applying_it_does(staff: ApiClient) -> None:
    make_stage()
    shown = staff.post("/staff/tier-plan", {"rate": 1000, "tiers": SPLIT}).json()

    assert [(each["keys"], each["throttle_rate"], each["throttle_burst"]) for each in shown["tiers"]] == [
        (1, 100, 50), (25, 20, 10), (10, 40, 20),
    ]  # fmt: skip
    assert (shown["requests_a_second"], shown["burst"], shown["gateways_needed"]) == (1000, 500, 1)
    assert [(each["concern"], each["tier"]) for each in shown["warnings"]] == [("blast_radius", "basic")]
    assert [step["tier"] for step in shown["steps"]] == [None, None, None]
    assert not Tier.objects.exists()

    assert staff.post("/staff/tier-plan/apply", {"rate": 1000, "tiers": SPLIT}).json()["steps"] == shown["steps"]
    events = AuditEvent.objects.count()
    again = staff.post("/staff/tier-plan/apply", {"rate": 1000, "tiers": SPLIT}).json()

    assert [step["changes"] for step in again["steps"]] == [[], [], []]
    assert AuditEvent.objects.count() == events
    assert {tier.slug: tier.pool.size for tier in Tier.objects.all()} == {"free": 1, "basic": 25, "premium": 10}


def test_tier_whose_slug_says_nothing_is_named_by_it(staff: ApiClient) -> None:
    make_stage()

    assert staff.post("/staff/tier-plan/apply", {"rate": 10, "tiers": [{"slug": "--", "share": 100, "keys": 1}]}).status_code == 200

    assert Tier.objects.get().name == "--"


def test_plan_names_before_and_after_of_a_tier_that_exists(staff: ApiClient) -> None:
    tier = make_tier(slug="basic", pool_size=2)

    [step] = staff.post("/staff/tier-plan", {"rate": 1000, "tiers": [{"slug": "basic", "share": 1, "keys": 1}]}).json()["steps"]

    assert step == {
        "slug": "basic",
        "tier": {"id": str(tier.pk), "slug": "basic"},
        "changes": [{"field": "keys", "before": "pool of 2", "after": "pool of 1"}],
        "moved": 0,
    }


@pytest.mark.parametrize(
    ("tiers", "field", "words"),
    [
        ([{"slug": "a", "share": 10}], "tiers.0.keys", "Say how many"),
        ([SPLIT[0], {"slug": "b", "share": 10, "isolation": "siloed"}], "tiers.1.tenants", "how many tenants"),
        ([{"slug": "a", "share": 10, "keys": 1, "spare_target": 3}], "tiers.0.spare_target", "Only a siloed"),
        ([SPLIT[0], SPLIT[0]], "tiers.0.slug", "twice"),
        ([{"slug": "a", "share": 10, "blast_radius": 0}], "tiers.0.blast_radius", "greater than or equal"),
        ([{"slug": "a", "share": 10, "blast_radius": 10**40}], "tiers.0.blast_radius", "less than or equal to 1"),
        ([{"slug": "a", "share": 10, "blast_radius": -(10**40)}], "tiers.0.blast_radius", "greater than or equal"),
        ([{"slug": "A!", "share": 10, "keys": 1}], "tiers.0.slug", "a to z"),
        ([], "tiers", "at least 1"),
    ],
)
def test_plan_that_cannot_be_names_the_field(staff: ApiClient, tiers: list[dict[str, Any]], field: str, words: str) -> None:
    refused = staff.post("/staff/tier-plan", {"rate": 1000, "tiers": tiers})

    assert refused.status_code == 400
    [error] = refused.json()["errors"]
    assert error["field"] == field
    assert words in error["detail"]


def test_plan_of_the_other_isolation_is_refused(staff: ApiClient) -> None:
    make_tier(slug="gold")

    refused = staff.post("/staff/tier-plan", {"rate": 1000, "tiers": [{"slug": "gold", "share": 10, "keys": 1, "isolation": "pooled"}]})

    assert refused.status_code == 409
    assert "gold is siloed and stays so" in refused.json()["detail"]


def test_applying_a_plan_takes_the_right_to_add_tiers_too(staff: ApiClient) -> None:
    from django.contrib.auth.models import Permission  # only here

    helper: User = make_user("helper@example.com", is_staff=True)
    helper.user_permissions.set(Permission.objects.filter(codename__in=["view_tier", "change_tier"]))
    client = make_client(helper)
    body = {"rate": 1000, "tiers": SPLIT}

    assert client.post("/staff/tier-plan", body).status_code == 200
    refused = client.post("/staff/tier-plan/apply", body)

    assert refused.status_code == 403
    assert "keys.add_tier" in refused.json()["detail"]


def test_rebalance_levels_what_cancels_left_uneven(staff: ApiClient) -> None:
    tier = make_tier(pool_size=2)
    bought = [buy(make_tenant(), tier) for _ in range(12)]
    for each in bought[::2]:
        api_keys.revoke(api_key=each, actor=SYSTEM)

    assert staff.post(f"/staff/pools/{tier.pk}/rebalance", {}).json()["moved"] == 3
    assert loads(tier) == [3, 3]
    assert ApiKey.objects.live().count() == 6
