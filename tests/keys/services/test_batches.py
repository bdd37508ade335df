"""Buying many at once."""

import uuid
from collections import Counter
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from keys.models import ApiKey, Credential, FreeSlot, GatewayKey, KeyRole, Status, Tier
from keys.models.room import recount
from keys.services import api_keys, catalog, purchases, tenants
from keys.services.purchases import Item
from tenants.audit import SYSTEM
from tenants.models import AuditEvent, Tenant
from tests.support.factories import bring_into_service, buy, keep_spares, make_gateway, make_stage, make_tenant, make_tier

pytestmark = pytest.mark.django_db
Outcomes = list[ApiKey | purchases.UnableToBuyKey]


def buy_many(tenant: Tenant, *items: Item) -> Outcomes:
    return purchases.buy_many(tenant=tenant, items=items, actor=SYSTEM)


def some(tier: Tier | str, count: int) -> list[Item]:
    return [Item(tier=tier, name=f"Shop {number}") for number in range(count)]


def kinds(outcomes: Outcomes) -> list[str]:
    return [type(outcome).__name__ for outcome in outcomes]


def test_each_item_is_bought_with_credential_and_audit_event(acme: Tenant) -> None:
    pooled, siloed = make_tier(slug="free", pool_size=2), make_tier(slug="own")

    outcomes = buy_many(acme, Item(tier="free", name="A", description="For a"), Item(tier=siloed, name="B"), Item(tier=pooled, name="C"))

    rows = [ApiKey.objects.get(pk=outcome.pk) for outcome in outcomes if isinstance(outcome, ApiKey)]
    assert [(row.name, row.description, row.tier.slug, row.tenant) for row in rows] == [
        ("A", "For a", "free", acme),
        ("B", "", "own", acme),
        ("C", "", "free", acme),
    ]
    assert Credential.objects.filter(ends_at=None).count() == 3
    events = AuditEvent.objects.filter(action="api_key.bought")
    assert Counter(event.data["tier"] for event in events) == {"free": 2, "own": 1}
    assert {event.target_id for event in events} == {str(row.pk) for row in rows}


def test_refused_items_do_not_harm_the_others(acme: Tenant) -> None:
    free, old = make_tier(slug="free", pool_size=1, max_api_keys=3), make_tier(slug="old")
    catalog.retire_tier(tier=old, actor=SYSTEM)
    items = [
        Item(tier="free", name="A"), Item(tier="gold", name="B"), Item(tier="old", name="C"), Item(tier="free", name="  "),
        Item(tier="free", name="x" * 101), Item(tier="free", name="D", description="x" * 501), Item(tier="free", name="a\0b"),
        Item(tier="free", name="\ud800"), Item(tier=free, name="E"), Item(tier="free", name="F"), Item(tier="free", name="G"),
    ]  # fmt: skip

    outcomes = buy_many(acme, *items)

    assert kinds(outcomes) == [
        "ApiKey", "UnknownTier", "TierRetired", "UnfitText", "UnfitText", "UnfitText", "UnfitText", "UnfitText", "ApiKey", "ApiKey",
        "TooManyApiKeys",
    ]  # fmt: skip
    assert [each.field for each in outcomes if isinstance(each, purchases.UnfitText)] == ["name", "name", "description", "name", "name"]
    assert "You have 3 keys" in str(outcomes[-1])
    assert sorted(ApiKey.objects.values_list("name", flat=True)) == ["A", "E", "F"]


def test_same_batch_again_is_answered_with_the_same_keys(acme: Tenant) -> None:
    tier = make_tier(slug="free", pool_size=2)
    items = some(tier, 3)

    first, again = buy_many(acme, *items), buy_many(acme, *items, *some(tier, 1))

    assert again[:3] == first
    assert ApiKey.objects.count() == 4


def test_one_token_twice_in_a_batch_buys_once(acme: Tenant) -> None:
    item = Item(tier=make_tier(pool_size=1), name="Shop", purchase_token=uuid.uuid4())

    first, second = buy_many(acme, item, item)

    assert first == second
    assert ApiKey.objects.count() == 1


def test_token_of_another_tenant_is_another_purchase(acme: Tenant) -> None:
    items = some(make_tier(pool_size=1), 1)

    assert buy_many(acme, *items) != buy_many(make_tenant(), *items)


def test_maximum_counts_what_was_bought_before(acme: Tenant) -> None:
    tier = make_tier(pool_size=1, max_api_keys=4)
    buy(acme, tier)
    gone = buy(acme, tier)
    api_keys.revoke(api_key=gone, actor=SYSTEM)

    assert kinds(buy_many(acme, *some(tier, 5))) == ["ApiKey"] * 3 + ["TooManyApiKeys"] * 2
    assert kinds(buy_many(acme, *some(tier, 1))) == ["TooManyApiKeys"]


def test_batch_of_more_than_the_most_is_refused_whole(acme: Tenant) -> None:
    tier = make_tier(pool_size=1, max_api_keys=5000)

    with pytest.raises(purchases.TooManyItems, match="at most 1000"):
        buy_many(acme, *some(tier, 1001))

    assert not ApiKey.objects.exists()


def test_empty_batch_buys_nothing(acme: Tenant) -> None:
    assert buy_many(acme) == []


