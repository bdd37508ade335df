import time
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from keys import moving, selectors
from keys.models import ApiKey, Credential, FreeSlot, GatewayKey, Pool, Priority, Tier, places
from keys.models.pool import LARGEST_POOL
from keys.services import api_keys, pools
from keys.sync import pools as sync_pools
from keys.sync.pools import go_on_with_pools
from tenants.audit import SYSTEM
from tenants.models import AuditEvent
from tests.support.factories import bring_into_service, buy, make_gateway, make_tenant, make_tier

pytestmark = pytest.mark.django_db


def loads(tier: Tier) -> list[int]:
    return [load for _key, load in selectors.pool_loads(tier)]


def test_larger_pool_fills_its_new_keys_until_the_load_is_level() -> None:
    tier = make_tier(pool_size=2)
    for _ in range(6):
        buy(make_tenant(), tier)

    pools.resize_pool(tier=tier, size=3, actor=SYSTEM)
    assert loads(tier) == [3, 3, 0]
    for _ in range(3):
        buy(make_tenant(), tier)
    assert loads(tier) == [3, 3, 3]
    for _ in range(3):
        buy(make_tenant(), tier)

    assert loads(tier) == [4, 4, 4]


def test_larger_pool_keeps_the_places_of_a_begun_round() -> None:
    tier = make_tier(pool_size=3)
    for _ in range(4):
        buy(make_tenant(), tier)

    pools.resize_pool(tier=tier, size=4, actor=SYSTEM)
    for _ in range(4):
        buy(make_tenant(), tier)

    assert loads(tier) == [2, 2, 2, 2]


def test_smaller_pool_moves_tenants_with_a_grace_period() -> None:
    tier = make_tier(pool_size=3)
    keys = [buy(make_tenant(), tier) for _ in range(9)]
    bring_into_service()
    leaving = GatewayKey.objects.get(pool=tier.pool, position=2)

    pools.resize_pool(tier=tier, size=2, actor=SYSTEM)

    assert sorted(loads(tier)) == [4, 5]
    leaving.refresh_from_db()
    assert leaving.ends_at > timezone.now() + timedelta(days=6)
    moved = ApiKey.objects.get(pk=keys[2].pk)
    assert moved.gateway_key_id != leaving.pk
    assert [row.pk for row in selectors.other_credentials(moved, timezone.now())] == [leaving.pk]


def test_pool_stays_even_through_resizes_revocations_and_purchases() -> None:
    tier = make_tier(pool_size=2)
    tenant = make_tenant()
    tier.max_api_keys = 1000
    live = [buy(tenant, tier) for _ in range(7)]
    for size in (5, 3, 4):
        pools.resize_pool(tier=tier, size=size, actor=SYSTEM)
        for key in live[::3]:
            api_keys.revoke(api_key=key, actor=SYSTEM)
        live = [buy(tenant, tier) for _ in range(9)] + [key for at, key in enumerate(live) if at % 3]

    while FreeSlot.objects.exists():
        buy(tenant, tier)

    counts = loads(tier)
    assert max(counts) - min(counts) <= 1
    assert sum(counts) == ApiKey.objects.live().count()


def test_shrink_in_parts_is_finished_by_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "PART", 4)
    tier = make_tier(pool_size=5)
    bought = [buy(make_tenant(), tier) for _ in range(20)]
    bring_into_service()

    pools.resize_pool(tier=tier, size=2, actor=SYSTEM)
    assert loads(tier) == [6, 6, 4, 4]
    left = [buy(make_tenant(), tier).gateway_key.position for _ in range(4)]
    api_keys.revoke(api_key=bought[2], actor=SYSTEM)
    api_keys.revoke(api_key=bought[3], actor=SYSTEM)
    go_on_with_pools()

    assert set(left) == {0, 1}
    assert loads(tier) == [11, 11]
    assert GatewayKey.objects.filter(pool=tier.pool, ends_at__isnull=False).count() == 3
    assert not FreeSlot.objects.exclude(gateway_key__ends_at=None).exists()
    ended = Credential.objects.filter(gateway_key__ends_at__isnull=False)
    assert not ended.filter(ends_at=None).exists()
    assert all(each.gateway_key.ends_at >= each.ends_at for each in ended.select_related("gateway_key") if each.api_key.revoked_at is None)


