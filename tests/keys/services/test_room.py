"""The room of gateways: exact at every commit and never above the cap, whoever buys, fills, removes, rolls back or dies."""

import multiprocessing
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from keys.models import ApiKey, Gateway, GatewayKey, KeyRole, Priority, Tier
from keys.models.room import hold, recount, reserve
from keys.services import api_keys, purchases
from keys.stock import make
from tenants.audit import SYSTEM
from tenants.models import Tenant
from tests.support.factories import bring_into_service, buy, keep_spares, make_gateway, make_tenant, make_tier
from tests.support.processes import at_once
from tests.support.room import counts, remove

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="needs PostgreSQL: SQLite has one writer at a time"),
]

T = TypeVar("T")
_fork = multiprocessing.get_context("fork")


def make_gateways(*capacities: int) -> list[Gateway]:
    return [make_gateway(capacity=capacity) for capacity in capacities]


@contextmanager
def finally_counted(over: Any) -> Iterator[None]:
    """For a process that others work beside until it is over, however it ends."""
    try:
        yield
    finally:
        with over.get_lock():
            over.value += 1


def until(over: Any, count: int, work: Callable[[], T]) -> Iterator[T]:
    """Do it again and again until ``count`` processes are over; what it returned."""
    while over.value < count:
        yield work()


def refuse_to_wait() -> None:
    """Let this process's statements fail where they would wait long for somebody's lock."""
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '5s'")


