"""What is taken over of a pool that somebody else made. How it gets there: ``tests/keys/sync/test_adoption.py``."""

import pytest

from keys import selectors
from keys.models import ApiKey, Credential, FreeSlot, GatewayKey, Pool, Tier, places
from keys.sync import pools as sync_pools
from keys.sync.pools import go_on_with_pools
from keys.takeover import _settle_tickets
from tests.support.factories import buy, make_tenant, make_tier

pytestmark = pytest.mark.django_db


def loads(tier: Tier) -> list[int]:
    return [load for _key, load in selectors.pool_loads(tier)]


def test_uneven_pool_is_levelled_list_by_list(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (places, sync_pools):
        monkeypatch.setattr(module, "MOST_LISTED", 4)
    tier = make_tier(pool_size=3, max_api_keys=100)
    fullest = GatewayKey.objects.get(position=1)
    for slot in range(10):
        held = ApiKey.objects.create(tenant=make_tenant(), tier=tier, gateway_key=fullest, slot=slot, name="Shop")
        Credential.objects.create(api_key=held, gateway_key=fullest)

    _settle_tickets(Pool.objects.get(), 10)

    assert FreeSlot.objects.count() == 4
    assert Pool.objects.get().lacks_places
    tenant = make_tenant()
    for _ in range(20):
        buy(tenant, tier)
        go_on_with_pools()
    assert loads(tier) == [10, 10, 10]
    assert not Pool.objects.get().lacks_places
    for _ in range(3):
        buy(tenant, tier)
    assert loads(tier) == [11, 11, 11]


def test_pool_that_nobody_holds_begins_at_its_first_place() -> None:
    tier = make_tier(pool_size=2)

    _settle_tickets(Pool.objects.get(), 0)

    assert not FreeSlot.objects.exists()
    assert [buy(make_tenant(), tier).gateway_key.position for _ in range(4)] == [0, 1, 0, 1]
