"""Everything that touches a pool at the same moment, in real processes on PostgreSQL: buyers, some of whom roll back or are killed,
cancels, resizes, rebalances, replaced keys and the sweep. Whatever they did, the pool is level once the sweep ran and its free places are
taken."""

import multiprocessing
import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest
from django.db import connections, transaction
from django.db.models import F
from django.utils import timezone

from keys import moving
from keys.models import ApiKey, Credential, FreeSlot, Gateway, GatewayKey, Pool, Tier, places
from keys.models.places import loads_of
from keys.models.room import recount
from keys.services import api_keys, pools, purchases
from keys.sync import pools as sync_pools
from keys.sync.gaps import SETTLED_AFTER, sweep_pools
from keys.sync.pools import go_on_with_pools
from tenants.audit import SYSTEM
from tenants.models import AuditEvent, Tenant
from tests.support.factories import buy, make_gateway, make_tenant, make_tier
from tests.support.processes import at_once

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]

BUYERS = range(4)
ROUNDS = 25


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that even these pools take several parts, and their lists are cut short."""
    monkeypatch.setattr(moving, "PART", 7)
    monkeypatch.setattr(pools, "PART", 7)
    for module in (places, sync_pools):
        monkeypatch.setattr(module, "MOST_LISTED", 15)


def killed(work: Callable[[], object]) -> None:
    """Do ``work`` in a transaction of a process that is killed before the commit, as by the kernel: it cleans nothing up."""
    connections.close_all()

    def child() -> None:
        with transaction.atomic():
            work()
            os.kill(os.getpid(), signal.SIGKILL)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def settle() -> None:
    """What the sweep does, until it finds nothing to do: the tickets were drawn long enough ago."""
    for _round in range(200):
        sweep_pools()
        Pool.objects.exclude(sweep_seen_at=None).update(sweep_seen_at=timezone.now() - SETTLED_AFTER - timedelta(seconds=1))
        sweep_pools()
        go_on_with_pools()
        if not GatewayKey.objects.filter(ends_at=None, position__gte=F("pool__size")).exists():
            return
    pytest.fail("tenants still stand on leaving keys")


def use_up(tier: Tier) -> None:
    """New tenants come until no free place is listed, with the sweep after them."""
    tenant = make_tenant()
    while FreeSlot.objects.exists():
        buy(tenant, tier)
        if not FreeSlot.objects.exists():
            go_on_with_pools()


def check(tier: Tier) -> None:
    """All that has to be true of a pool once the sweep ran."""
    pool = Pool.objects.get(tier=tier)
    live = dict(GatewayKey.objects.filter(pool=pool, ends_at=None).values_list("pk", "position"))
    assert sorted(live.values()) == list(range(pool.size))
    sold = ApiKey.objects.filter(tier=tier, revoked_at=None)
    assert set(sold.values_list("gateway_key", flat=True)) <= set(live)
    current = Credential.objects.filter(ends_at=None)
    assert Counter(current.values_list("api_key", "gateway_key")) == Counter(sold.values_list("pk", "gateway_key"))
    assert not Credential.objects.filter(gateway_key__ends_at__lt=F("ends_at")).exists()
    free = Counter(FreeSlot.objects.filter(pool=pool).values_list("gateway_key", flat=True))
    assert set(free) <= set(live)
    if not pool.lacks_places:
        offered = [load + free[key] for key, load in loads_of(pool).items()]
        assert max(offered) - min(offered) <= 1
    assert [recount(gateway.pk) for gateway in Gateway.objects.all()] == [0] * Gateway.objects.count()


def spread(tier: Tier) -> int:
    loads = loads_of(Pool.objects.get(tier=tier)).values()
    return max(loads) - min(loads)


def buyer(number: int, tier: Tier, tenant: Tenant) -> None:
    """Buys, cancels some of it, rolls some back, and is killed now and then."""
    chance = random.Random(number)
    for _purchase in range(ROUNDS):
        what = chance.random()
        if what < 0.15:
            with transaction.atomic():
                buy(tenant, tier)
                transaction.set_rollback(True)
        elif what < 0.25:
            killed(lambda: buy(tenant, tier))
        elif what < 0.35:
            items = [purchases.Item(tier=tier, name="Shop") for _item in range(5)]
            purchases.buy_many(tenant=tenant, items=items, actor=SYSTEM)
        elif what < 0.5 and (mine := ApiKey.objects.of(tenant).live().order_by("?").first()):
            api_keys.revoke(api_key=mine, actor=SYSTEM)
        else:
            buy(tenant, tier)


def staff(number: int, tier: Tier) -> None:
    """Resizes, is killed while it resizes, rebalances, and replaces a key."""
    chance = random.Random(number)
    for _change in range(10):
        size = chance.randint(1, 9)
        what = chance.random()
        if what < 0.5:
            pools.resize_pool(tier=tier, size=size, actor=SYSTEM)
        elif what < 0.65:
            killed(lambda size=size: pools.resize_pool(tier=tier, size=size, actor=SYSTEM))  # type: ignore[misc]
        elif what < 0.85:
            pools.rebalance_pool(tier=tier, actor=SYSTEM)
        else:
            key = GatewayKey.objects.filter(pool__tier=tier, ends_at=None).order_by("?").first()
            assert key is not None
            with suppress(pools.UnableToChangePool):  # it left its pool meanwhile
                pools.replace_pool_key(gateway_key=key, grace=timedelta(days=8), actor=SYSTEM)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.usefixtures("small_parts")
def test_pool_is_level_whatever_happens_to_it_at_once(seed: int) -> None:
    tier = make_tier(pool_size=5, max_api_keys=10_000, gateways=[make_gateway(), make_gateway()])
    tenants = [make_tenant() for _buyer in BUYERS]

    def work(number: int) -> None:
        if number in BUYERS:
            buyer(seed * 100 + number, tier, tenants[number])
        elif number == len(BUYERS) + 2:
            for _pass in range(15):
                sweep_pools()
                go_on_with_pools()
        else:
            staff(seed * 100 + number, tier)

    at_once(work, len(BUYERS) + 3)
    settle()

    check(tier)
    assert AuditEvent.objects.filter(action="pool.resized").exists()
    use_up(tier)
    check(tier)
    assert spread(tier) <= 1


@pytest.mark.usefixtures("small_parts")
def test_rebalance_levels_the_pool_while_tenants_come_and_go() -> None:
    tier = make_tier(pool_size=2, max_api_keys=10_000)
    tenants = [make_tenant() for _buyer in BUYERS]
    for tenant in tenants:
        purchases.buy_many(tenant=tenant, items=[purchases.Item(tier=tier, name="Shop") for _item in range(20)], actor=SYSTEM)
    pools.resize_pool(tier=tier, size=6, actor=SYSTEM)

    def work(number: int) -> int:
        if number in BUYERS:
            buyer(number, tier, tenants[number])
            return 0
        return pools.rebalance_pool(tier=tier, actor=SYSTEM)

    moved = at_once(work, len(BUYERS) + 2)
    settle()

    check(tier)
    assert sum(moved) > 0
    pools.rebalance_pool(tier=tier, actor=SYSTEM)
    check(tier)
    assert spread(tier) <= 1


@pytest.mark.usefixtures("small_parts")
def test_shrink_whose_worker_is_killed_is_finished_by_the_next_sweep() -> None:
    tier, tenant = make_tier(pool_size=6, max_api_keys=10_000), make_tenant()
    purchases.buy_many(tenant=tenant, items=[purchases.Item(tier=tier, name="Shop") for _item in range(60)], actor=SYSTEM)
    pools.resize_pool(tier=tier, size=2, actor=SYSTEM)
    pool = Pool.objects.get(tier=tier)
    left = sum(loads_of(pool).values()) - sum(loads_of(pool, within=2).values())
    assert left == 33

    killed(go_on_with_pools)
    assert sum(loads_of(pool).values()) - sum(loads_of(pool, within=2).values()) == left
    settle()

    check(tier)
    assert sorted(loads_of(pool).values()) == [30, 30]
    assert AuditEvent.objects.filter(action="api_key.moved").count() == 40