def test_pool_that_grows_again_while_it_shrinks_keeps_its_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "PART", 2)
    tier = make_tier(pool_size=4)
    for _ in range(16):
        buy(make_tenant(), tier)

    pools.resize_pool(tier=tier, size=2, actor=SYSTEM)
    pools.resize_pool(tier=tier, size=4, actor=SYSTEM)
    go_on_with_pools()

    assert GatewayKey.objects.filter(pool=tier.pool).count() == 4
    assert loads(tier) == [5, 5, 2, 4]
    while FreeSlot.objects.exists():
        buy(make_tenant(), tier)
    assert loads(tier) == [5, 5, 5, 5]


@pytest.mark.parametrize(("part", "most"), [(100, 100), (2, 100), (2, 3)], ids=["at once", "in parts", "some"])
def test_rebalance_levels_a_pool_that_grew(part: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "PART", part)
    tier = make_tier(pool_size=2)
    before = {key.pk: key.gateway_key_id for key in (buy(make_tenant(), tier) for _ in range(13))}
    pools.resize_pool(tier=tier, size=4, actor=SYSTEM)
    bring_into_service()
    preview = pools.preview_rebalance(tier, most)
    assert (preview.fullest_before, preview.emptiest_before, preview.moved) == (7, 0, min(6, most))

    assert pools.rebalance_pool(tier=tier, most=most, actor=SYSTEM) == preview.moved

    after = dict(ApiKey.objects.values_list("pk", "gateway_key"))
    assert sum(before[pk] != after[pk] for pk in before) == preview.moved
    assert (max(loads(tier)), min(loads(tier))) == (preview.fullest, preview.emptiest)
    if most == 100:
        assert sorted(loads(tier)) == [3, 3, 3, 4]
        assert pools.rebalance_pool(tier=tier, actor=SYSTEM) == 0
    moved = ApiKey.objects.exclude(pk__in=[pk for pk in before if before[pk] == after[pk]])
    told = AuditEvent.objects.filter(action="api_key.moved").values_list("target_id", flat=True)
    assert sorted(told) == sorted(str(each.pk) for each in moved)
    for each in moved:
        assert [key.pk for key in selectors.other_credentials(each, timezone.now())] == [before[each.pk]]
    for _ in range(11):
        buy(make_tenant(), tier)
    assert loads(tier) == [6, 6, 6, 6] if most == 100 else max(loads(tier)) - min(loads(tier)) <= 1


def test_rebalance_after_many_left_one_key_levels_the_pool() -> None:
    tier = make_tier(pool_size=3)
    bought = [buy(make_tenant(), tier) for _ in range(30)]
    for key in bought[::3]:
        api_keys.revoke(api_key=key, actor=SYSTEM)
    assert loads(tier) == [0, 10, 10]

    assert pools.rebalance_pool(tier=tier, actor=SYSTEM) == 6

    assert loads(tier) == [6, 7, 7]
    for _ in range(4):
        buy(make_tenant(), tier)
    assert loads(tier) == [8, 8, 8]


def test_preview_of_a_size_says_what_the_resize_does() -> None:
    tier = make_tier(pool_size=4)
    for _ in range(18):
        buy(make_tenant(), tier)

    larger, smaller = pools.preview_resize(tier, 6), pools.preview_resize(tier, 3)
    pools.resize_pool(tier=tier, size=3, actor=SYSTEM)

    assert (larger.moved, larger.fullest, larger.emptiest) == (0, 5, 0)
    assert (smaller.moved, smaller.new_url, smaller.fullest, smaller.emptiest) == (4, 0, 6, 6)
    assert smaller.blast_radius == pytest.approx(1 / 3)
    assert loads(tier) == [6, 6, 6]


def test_moves_keep_the_url_where_there_is_room_and_are_counted_where_not() -> None:
    tier = make_tier(pool_size=4, gateways=[make_gateway(), make_gateway()])
    for _ in range(8):
        buy(make_tenant(), tier)
    gateways = [key.gateway_id for key, _load in selectors.pool_loads(tier)]
    assert len(set(gateways)) == 2
    before = dict(ApiKey.objects.values_list("pk", "gateway_key__gateway"))

    preview = pools.preview_resize(tier, 2)
    pools.resize_pool(tier=tier, size=2, actor=SYSTEM)

    after = dict(ApiKey.objects.values_list("pk", "gateway_key__gateway"))
    assert sum(before[pk] != after[pk] for pk in before) == preview.new_url == 0
    assert pools.preview_resize(tier, 1).new_url == 4


