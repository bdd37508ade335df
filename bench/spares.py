"""A burst of 200 buyers, and how soon its spares are made up for; then siloed keys from spares beside pooled ones, bought in turns.

    python -m bench.spares [--seconds 2] [--turns 5] [--clients 4]

Purchases are whole ones: API key, credential, audit event, commit and bell (to the file broker). ``bench.claims`` measures the taking of
a spare alone. The gateway is a sandbox with AWS's limits. Needs PostgreSQL (BENCH_DATABASE_URL); makes a database of its own and drops it.
"""

from __future__ import annotations

import argparse
import atexit
import os
import shutil
import statistics
import sys
import tempfile
import time
import uuid

os.environ.setdefault("DEMO", "1")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.settings")
os.environ["DATA_DIR"] = tempfile.mkdtemp(prefix="tollgate-bench-")  # where bells go that no worker hears
atexit.register(shutil.rmtree, os.environ["DATA_DIR"], ignore_errors=True)

import django

django.setup()

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from bench import CREATE_A_SECOND, machine, table, use_sandbox, verdict
from bench.database import throwaway_database
from keys.models import Gateway, GatewayKey, KeyRole, Priority, Tier
from keys.services import catalog, gateways, purchases
from keys.stock import make
from keys.sync.converge import converge
from tenants.audit import SYSTEM
from tenants.models import Tenant
from tests.support.processes import at_once
from tests.support.sandbox import SandboxProcess

BURST = 200
STOCK = 3000
BURST_SECONDS = 45  # 40 s is what CreateApiKey would take


def offer(sandbox: SandboxProcess) -> dict[str, Tier]:
    """A pooled tier of 1,000 keys and a siloed one with BURST spares, made at the gateway."""
    gateway = gateways.register_gateway(name="Bench", account_id="0" * 12, region="us-east-1", propagation_seconds=0, actor=SYSTEM)
    invoke_url = sandbox.invoke_url("")
    stage = gateways.register_stage(gateway=gateway, rest_api_id="groceries", name="v1", invoke_url=invoke_url, actor=SYSTEM)
    tiers = {}
    for isolation, spares, pool in (("pooled", 0, 1000), ("siloed", BURST, None)):
        tiers[isolation] = catalog.create_tier(
            slug=isolation, name=isolation.title(), description="", position=1, price_minor=0, currency="USD", isolation=isolation,
            throttle_rate=10, throttle_burst=5, quota_limit=2000, quota_period="DAY", max_api_keys=10**6, spare_target=spares,
            pool_size=pool, stages=[stage], actor=SYSTEM,
        )  # fmt: skip
    converge(gateway.pk)
    return tiers


def stock(tier: Tier, count: int) -> None:
    """Have ``count`` spares in service more, as rows that the gateway never sees: the sale is measured, not the making."""
    Gateway.objects.update(capacity=10**6)
    with transaction.atomic():
        made = make(list(tier.usage_plans.all()), count, KeyRole.SPARE, Priority.SPARE)
    GatewayKey.objects.filter(pk__in=[each.pk for each in made]).update(in_service_at=timezone.now(), synced_revision=1)


def burst(tier: Tier, tenants: list[Tenant]) -> tuple[int, float]:
    """BURST buyers: how many keys worked at once, and seconds until as many spares are in service again."""
    sold = [_buy(tenant, tier) for tenant in tenants[:BURST]]
    at_once_ready = GatewayKey.objects.filter(api_keys__in=sold, in_service_at__lte=timezone.now()).count()
    started = time.perf_counter()
    converge(tier.usage_plans.get().gateway_id)
    while GatewayKey.objects.filter(role=KeyRole.SPARE, in_service_at__lte=timezone.now()).count() < BURST:
        if time.perf_counter() - started > 5 * BURST_SECONDS:
            break
        converge(tier.usage_plans.get().gateway_id)
    return at_once_ready, time.perf_counter() - started


def alone(tiers: dict[str, Tier], tenants: list[Tenant], seconds: float) -> dict[str, float]:
    """The median of a purchase's seconds, of each tier: one purchase after the other, the tiers in turns, so that both meet what else the
    machine does."""
    taken: dict[str, list[float]] = {name: [] for name in tiers}
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        for name, tier in tiers.items():
            started = time.perf_counter()
            _buy(tenants[len(taken[name]) % len(tenants)], tier)
            taken[name].append(time.perf_counter() - started)
    return {name: statistics.median(each) for name, each in taken.items()}


def together(tier: Tier, tenants: list[Tenant], seconds: float, clients: int) -> float:
    """Purchases a second by ``clients`` processes at once."""

    def work(number: int) -> float:
        mine, count = tenants[number::clients], 0
        _buy(mine[0], tier)
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            _buy(mine[count % len(mine)], tier)
            count += 1
        return count / seconds

    return float(sum(at_once(work, clients)))


def _buy(tenant: Tenant, tier: Tier) -> object:
    return purchases.buy(tenant=tenant, tier=tier, name="Key", actor=SYSTEM, purchase_token=uuid.uuid4())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--clients", type=int, default=4)
    options = parser.parse_args()
    settings.GATEWAY_PACING, settings.CANARY_SECONDS = "aws", 0
    machine()
    p50: dict[str, list[float]] = {"pooled": [], "siloed": []}
    rates: dict[str, list[float]] = {"pooled": [], "siloed": []}
    with SandboxProcess("--aws-limits") as sandbox, throwaway_database():
        use_sandbox(sandbox.url)
        tiers = offer(sandbox)
        tenants = [Tenant.objects.create(name=f"Tenant {number}") for number in range(BURST)]
        ready, refilled = burst(tiers["siloed"], tenants)
        throttled = sum(sandbox.state()["throttled"].values())
        for _turn in range(options.turns):
            stock(tiers["siloed"], STOCK)
            for isolation, median in alone(tiers, tenants, 2 * options.seconds).items():
                p50[isolation].append(median)
                rates[isolation].append(together(tiers[isolation], tenants, options.seconds, options.clients))
        preparing = GatewayKey.objects.filter(role=KeyRole.SILO, in_service_at=None).count()
    ratio = statistics.median(mine / theirs for mine, theirs in zip(p50["siloed"], p50["pooled"], strict=True))
    table(
        f"purchases from spares and from a pool of 1,000 keys, median of {options.turns} turns of {options.seconds:g} s",
        ("", "p50 alone", f"a second, {options.clients} buyers", "x CreateApiKey"),
        [
            (name, f"{1000 * statistics.median(p50[name]):.1f} ms", f"{statistics.median(rates[name]):,.0f}",
             f"{statistics.median(rates[name]) / CREATE_A_SECOND:,.0f}")
            for name in p50
        ],
    )  # fmt: skip
    print(f"\n  burst of {BURST}: {ready} worked at once; spares full again after {refilled:.1f} s; {throttled} calls answered 429")
    return verdict(
        [
            (f"siloed p50 at most 1.3 x pooled: {ratio:.2f}", ratio <= 1.3),
            (f"all siloed keys came from spares, but {preparing}", preparing == 0),
            (f"a burst of {BURST} waits for nothing", ready == BURST),
            (f"its spares are made up for within {BURST_SECONDS} s", refilled <= BURST_SECONDS),
            ("no self-inflicted 429", throttled == 0),
        ]
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
