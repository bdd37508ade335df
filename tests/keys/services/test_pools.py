from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from keys import selectors
from keys.models import ApiKey, FreeSlot, GatewayKey, Tier
from keys.services import api_keys, pools
from tenants.audit import SYSTEM
from tenants.models import AuditEvent
from tests.support.factories import bring_into_service, buy, make_tenant, make_tier

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


def test_blast_radius_is_the_largest_share_on_one_key() -> None:
    tier = make_tier(pool_size=4)
    for _ in range(8):
        buy(make_tenant(), tier)

    assert selectors.blast_radius(tier) == 0.25


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