def test_places_beyond_the_list_are_listed_as_it_is_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MOST_LISTED", 4)
    monkeypatch.setattr(sync_pools, "MOST_LISTED", 4)
    tier = make_tier(pool_size=1)
    for _ in range(9):
        buy(make_tenant(), tier)
    pools.resize_pool(tier=tier, size=2, actor=SYSTEM)
    assert FreeSlot.objects.count() == 4

    for _ in range(9):
        buy(make_tenant(), tier)
        go_on_with_pools()

    assert loads(tier) == [9, 9]
    assert not Pool.objects.get().lacks_places


def test_buyers_who_are_quicker_than_the_list_are_levelled_by_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MOST_LISTED", 4)
    monkeypatch.setattr(sync_pools, "MOST_LISTED", 4)
    tier = make_tier(pool_size=1)
    for _ in range(9):
        buy(make_tenant(), tier)
    pools.resize_pool(tier=tier, size=2, actor=SYSTEM)
    for _ in range(8):
        buy(make_tenant(), tier)
    assert loads(tier) == [11, 6]

    for _ in range(5):
        go_on_with_pools()
        buy(make_tenant(), tier)

    assert loads(tier) == [11, 11]


@pytest.mark.parametrize("number", [1, 40], ids=["one", "forty"])
def test_statements_of_a_move_do_not_grow_with_who_moves(number: int, django_assert_max_num_queries: Any) -> None:
    tier = make_tier(pool_size=1)
    for _ in range(2 * number):
        buy(make_tenant(), tier)
    pools.resize_pool(tier=tier, size=2, actor=SYSTEM)

    with django_assert_max_num_queries(26):
        assert pools.rebalance_pool(tier=tier, actor=SYSTEM) == number


def test_replaced_pool_key_gives_all_its_tenants_a_new_value() -> None:
    tier = make_tier(pool_size=2)
    keys = [buy(make_tenant(), tier) for _ in range(4)]
    bring_into_service()
    old = keys[0].gateway_key
    before = api_keys.reveal(api_key=keys[0], actor=SYSTEM)

    new = pools.replace_pool_key(gateway_key=old, grace=timedelta(hours=1), actor=SYSTEM)

    keys = [ApiKey.objects.get(pk=key.pk) for key in keys]
    assert [key.gateway_key_id == new.pk for key in keys] == [True, False, True, False]
    assert api_keys.reveal(api_key=keys[0], actor=SYSTEM) == api_keys.reveal(api_key=keys[2], actor=SYSTEM) != before
    old.refresh_from_db()
    assert old.ends_at is not None
    assert loads(tier) == [2, 2]
    told = AuditEvent.objects.filter(action="api_key.moved").values_list("target_id", "tenant")
    assert sorted(told) == sorted((str(key.pk), key.tenant_id) for key in (keys[0], keys[2]))


def test_replacing_a_pool_key_keeps_its_free_slots_for_sale() -> None:
    tier = make_tier(pool_size=1)
    key = buy(make_tenant(), tier)
    old = key.gateway_key
    api_keys.revoke(api_key=key, actor=SYSTEM)

    new = pools.replace_pool_key(gateway_key=old, grace=timedelta(0), actor=SYSTEM)

    assert buy(make_tenant(), tier).gateway_key_id == new.pk


def test_former_holders_are_counted_until_the_key_is_replaced() -> None:
    tier = make_tier(pool_size=1)
    key = buy(make_tenant(), tier)
    api_keys.revoke(api_key=key, actor=SYSTEM)

    assert selectors.former_holders(key.gateway_key) == 1
    new = pools.replace_pool_key(gateway_key=key.gateway_key, grace=timedelta(0), actor=SYSTEM)
    assert selectors.former_holders(new) == 0


