"""Selling siloed API keys over several account-Regions, by buyers and workers in processes of their own, while somebody looks."""

import multiprocessing
import time
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from keys.models import ApiKey, Gateway, GatewayKey, Tier
from keys.services import purchases
from keys.sync import due
from keys.sync.converge import converge
from tenants.audit import SYSTEM
from tests.support.factories import buy, make_gateway, make_stage, make_tenant, make_tier
from tests.support.processes import at_once
from tests.support.room import counts
from tests.support.sandbox import SandboxProcess

REGIONS = ("us-east-1", "eu-west-1", "ap-southeast-2")
ACCOUNT = "000000000000"
BUYERS = 3
_fork = multiprocessing.get_context("fork")


@dataclass(frozen=True, kw_only=True)
class Sold:
    """What came of it. ``fullest``: by Region, the most keys that API Gateway was ever seen to hold; ``looks``: how often it was looked."""

    bought: int
    refused: int
    looks: int
    fullest: dict[str, int]
    throttled: dict[str, int]
    seconds: float


def open_shards(sandbox: SandboxProcess, capacity: int, spares: int) -> Tier:
    """A gateway in each Region, with AWS's limits and this key cap on both sides, and a siloed tier that is sold on all of them."""
    shards = []
    for region in REGIONS:
        name = f"{ACCOUNT}:{region}"
        sandbox.world(name)
        sandbox.settings(world=name, aws_limits=True, key_cap=capacity)
        shard = make_gateway(name=region, account_id=ACCOUNT, region=region, capacity=capacity)
        api = f"api-{ACCOUNT}-{region}"
        make_stage(shard, rest_api_id=api, invoke_url=sandbox.invoke_url("", api=api))
        shards.append(shard)
    return make_tier(gateways=shards, spare_target=spares, max_api_keys=10**6)


def sell(sandbox: SandboxProcess, tier: Tier, count: int, *, batch: int) -> Sold:
    """Let BUYERS buy ``count`` API keys of the tier, every second time a batch, while a worker a gateway makes them."""
    shards = list(Gateway.objects.order_by("created_at"))
    tenants = [make_tenant() for _ in range(BUYERS)]
    left, busy = _fork.Value("i", count), _fork.Value("i", BUYERS + len(shards))
    started = time.monotonic()

    def work(number: int) -> Any:
        if number < BUYERS:
            with _done(busy):
                return _buy(tenants[number], tier, left, batch)
        if number < BUYERS + len(shards):
            with _done(busy):
                return _make(shards[number - BUYERS], busy, len(shards))
        return _look(sandbox, busy)

    *answers, (looks, fullest) = at_once(work, BUYERS + len(shards) + 1)
    bought = [answer for answer in answers if answer is not None]
    return Sold(
        bought=sum(done for done, _refused in bought),
        refused=sum(refused for _done, refused in bought),
        looks=looks,
        fullest=fullest,
        throttled={region: calls for region in REGIONS if (calls := _throttled(sandbox, region))},
        seconds=time.monotonic() - started,
    )


def pending() -> int:
    """Gateway keys that are not what they shall be."""
    return GatewayKey.objects.pending(timezone.now()).count()


def usable() -> int:
    """API keys that stand on a gateway key of their own that is in service."""
    rows = ApiKey.objects.live().filter(gateway_key__in_service_at__lte=timezone.now())
    return rows.values("gateway_key").distinct().count()


def _buy(tenant: Any, tier: Tier, left: Any, batch: int) -> tuple[int, int]:
    done = refused = turn = 0
    while True:
        turn += 1
        with left.get_lock():
            mine = min(left.value, batch if turn % 2 else 1)
            left.value -= mine
        if mine == 0:
            return done, refused
        if mine == 1:
            outcomes: Sequence[object] = [_one(tenant, tier)]
        else:
            items = [purchases.Item(tier=tier, name="Shop") for _ in range(mine)]
            outcomes = purchases.buy_many(tenant=tenant, items=items, actor=SYSTEM)
        done += sum(isinstance(outcome, ApiKey) for outcome in outcomes)
        refused += sum(not isinstance(outcome, ApiKey) for outcome in outcomes)


def _one(tenant: Any, tier: Tier) -> object:
    try:
        return buy(tenant, tier)
    except purchases.UnableToBuyKey as refusal:
        return refusal


def _make(shard: Gateway, busy: Any, workers: int) -> None:
    """Converge until every buyer is done and nothing is left to do."""
    while True:
        buyers_are_done = busy.value <= workers
        converge(shard.pk)
        if buyers_are_done and not due.has_rows(shard.pk, timezone.now()):
            return
        time.sleep(0.02)  # as the bell's way through a broker


def _look(sandbox: SandboxProcess, busy: Any) -> tuple[int, dict[str, int]]:
    looks, fullest = 0, dict.fromkeys(REGIONS, 0)
    while busy.value:
        for held, rows, capacity in counts():
            assert held == rows <= capacity, f"{held} counted, {rows} rows, at most {capacity}"
        for region in REGIONS:
            fullest[region] = max(fullest[region], len(sandbox.state(world=f"{ACCOUNT}:{region}")["keys"]))
        looks += 1
    return looks, fullest


def _throttled(sandbox: SandboxProcess, region: str) -> int:
    calls: dict[str, int] = sandbox.state(world=f"{ACCOUNT}:{region}")["throttled"]
    return sum(calls.values())


@contextmanager
def _done(busy: Any) -> Any:
    try:
        yield
    finally:
        with busy.get_lock():
            busy.value -= 1
