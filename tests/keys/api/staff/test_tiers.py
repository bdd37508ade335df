"""/staff/tiers and /staff/usage-plans."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from keys.models import GatewayKey, Stage, Tier, UsagePlan
from tenants.models import AuditEvent, Tenant
from tests.keys.api.staff.conftest import told
from tests.support.api import ApiClient
from tests.support.factories import bring_into_service, buy, make_gateway, make_stage, make_tenant, make_tier

pytestmark = pytest.mark.django_db


def tier_input(**fields: Any) -> dict[str, Any]:
    stage = Stage.objects.first() or make_stage()
    values = {
        "slug": "gold",
        "name": "Gold",
        "price_minor": 4999,
        "currency": "USD",
        "isolation": "siloed",
        "throttle_rate": 0.5,
        "throttle_burst": 5,
        "stages": [str(stage.pk)],
    }
    return {**values, **fields}


def test_tier_is_made_and_told_with_all_that_staff_may_know(staff: ApiClient) -> None:
    made = staff.post("/staff/tiers", tier_input(isolation="pooled", pool_size=3, quota_limit=100, quota_period="DAY"))

    assert made.status_code == 201
    shown = made.json()
    assert made["Location"] == f"/api/v1/staff/tiers/{shown['id']}"
    tier = Tier.objects.get(slug="gold")
    assert (tier.throttle_rate, tier.quota_limit, tier.pool.size) == (Decimal("0.5"), 100, 3)
    assert {
        name: shown[name] for name in ("isolation", "throttle_rate", "price_minor", "pool_size", "load_min", "usage_plans_pending")
    } == {
        "isolation": "pooled",
        "throttle_rate": 0.5,
        "price_minor": 4999,
        "pool_size": 3,
        "load_min": 0,
        "usage_plans_pending": 1,
    }
    assert staff.get(made["Location"]).json() == shown
    event = AuditEvent.objects.get(action="tier.created")
    assert (event.actor_label, event.target_label) == ("sam@example.com (CI)", "Gold")


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"throttle_rate": "10"}, "throttle_rate", "number"),
        ({"throttle_rate": 0}, "throttle_rate", "0.001"),
        ({"throttle_rate": 1.2345}, "throttle_rate", "3 decimal places"),
        ({"throttle_rate": True}, "throttle_rate", "number"),
        ({"throttle_burst": 2.5}, "throttle_burst", "whole number"),
        ({"currency": "usd"}, "currency", "Write a currency as USD."),
        ({"slug": "Gold tier"}, "slug", "a to z"),
        ({"quota_limit": 5}, "quota_period", "Choose the period"),
        ({"quota_period": "DAY"}, "quota_limit", "Give the quota"),
        ({"isolation": "pooled"}, "pool_size", "at least 1"),
        ({"pool_size": 2}, "pool_size", "has no pool"),
        ({"isolation": "pooled", "pool_size": 2, "spare_target": 1}, "spare_target", "set it to 0"),
        ({"isolation": "dedicated"}, "isolation", "not a valid choice"),
        ({"stages": []}, "stages", "at least 1"),
        ({"stages": [7]}, "stages.0", "UUID"),
        ({"stages": ["11111111-1111-1111-1111-111111111111"]}, "stages", "no stage with the id 11111111"),
        ({"prise_minor": 1}, "prise_minor", "no such field"),
        ({"price_minor": 2**31}, "price_minor", "2147483647"),
    ],
)
def test_wrong_fields_are_named(staff: ApiClient, fields: dict[str, Any], field: str, said: str) -> None:
    answer = staff.post("/staff/tiers", tier_input(**fields))
    errors = answer.json()["errors"]
    assert answer.status_code == 400
    assert [error["field"] for error in errors] == [field]
    assert said in errors[0]["detail"]
    assert Tier.objects.count() == 0


def test_slug_that_is_taken_is_refused_in_the_services_words(staff: ApiClient) -> None:
    make_tier(slug="gold")
    status, slug, detail = told(staff.post("/staff/tiers", tier_input()))
    assert (status, slug) == (409, "refused")
    assert detail == "slug: Tier with this Slug already exists."


def test_limits_and_offer_change_together_or_not_at_all(staff: ApiClient) -> None:
    tier = make_tier(price_minor=100, quota_limit=2000, quota_period="DAY")
    bring_into_service()

    changed = staff.patch(f"/staff/tiers/{tier.pk}", {"price_minor": 200, "throttle_rate": 25.5, "throttle_burst": 50})
    assert changed.status_code == 200
    assert (changed.json()["price_minor"], changed.json()["throttle_rate"], changed.json()["usage_plans_pending"]) == (200, 25.5, 1)
    assert set(AuditEvent.objects.filter(target_id=str(tier.pk)).values_list("action", flat=True)) == {
        "tier.created",
        "tier.offer_changed",
        "tier.limits_changed",
    }

    refused = staff.patch(f"/staff/tiers/{tier.pk}", {"price_minor": 300, "quota_limit": None})
    assert told(refused)[0:2] == (409, "refused")
    assert "give both" in told(refused)[2]
    assert staff.get(f"/staff/tiers/{tier.pk}").json()["price_minor"] == 200

    both = staff.patch(f"/staff/tiers/{tier.pk}", {"quota_limit": None, "quota_period": None})
    assert (both.json()["quota_limit"], both.json()["quota_period"]) == (None, None)


def test_change_of_an_older_version_is_refused(staff: ApiClient, acme: Tenant) -> None:
    tier = make_tier()
    etag = staff.get(f"/staff/tiers/{tier.pk}")["ETag"]
    buy(acme, tier)  # what buyers do makes no other version
    assert staff.patch(f"/staff/tiers/{tier.pk}", {"position": 7}, If_Match=etag).status_code == 200

    late = staff.patch(f"/staff/tiers/{tier.pk}", {"position": 8}, If_Match=etag)
    assert told(late)[:2] == (412, "precondition-failed")
    assert late["ETag"] == staff.get(f"/staff/tiers/{tier.pk}")["ETag"]
    assert Tier.objects.get().position == 7


def test_stages_are_served_and_not_left_while_keys_stand_there(staff: ApiClient, acme: Tenant) -> None:
    tier = make_tier()
    buy(acme, tier)
    elsewhere = make_stage(make_gateway())

    refused = staff.patch(f"/staff/tiers/{tier.pk}", {"stages": [str(elsewhere.pk)], "name": "Moved"})
    assert told(refused)[:2] == (409, "refused")
    assert "still holds keys of this tier" in told(refused)[2]
    assert Tier.objects.exclude(name="Moved").count() == 1

    both = sorted([str(tier.stages.get().pk), str(elsewhere.pk)])
    assert staff.patch(f"/staff/tiers/{tier.pk}", {"stages": both}).json()["stages"] == both


def test_tier_is_retired_and_reopened(staff: ApiClient) -> None:
    tier = make_tier(spare_target=1)
    for _again in range(2):
        assert staff.post(f"/staff/tiers/{tier.pk}/retire").json()["retired_at"] is not None
    assert GatewayKey.objects.filter(role="spare", ends_at=None).count() == 0
    assert [row["id"] for row in staff.get("/staff/tiers?retired=true").json()["data"]] == [str(tier.pk)]
    assert staff.get("/staff/tiers?retired=false").json()["data"] == []

    assert staff.post(f"/staff/tiers/{tier.pk}/reopen", {}).json()["retired_at"] is None
    assert told(staff.post(f"/staff/tiers/{tier.pk}/reopen", {"now": True}))[:2] == (400, "invalid-fields")


def test_new_limits_are_previewed(staff: ApiClient, acme: Tenant) -> None:
    tier = make_tier()
    buy(acme, tier)
    gateway = tier.stages.get().gateway
    other = make_tier()

    assert staff.get(f"/staff/tiers/{tier.pk}/preview").json() == {
        "gateways": [{"gateway": {"id": str(gateway.pk), "name": gateway.name}, "gateway_keys": 1, "seconds": 40}]
    }
    UsagePlan.objects.filter(tier=other).update(synced_revision=1)
    assert staff.get(f"/staff/tiers/{tier.pk}/preview").json()["gateways"][0]["seconds"] == 20


def test_tiers_are_filtered_and_counted(staff: ApiClient) -> None:
    pooled, siloed = make_tier(pool_size=2), make_tier()
    for _number in range(3):
        buy(make_tenant(), pooled)
    buy(make_tenant(), siloed)
    rows = {row["id"]: row for row in staff.get("/staff/tiers").json()["data"]}
    facts = ("api_keys", "load_min", "load_max")
    assert [rows[str(pooled.pk)][name] for name in facts] == [3, 1, 2]
    assert rows[str(pooled.pk)]["blast_radius"] == pytest.approx(2 / 3)
    assert [rows[str(siloed.pk)][name] for name in facts] == [1, None, None]
    assert [row["id"] for row in staff.get("/staff/tiers?isolation=pooled").json()["data"]] == [str(pooled.pk)]
    assert told(staff.get("/staff/tiers?retired=maybe"))[:2] == (400, "invalid-fields")
    assert told(staff.get("/staff/tiers?sale=open"))[:2] == (400, "invalid-fields")


def test_usage_plans_tell_what_differs(staff: ApiClient) -> None:
    tier, other = make_tier(slug="gold"), make_tier(slug="test")
    bring_into_service()
    seen = {"rate": "10", "burst": 99, "quota_limit": 2000, "quota_period": "DAY", "stages": ["groceries:v1"]}
    UsagePlan.objects.filter(tier=tier).update(observed=seen)
    UsagePlan.objects.filter(tier=other).update(revision=9, last_error="Refused.", permanent=True, attempts=1)

    [plan] = staff.get("/staff/usage-plans?tier=gold").json()["data"]
    assert (plan["pending"], plan["differences"]) == (False, ["Burst: the tier says 5, API Gateway has 99."])
    for state in ("pending", "failing", "person"):
        [plan] = staff.get(f"/staff/usage-plans?state={state}").json()["data"]
        assert (plan["tier"]["slug"], plan["needs_person"], plan["last_error"]) == ("test", True, "Refused.")


@pytest.mark.parametrize(("path", "most"), [("/staff/tiers", 4), ("/staff/usage-plans", 3)])
def test_lists_take_the_same_queries_whatever_their_length(
    staff: ApiClient, queries_of: Callable[[ApiClient, str], int], path: str, most: int
) -> None:
    make_tier(pool_size=2)
    few = queries_of(staff, path)
    for _number in range(4):
        make_tier(stage=make_stage(make_gateway()))
    assert queries_of(staff, path) == few <= most


def test_missing_tier_is_404(staff: ApiClient) -> None:
    pk = "11111111-1111-1111-1111-111111111111"
    for method, path in [("GET", ""), ("PATCH", ""), ("POST", "/retire"), ("POST", "/reopen"), ("GET", "/preview")]:
        assert told(staff.call(method, f"/staff/tiers/{pk}{path}", None if method == "GET" else {}))[:2] == (404, "not-found")
