"""Scenarios of crash points: what staff do with tiers, pools and gateways."""

from __future__ import annotations

import contextlib
import uuid
from datetime import timedelta
from decimal import Decimal

from django.db import transaction
from django.utils import timezone

from keys.models import FreeSlot, GatewayKey, Pool, Tier, UsagePlan
from keys.planner import Wish, plan
from keys.services import api_keys, catalog, draining, gateways, pools, purchases
from keys.services.planning import apply_plan, completed, surroundings
from keys.stock import add_spares, end_spares
from keys.sync.gaps import SETTLED_AFTER
from keys.sync.sweep import sweep
from tenants.audit import SYSTEM
from tests.faults.world import WIDE, World, listener, refusals_are_no_matter, second_gateway
from tests.support.factories import make_tenant, make_tier

# --- Tiers, pools, gateways


def nothing(world: World) -> None:
    world.made = {}


def change_tiers(world: World) -> None:
    limits = {"throttle_burst": 5_000, "quota_limit": None, "quota_period": ""}
    rate = Decimal(9_000 + uuid.uuid4().int % 900)
    catalog.change_limits(tier=world.siloed, throttle_rate=rate, **limits, actor=SYSTEM)
    offer = {name: getattr(world.spared, name) for name in catalog.OFFER}
    catalog.change_offer(tier=world.spared, **{**offer, "description": uuid.uuid4().hex}, actor=SYSTEM)
    catalog.change_tier(tier=world.pooled, changes={"throttle_rate": rate}, actor=SYSTEM)
    UsagePlan.objects.update(next_try_at=None)
    world.work()
    for spares in (4, 1, 2):
        catalog.change_tier(tier=world.spared, changes={"spare_target": spares}, actor=SYSTEM)
        plan = UsagePlan.objects.get(tier=world.spared)
        add_spares(plan)
        end_spares(plan)
        world.work()


def sell_tiers(world: World) -> None:
    name = uuid.uuid4().hex
    tier = make_tier(stage=world.stage, slug=name, name=name, pool_size=1, **WIDE)
    catalog.serve_stages(tier=tier, stages=[world.stage], actor=SYSTEM)
    world.work()
    catalog.retire_tier(tier=tier, actor=SYSTEM)
    catalog.reopen_tier(tier=tier, actor=SYSTEM)


def register(world: World) -> None:
    """A gateway that nothing is sold on: none of its keys is looked for in the sandbox of the other."""
    gateway = gateways.register_gateway(
        name=uuid.uuid4().hex, account_id=f"{uuid.uuid4().int % 10**12:012d}", region="eu-west-1", propagation_seconds=0, actor=SYSTEM
    )
    stage = gateways.register_stage(gateway=gateway, rest_api_id="groceries", name="v1", invoke_url="http://localhost:1/v1", actor=SYSTEM)
    gateways.change_stage(stage=stage, invoke_url="http://localhost:2/v1", test_path="/api", actor=SYSTEM)
    gateways.change_gateway(gateway=gateway, name=uuid.uuid4().hex, propagation_seconds=1, capacity=9, accepts_keys=True, actor=SYSTEM)
    gateways.request_reconcile(gateway=gateway, actor=SYSTEM)
    gateways.try_again(gateway=gateway, actor=SYSTEM)


def resize_pools(world: World) -> None:
    for size in (5, 2, 4, 3):
        pools.resize_pool(tier=world.pooled, size=size, actor=SYSTEM)
        world.work()
    pools.rebalance_pool(tier=world.pooled, actor=SYSTEM)
    key = GatewayKey.objects.filter(pool__tier=world.pooled, ends_at=None).order_by("pk").first()
    assert key is not None
    with refusals_are_no_matter():
        pools.replace_pool_key(gateway_key=key, grace=timedelta(0), actor=SYSTEM)
    world.work()


def prepare_uneven(world: World) -> None:
    """Tenants on the pool, some of whom will leave."""
    world.made = {"keys": [key for _round in range(4) for key in world.buy(world.pooled)]}
    # Places that are offered are sold before a ticket is drawn, and only tickets leave gaps.
    world.buy(*[world.pooled] * FreeSlot.objects.filter(pool__tier=world.pooled).count())
    world.recover()


class _RolledBack(Exception):
    pass


def even_out(world: World) -> None:
    """Purchases that are rolled back, places that are not listed, tenants on a key that is leaving."""
    pool = Pool.objects.get(tier=world.pooled)
    tenant = make_tenant(uuid.uuid4().hex)
    for _purchase in range(2 * pool.size):
        with contextlib.suppress(_RolledBack), transaction.atomic():
            purchases.buy(tenant=tenant, tier=world.pooled, name="rolled back", actor=SYSTEM, purchase_token=uuid.uuid4())
            raise _RolledBack
    for _round in range(2):
        Pool.objects.exclude(sweep_seen_at=None).update(sweep_seen_at=timezone.now() - 2 * SETTLED_AFTER)
        sweep()
    Pool.objects.filter(pk=pool.pk).update(lacks_places=True)
    sweep()
    if pool.size > 2:
        for each in world.made["keys"][1:3]:  # uneven enough for somebody to move
            api_keys.revoke(api_key=each, actor=SYSTEM)
        FreeSlot.objects.filter(pool=pool).delete()
        pools.rebalance_pool(tier=world.pooled, actor=SYSTEM)
        with transaction.atomic():  # a shrink whose second part is still to come
            Pool.objects.filter(pk=pool.pk).update(size=pool.size - 1)
        sweep()
    world.work()
    pools.resize_pool(tier=world.pooled, size=3, actor=SYSTEM)
    world.work()


def plan_tiers(world: World) -> None:
    wishes = completed([Wish(slug=f"planned-{uuid.uuid4().hex[:8]}", share=Decimal(10), tenants=10, keys=2, siloed=False)])
    planned = plan(wishes, surroundings(rate=Decimal(1000)))
    apply_plan(plan=planned, stages=[world.stage], actor=SYSTEM)
    world.work()


# --- Two gateways


def prepare_two(world: World) -> None:
    """Tenants on both, who are told of moves."""
    there = second_gateway(world)
    tiers = [Tier.objects.filter(slug=slug).first() for slug in ("pooled-on-both", "siloed-on-both")]
    if None in tiers:
        both = [world.gateway, there]
        tiers = [
            make_tier(gateways=both, slug="pooled-on-both", **WIDE, pool_size=4),
            make_tier(gateways=both, slug="siloed-on-both", **WIDE),
        ]
        world.recover()
    pooled, siloed = tiers
    world.buy(pooled, pooled, pooled, *[siloed] * 4, tenant=listener())
    world.recover()
    world.made = {"there": there}


def move_between(world: World) -> None:
    """Each is drained in turn, so that all that can move stands on the other one."""
    both = (world.made["there"], world.gateway)
    for gateway in both:  # the one who was killed may have left one drained, and nothing moves where both are
        draining.undrain(gateway=gateway, actor=SYSTEM)
    for gateway in both:
        draining.drain(gateway=gateway, actor=SYSTEM)
        draining.move_siloed(gateway=gateway, actor=SYSTEM)
        world.work()
        world.work()
        assert not GatewayKey.objects.filter(gateway=gateway, pool__tier__slug="pooled-on-both", ends_at=None).exists()
        draining.undrain(gateway=gateway, actor=SYSTEM)
    world.work()
