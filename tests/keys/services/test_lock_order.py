"""Who waits for whom: in real processes on PostgreSQL, each brought to the moment in question by the locks that it waits for."""

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F, Model
from django.utils import timezone

from keys import moving
from keys.models import ApiKey, Credential, Gateway, GatewayKey, KeyRole, Pool, Tier
from keys.models.room import count_in, give_back, recount, reserve
from keys.models.tickets import hold_pool, hold_tier_alone, the_only_sweep
from keys.planner import Wish, plan
from keys.services import api_keys, catalog, draining, pools
from keys.services.planning import apply_plan, completed, surroundings
from keys.sync.draining import move_pool_keys, move_siloed_keys
from keys.sync.sweep import sweep
from tenants.audit import SYSTEM
from tenants.models import Tenant
from tests.support.factories import bring_into_service, buy, make_gateway, make_stage, make_tenant, make_tier
from tests.support.processes import at_once
from tests.support.services import wait_until

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="needs PostgreSQL: SQLite has one writer at a time"),
]

_fork = multiprocessing.get_context("fork")


def waiting() -> int:
    """Processes that wait for somebody's lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # else a transaction sees what it saw the first time
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
        return int(cursor.fetchone()[0])


def somebody_waits() -> None:
    wait_until(waiting, seconds=20, what="somebody who waits for a lock")


@contextmanager
def not_waiting() -> Iterator[None]:
    """In it this process's statements fail where they would wait for somebody's lock."""
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '5s'")
        yield
        cursor.execute("RESET lock_timeout")


def together(*works: Callable[[], Any]) -> list[Any]:
    """Each in a process of its own; what they returned."""
    return at_once(lambda number: works[number](), len(works))


def assert_room_is_exact() -> None:
    assert [recount(gateway.pk) for gateway in Gateway.objects.all()] == [0] * Gateway.objects.count()


# --- One process at a time goes on with what is large


def test_sweep_beside_one_that_moves_rings_and_returns_at_once() -> None:
    tier = make_tier(pool_size=2)
    Pool.objects.update(lacks_places=True)
    held, rung, swept = (_fork.Event() for _ in range(3))

    def buyer() -> None:
        with transaction.atomic():
            hold_pool(tier.pool.pk)
            held.set()
            assert swept.wait(20)

    def mover() -> None:
        assert held.wait(20)
        sweep(lambda _gateway_id: rung.set())

    def second() -> list[Any]:
        assert rung.wait(20), "it rings before it moves"
        somebody_waits()
        found: list[Any] = []
        with not_waiting():
            sweep(found.append)
        assert waiting() == 1
        swept.set()
        return found

    assert together(buyer, mover, second)[2] == [Gateway.objects.get().pk]
    assert not Pool.objects.get().lacks_places


def test_only_sweep_is_the_only_one_until_it_is_over_however_it_ends() -> None:
    inside, seen, failed = (_fork.Event() for _ in range(3))

    def first() -> bool:
        with suppress(ZeroDivisionError), the_only_sweep() as alone:
            inside.set()
            assert seen.wait(20)
            raise ZeroDivisionError
        failed.set()
        return alone

    def second() -> list[bool]:
        assert inside.wait(20)
        with the_only_sweep() as before:
            seen.set()
        assert failed.wait(20)
        with the_only_sweep() as after:
            return [before, after]

    assert together(first, second) == [True, [False, True]]


# --- Room is locked last


@pytest.fixture
def here() -> Gateway:
    return make_gateway(name="Here")


@pytest.fixture
def there() -> Gateway:
    return make_gateway(name="There")


def replace_one() -> bool:
    key = GatewayKey.objects.filter(pool__isnull=False, ends_at=None).get()
    try:
        pools.replace_pool_key(gateway_key=key, grace=timedelta(hours=1), actor=SYSTEM)
    except pools.UnableToChangePool:
        return False
    return True


@pytest.mark.parametrize("last_place", [False, True], ids=["room for both", "the last place is sold meanwhile"])
@pytest.mark.parametrize(
    ("what", "row"), [("replaced", ApiKey), ("replaced", Tenant), ("drained", ApiKey), ("drained", Tenant), ("siloed", Credential)]
)
def test_neither_buyers_nor_workers_wait_while_a_key_is_handed_over(
    what: str, row: type[Model], last_place: bool, here: Gateway, there: Gateway
) -> None:
    """Somebody holds a row of the tenant who is on it: one that is written, or that what is written names. A buyer needs room where the new
    key is made; a worker renews its lease where the old one is."""
    target = here if what == "replaced" else there
    standing = make_tier(gateways=[here], pool_size=None if what == "siloed" else 1)
    silo = make_tier(gateways=[target], max_api_keys=100)
    api_key = buy(make_tenant(), standing)
    bring_into_service()
    if what != "replaced":
        catalog.serve_stages(tier=standing, stages=[here.stages.get(), there.stages.get()], actor=SYSTEM)
        bring_into_service()
        draining.drain(gateway=here, actor=SYSTEM)
        draining.move_siloed(gateway=here, actor=SYSTEM)
    if last_place:
        Gateway.objects.filter(pk=target.pk).update(capacity=GatewayKey.objects.filter(gateway=target).count() + 1)
    before = GatewayKey.objects.count()
    held_row = row._default_manager.get().pk
    buyer_tenant = make_tenant()
    held, done = (_fork.Event() for _ in range(2))

    def holder() -> None:
        with transaction.atomic():
            row._default_manager.select_for_update().get(pk=held_row)
            held.set()
            assert done.wait(20)

    def mover() -> bool:
        assert held.wait(20)
        acts: dict[str, Callable[[], object]] = {
            "replaced": replace_one,
            "drained": lambda: move_pool_keys(here.pk),
            "siloed": lambda: move_siloed_keys(here.pk),
        }
        return bool(acts[what]())

    def buyer() -> None:
        assert held.wait(20)
        somebody_waits()
        with not_waiting():
            Gateway.objects.filter(pk=here.pk).update(lease_owner="worker")
            assert buy(buyer_tenant, silo).gateway_key.gateway_id == target.pk
        assert waiting() == 1
        done.set()

    assert together(holder, mover, buyer)[1] is not last_place
    assert GatewayKey.objects.count() == before + (1 if last_place else 2)
    old = GatewayKey.objects.get(pk=api_key.gateway_key_id)
    assert (old.ends_at is None) is last_place
    assert (ApiKey.objects.get(pk=api_key.pk).gateway_key_id == old.pk) is last_place
    assert ApiKey.objects.get(pk=api_key.pk).gateway_key.ends_at is None
    assert_room_is_exact()


def test_room_that_was_waited_for_is_read_with_its_gateway() -> None:
    """An adoption: what was counted as keys of others is ours, and takes no room that it did not take before."""
    gateway = make_gateway(capacity=10)
    tier = make_tier(gateways=[gateway])
    Gateway.objects.update(foreign_keys=5)
    count_in(gateway.pk, 4)
    plans = list(tier.usage_plans.all())
    held = _fork.Event()

    def adoption() -> None:
        with transaction.atomic():
            Gateway.objects.filter(pk=gateway.pk).update(foreign_keys=F("foreign_keys") - 5)
            count_in(gateway.pk, 5)
            held.set()
            somebody_waits()

    def buyer() -> int:
        assert held.wait(20)
        with transaction.atomic():
            return len(reserve(plans, 2))

    assert together(adoption, buyer)[1] == 1


# --- Rows of gateways before room and before gateway keys


def resize(tier: Tier) -> None:
    pools.resize_pool(tier=tier, size=3, actor=SYSTEM)


def apply(tier: Tier) -> None:
    wishes = completed([Wish(slug=tier.slug, share=Decimal(10), tenants=100, keys=3, siloed=False)])
    planned = plan(wishes, surroundings(rate=Decimal(1000)))
    apply_plan(plan=planned, stages=tier.stages.all(), actor=SYSTEM)


@pytest.mark.parametrize("grow", [resize, apply])
def test_pool_that_grows_while_it_shrinks_does_not_block_a_worker(grow: Callable[[Tier], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes a key, which takes room, and ends those that still leave. The worker has the gateway's row, and gives back room."""
    tier = make_tier(pool_size=6, max_api_keys=100)
    gateway = Gateway.objects.get()
    tenant = make_tenant()
    for _ in range(12):
        buy(tenant, tier)
    monkeypatch.setattr(moving, "PART", 4)
    pools.resize_pool(tier=tier, size=2, actor=SYSTEM)
    live = GatewayKey.objects.filter(ends_at=None)
    assert sorted(live.values_list("position", flat=True)) == [0, 1, 4, 5]
    working = _fork.Event()

    def worker() -> None:
        with transaction.atomic():
            Gateway.objects.filter(pk=gateway.pk).update(lease_owner="worker")
            working.set()
            somebody_waits()
            ended = GatewayKey.objects.filter(ends_at__isnull=False).first()
            assert ended is not None
            GatewayKey.objects.filter(pk=ended.pk).update(removed_at=timezone.now())
            give_back(gateway.pk)

    def staff() -> None:
        assert working.wait(20)
        grow(tier)

    together(worker, staff)

    assert sorted(live.values_list("position", flat=True)) == [0, 1, 2]
    assert_room_is_exact()


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("verb", [api_keys.revoke, api_keys.disable])
def test_key_in_its_grace_period_is_written_behind_the_gateways_worker(verb: Callable[..., object], newest_first: bool) -> None:
    """Both write its two gateway keys, in orders of their own."""
    api_key = buy(make_tenant(), make_tier())
    bring_into_service()
    api_keys.rotate(api_key=api_key, grace=timedelta(hours=1), actor=SYSTEM)
    bring_into_service()
    ids = list(GatewayKey.objects.order_by("-created_at" if newest_first else "created_at").values_list("pk", flat=True))
    assert len(ids) == 2
    working = _fork.Event()

    def worker() -> None:
        with transaction.atomic():
            Gateway.objects.update(lease_owner="worker")
            GatewayKey.objects.filter(pk=ids[0]).update(attempts=1)
            working.set()
            somebody_waits()
            with not_waiting():
                GatewayKey.objects.filter(pk=ids[1]).update(attempts=1)

    def tenant() -> None:
        assert working.wait(20)
        verb(api_key=api_key, actor=SYSTEM)

    together(worker, tenant)

    assert all(key.is_pending for key in GatewayKey.objects.all())