def purchase(tenant: Tenant, tiers: list[Tier], turn: int) -> None:
    """One API key; every second time two of each tier."""
    if turn % 2:
        items = [purchases.Item(tier=tier, name="Shop") for tier in tiers for _ in range(2)]
        purchases.buy_many(tenant=tenant, items=items, actor=SYSTEM)
    else:
        with suppress(purchases.NoRoom):
            buy(tenant, tiers[turn // 2 % len(tiers)])


def keep_house() -> None:
    """What workers and tenants do meanwhile: spares are made, API keys are revoked, and what ended is removed."""
    keep_spares()
    GatewayKey.objects.filter(in_service_at=None, role=KeyRole.SPARE).update(in_service_at=timezone.now())
    for api_key in ApiKey.objects.filter(revoked_at=None).order_by("?")[:9]:
        api_keys.revoke(api_key=api_key, actor=SYSTEM)
    for gateway_key in GatewayKey.objects.filter(ends_at__isnull=False, removed_at=None):
        remove(gateway_key)


def test_no_cap_is_passed_at_any_instant_and_nobody_blocks_anybody() -> None:
    gateways = make_gateways(60, 45, 30)
    shapes = (gateways, gateways[::-1], gateways[:2])
    tiers = [make_tier(gateways=each, max_api_keys=1000, spare_target=4) for each in shapes]
    tenants = [make_tenant() for _ in range(6)]
    bring_into_service()
    over = _fork.Value("i", 0)

    def look() -> None:
        for held, rows, capacity in counts():
            assert held == rows <= capacity

    def work(number: int) -> int:
        if number == 7:
            return len(list(until(over, 7, look)))
        with finally_counted(over):
            for turn in range(12):
                if number == 6:
                    keep_house()
                else:
                    purchase(tenants[number], tiers if number % 2 else tiers[::-1], turn)
        return 0

    looks = max(at_once(work))

    assert looks > 10
    assert [recount(gateway.pk) for gateway in gateways] == [0, 0, 0]


def test_batch_of_several_tiers_and_purchases_of_one_lock_rooms_in_one_order() -> None:
    """The batch's first tier stands on the gateway alone that others, who buy the second, lock last."""
    gateways = sorted(make_gateways(1000, 1000), key=lambda each: each.pk)
    first, second = sorted((make_tier(gateways=gateways, max_api_keys=1000) for _ in range(2)), key=lambda each: each.pk)
    first.stages.set(gateways[1].stages.all())
    tenants = [make_tenant() for _ in range(4)]

    def work(number: int) -> None:
        for _ in range(25):
            tiers = [first, second] if number % 2 else [second]
            items = [purchases.Item(tier=tier, name="Shop") for tier in tiers]
            purchases.buy_many(tenant=tenants[number], items=items, actor=SYSTEM)

    at_once(work, 4)

    assert [held for held, _rows, _capacity in counts()] != [0, 0]
    assert [recount(gateway.pk) for gateway in gateways] == [0, 0]


def test_last_places_are_sold_once() -> None:
    gateways = make_gateways(5, 3)
    tier = make_tier(gateways=gateways, max_api_keys=1000)
    tenants = [make_tenant() for _ in range(8)]

    def work(number: int) -> int:
        sold = 0
        with suppress(purchases.NoRoom):
            while True:
                buy(tenants[number], tier)
                sold += 1
        return sold

    assert sum(at_once(work)) == 8
    assert sorted(counts()) == [(3, 3, 3), (5, 5, 5)]


def test_purchases_that_are_rolled_back_leave_no_room_taken() -> None:
    gateways = make_gateways(1000, 1000)
    tier = make_tier(gateways=gateways, max_api_keys=1000)
    tenants = [make_tenant() for _ in range(8)]

    def work(number: int) -> None:
        for turn in range(20):
            with transaction.atomic():
                buy(tenants[number], tier)
                transaction.set_rollback(turn % 2 == 0)

    at_once(work)

    assert ApiKey.objects.count() == 80
    assert [held for held, _rows, _capacity in counts()] == [40, 40]
    assert [recount(gateway.pk) for gateway in gateways] == [0, 0]


def test_recounts_at_any_moment_find_nothing_wrong() -> None:
    gateways = make_gateways(1000, 1000)
    tier = make_tier(gateways=gateways, max_api_keys=1000)
    tenants = [make_tenant() for _ in range(6)]
    over = _fork.Value("i", 0)

    def work(number: int) -> list[int]:
        if number > 5:
            return list(until(over, 6, lambda: recount(gateways[number - 6].pk)))
        with finally_counted(over):
            for _ in range(15):
                remove(buy(tenants[number], tier).gateway_key)
                buy(tenants[number], tier)
        return []

    found = [wrong for wrongs in at_once(work) for wrong in wrongs]

    assert len(found) > 10
    assert not any(found)


@pytest.mark.parametrize("moment", ["reserved", "made", "bought", "removed"])
def test_process_that_is_killed_takes_and_gives_nothing(moment: str) -> None:
    [gateway] = make_gateways(10)
    tier, tenant = make_tier(gateways=[gateway], max_api_keys=1000), make_tenant()
    bought = buy(tenant, tier)
    plans = list(tier.usage_plans.all())
    moments: dict[str, Callable[[], object]] = {
        "reserved": lambda: reserve(plans, 3),
        "made": lambda: make(plans, 3, KeyRole.SPARE, Priority.SPARE),
        "bought": lambda: buy(tenant, tier),
        "removed": lambda: remove(bought.gateway_key),
    }

    def die() -> None:
        connections.close_all()
        with transaction.atomic():
            moments[moment]()
            assert counts() != [(1, 1, 10)]
            os.kill(os.getpid(), signal.SIGKILL)

    connections.close_all()
    child = _fork.Process(target=die)
    child.start()
    child.join(30)

    assert child.exitcode == -signal.SIGKILL
    assert counts() == [(1, 1, 10)]
    assert buy(tenant, tier).pk != bought.pk  # nobody's lock is left
    assert counts() == [(2, 2, 10)]


def test_buyer_of_a_spare_waits_for_nobody_who_holds_the_room() -> None:
    [gateway] = make_gateways(10)
    tier = make_tier(gateways=[gateway], max_api_keys=1000, spare_target=1)
    bring_into_service()
    tenants = [make_tenant() for _ in range(2)]
    held, bought = (_fork.Event() for _ in range(2))

    def work(number: int) -> uuid.UUID | None:
        refuse_to_wait()
        if number:
            assert held.wait(10)
            gateway_key = buy(tenants[number], tier).gateway_key_id
            bought.set()
            return gateway_key
        with transaction.atomic():
            hold([gateway.pk])
            held.set()
            assert bought.wait(10)
        return None

    assert at_once(work, 2)[1] == GatewayKey.objects.get().pk


def test_rotation_is_done_with_its_old_key_before_it_takes_room() -> None:
    """Else all buyers would wait for the worker that is just writing that key."""
    [gateway] = make_gateways(100)
    tier = make_tier(gateways=[gateway], max_api_keys=1000)
    tenants = [make_tenant() for _ in range(2)]
    api_key = buy(tenants[0], tier)
    bring_into_service()
    written, bought = (_fork.Event() for _ in range(2))

    def work(number: int) -> None:
        if number == 0:
            with transaction.atomic():
                GatewayKey.objects.filter(pk=api_key.gateway_key_id).update(synced_at=timezone.now())
                written.set()
                assert bought.wait(60)
        elif number == 1:
            assert written.wait(60)
            api_keys.rotate(api_key=api_key, grace=api_keys.LONGEST_GRACE, actor=SYSTEM)
        else:
            refuse_to_wait()
            assert written.wait(60)
            for _ in range(20):
                buy(tenants[1], Tier.objects.get(pk=tier.pk))
            bought.set()

    at_once(work, 3)

    assert counts() == [(22, 22, 100)]