@pytest.mark.parametrize("size", [0, 5001])
def test_resize_refuses_sizes_out_of_range(size: int) -> None:
    with pytest.raises(pools.UnableToChangePool, match="1 to 5000"):
        pools.resize_pool(tier=make_tier(pool_size=1), size=size, actor=SYSTEM)


def test_siloed_tier_has_no_pool_to_resize() -> None:
    with pytest.raises(pools.UnableToChangePool, match="has no pool"):
        pools.resize_pool(tier=make_tier(), size=2, actor=SYSTEM)


def test_resize_that_is_rolled_back_leaves_the_pool_on_sale() -> None:
    tier = make_tier(pool_size=10, max_api_keys=100)
    tenant = make_tenant()
    for api_key in [buy(tenant, tier) for _ in range(30)]:
        if api_key.gateway_key.position > 2:
            api_keys.revoke(api_key=api_key, actor=SYSTEM)

    with transaction.atomic():
        pools.resize_pool(tier=tier, size=2, actor=SYSTEM)
        transaction.set_rollback(True)
    for _ in range(51):
        buy(tenant, tier)

    assert max(loads(tier)) - min(loads(tier)) <= 1


def test_pool_that_was_taken_over_with_more_keys_than_one_may_have_can_shrink() -> None:
    """So many keys that somebody else made; see ``keys.takeover``."""
    tier = make_tier(pool_size=1, max_api_keys=100)
    pool, first = Pool.objects.get(tier=tier), GatewayKey.objects.get()
    size = LARGEST_POOL + 2
    more = [
        GatewayKey(
            gateway_id=first.gateway_id,
            usage_plan_id=first.usage_plan_id,
            role=first.role,
            pool=pool,
            position=position,
            value_sha256=f"{position:064d}",
        )
        for position in range(1, size)
    ]
    GatewayKey.objects.bulk_create(more, batch_size=1000)
    Pool.objects.update(size=size)
    last = GatewayKey.objects.get(position=size - 1)
    bought = ApiKey.objects.create(tenant=make_tenant(), tier=tier, gateway_key=last, slot=0, name="Shop")
    Credential.objects.create(api_key=bought, gateway_key=last)

    assert pools.preview_resize(tier, LARGEST_POOL).moved == 1
    pools.resize_pool(tier=tier, size=LARGEST_POOL, actor=SYSTEM)

    assert ApiKey.objects.get().gateway_key.position < LARGEST_POOL
    assert GatewayKey.objects.filter(ends_at=None).count() == LARGEST_POOL


def test_what_is_not_finished_is_left_to_the_next_sweep_when_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "PART", 1)
    tier = make_tier(pool_size=3)
    for _ in range(9):
        buy(make_tenant(), tier)
    pools.resize_pool(tier=tier, size=1, actor=SYSTEM)
    before = loads(tier)

    go_on_with_pools(until=time.monotonic())
    assert loads(tier) == before

    ticks = iter([0, 0, 1, 2, 3])  # the pool is begun, then a part of it, and another one
    monkeypatch.setattr(sync_pools, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    go_on_with_pools(until=2)
    assert sum(loads(tier)[1:]) == sum(before[1:]) - 2


def test_replaced_key_ends_and_the_new_one_stays() -> None:
    tier = make_tier(pool_size=1)
    buy(make_tenant(), tier)
    bring_into_service()
    for grace, is_pending in ((timedelta(hours=1), False), (timedelta(0), True)):
        old = GatewayKey.objects.get(ends_at=None)

        new = pools.replace_pool_key(gateway_key=old, grace=grace, actor=SYSTEM)

        old.refresh_from_db()
        assert old.ends_at is not None
        assert abs(old.ends_at - timezone.now() - grace) < timedelta(minutes=1)
        assert (old.priority, old.is_pending) == (Priority.REVOKE, is_pending)
        assert (GatewayKey.objects.get(ends_at=None), new.ends_at, new.position) == (new, None, 0)
        bring_into_service()


def test_pool_key_of_a_full_gateway_cannot_be_replaced() -> None:
    gateway = make_gateway(capacity=1)
    buy(make_tenant(), make_tier(pool_size=1, gateways=[gateway]))

    with pytest.raises(pools.UnableToChangePool, match="no room for another key"):
        pools.replace_pool_key(gateway_key=GatewayKey.objects.get(), grace=timedelta(0), actor=SYSTEM)