def test_rotation_that_waits_for_staff_keeps_no_gateway_key_from_the_workers() -> None:
    tier = make_tier()
    api_key = buy(make_tenant(), tier)
    bring_into_service()
    held, written = (_fork.Event() for _ in range(2))

    def staff() -> None:
        with transaction.atomic():
            hold_tier_alone(tier.pk)
            held.set()
            assert written.wait(20)

    def tenant() -> None:
        assert held.wait(20)
        api_keys.rotate(api_key=api_key, grace=timedelta(hours=1), actor=SYSTEM)

    def worker() -> None:
        assert held.wait(20)
        somebody_waits()
        with not_waiting():
            GatewayKey.objects.filter(pk=api_key.gateway_key_id).update(attempts=1)
        assert waiting() == 1
        written.set()

    together(staff, tenant, worker)

    assert ApiKey.objects.get(pk=api_key.pk).gateway_key_id != api_key.gateway_key_id


# --- A tier's stages beside its pool


@pytest.mark.parametrize("change", ["serve_stages", "change_tier"])
@pytest.mark.parametrize("what", ["resized", "drained"])
def test_gateway_on_which_a_pool_gets_a_key_is_not_taken_from_the_tier(what: str, change: str, here: Gateway, there: Gateway) -> None:
    tier = make_tier(gateways=[here], pool_size=1)
    stage, other = here.stages.get(), make_stage(there)
    catalog.serve_stages(tier=tier, stages=[stage, other], actor=SYSTEM)
    bring_into_service()
    if what == "drained":
        draining.drain(gateway=here, actor=SYSTEM)
    made = _fork.Event()

    def pool() -> None:
        with transaction.atomic():
            if what == "resized":
                pools.resize_pool(tier=tier, size=2, actor=SYSTEM)
            else:
                assert move_pool_keys(here.pk) == 1
            assert GatewayKey.objects.filter(gateway=there, role=KeyRole.POOL, ends_at=None).count() == 1
            made.set()
            somebody_waits()

    def staff() -> bool:
        assert made.wait(20)
        try:
            if change == "serve_stages":
                catalog.serve_stages(tier=tier, stages=[stage], actor=SYSTEM)
            else:
                catalog.change_tier(tier=tier, changes={}, stages=[stage], actor=SYSTEM)
        except catalog.UnableToChangeTier:
            return False
        return True

    assert together(pool, staff)[1] is False
    assert tier.stages.count() == 2


def test_purchase_of_a_place_is_never_compiled() -> None:
    """Where an index is lacking, the forbidden scan's cost would ask for it at each call."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT proname FROM pg_proc WHERE proname LIKE 'keys_take_%' AND NOT 'jit=off' = ANY (proconfig)")
        assert cursor.fetchall() == []