def test_suspended_tenant_is_refused_each_item(acme: Tenant) -> None:
    tier = make_tier(pool_size=1)
    items = some(tier, 2)
    [before, _other] = buy_many(acme, *items)
    tenants.suspend(tenant=acme, reason="Unpaid", actor=SYSTEM)

    outcomes = buy_many(acme, items[0], *some(tier, 1))

    assert outcomes[0] == before
    assert kinds(outcomes) == ["ApiKey", "TenantSuspended"]


def test_places_are_even_and_left_ones_are_filled_first(acme: Tenant) -> None:
    tier = make_tier(pool_size=5, max_api_keys=1000)
    keys = [buy(acme, tier) for _ in range(10)]
    for key in keys[3:6]:
        api_keys.revoke(api_key=key, actor=SYSTEM)
    left = {(key.gateway_key_id, key.slot) for key in keys[3:6]}

    outcomes = buy_many(acme, *some(tier, 8))

    bought = [outcome for outcome in outcomes if isinstance(outcome, ApiKey)]
    assert left <= {(key.gateway_key_id, key.slot) for key in bought}
    assert not FreeSlot.objects.exists()
    loads = Counter(ApiKey.objects.live().values_list("gateway_key", flat=True))
    assert sorted(loads.values()) == [3, 3, 3, 3, 3]


def test_pool_that_lacks_a_key_refuses_what_falls_on_it(acme: Tenant) -> None:
    tier = make_tier(pool_size=3)
    GatewayKey.objects.filter(position=1).update(ends_at=timezone.now())

    outcomes = buy_many(acme, *some(tier, 6))

    assert sorted(kinds(outcomes)) == ["ApiKey"] * 4 + ["NoRoom"] * 2
    assert len({(each.gateway_key_id, each.slot) for each in outcomes if isinstance(each, ApiKey)}) == 4


def test_spares_are_taken_first_and_made_up_for(acme: Tenant) -> None:
    tier = make_tier(spare_target=3)
    bring_into_service()
    spares = set(GatewayKey.objects.values_list("pk", flat=True))

    outcomes = buy_many(acme, *some(tier, 5))
    keep_spares()

    bought = [outcome for outcome in outcomes if isinstance(outcome, ApiKey)]
    assert {each.gateway_key_id for each in bought[:3]} == spares
    assert [each.status(timezone.now()) for each in bought] == [Status.READY] * 3 + [Status.PREPARING] * 2
    assert Counter(GatewayKey.objects.values_list("role", flat=True)) == {KeyRole.SILO: 5, KeyRole.SPARE: 3}


def test_room_is_used_to_the_last_key_and_no_further(acme: Tenant) -> None:
    small, large = make_stage(make_gateway(capacity=3)), make_stage(make_gateway(capacity=6))
    tier = make_tier(stage=small, max_api_keys=100)
    catalog.serve_stages(tier=tier, stages=[small, large], actor=SYSTEM)

    outcomes = buy_many(acme, *some(tier, 12))

    assert kinds(outcomes) == ["ApiKey"] * 9 + ["NoRoom"] * 3
    places = [each.gateway_key.gateway_id for each in outcomes if isinstance(each, ApiKey)]
    assert Counter(places) == {small.gateway_id: 3, large.gateway_id: 6}
    assert places[:3] == [large.gateway_id] * 3  # there was more room


def test_new_keys_go_where_single_purchases_would_go(acme: Tenant) -> None:
    stages = [make_stage(make_gateway(capacity=capacity)) for capacity in (7, 12, 9)]
    tier = make_tier(stage=stages[0], max_api_keys=1000)
    catalog.serve_stages(tier=tier, stages=stages, actor=SYSTEM)

    batch = [each.gateway_key.gateway_id for each in buy_many(acme, *some(tier, 20)) if isinstance(each, ApiKey)]
    GatewayKey.objects.update(removed_at=timezone.now())
    for stage in stages:
        recount(stage.gateway_id)
    single = [buy(acme, tier).gateway_key.gateway_id for _ in range(20)]

    assert batch == single


def test_values_are_all_different_and_one_bell_rings(acme: Tenant, django_capture_on_commit_callbacks: Any) -> None:
    tier = make_tier(max_api_keys=100)

    with django_capture_on_commit_callbacks() as callbacks:
        buy_many(acme, *some(tier, 20))

    assert len(callbacks) == 1
    assert GatewayKey.objects.filter(role=KeyRole.SILO).values("value_sha256").distinct().count() == 20


@pytest.mark.parametrize("pool_size", [4, None])
def test_queries_do_not_grow_with_the_items(acme: Tenant, pool_size: int | None) -> None:
    tier = make_tier(pool_size=pool_size, max_api_keys=5000)
    counts = []

    for count in (10, 30):
        with CaptureQueriesContext(connection) as captured:
            outcomes = buy_many(acme, *some(tier, count))
            assert all(each.gateway_key.last_four and each.tenant.name for each in outcomes if isinstance(each, ApiKey))
        counts.append(len(captured))

    assert counts[0] == counts[1] <= 20


def test_thousand_keys_cost_few_queries(acme: Tenant) -> None:
    tier = make_tier(pool_size=4, max_api_keys=5000)

    with CaptureQueriesContext(connection) as captured:
        outcomes = buy_many(acme, *some(tier, 1000))

    assert kinds(outcomes) == ["ApiKey"] * 1000
    assert len(captured) < 100  # some databases take so many rows in one statement and no more
