"""The control plane as a budget: what is made of AWS's 10 calls a second, by real workers on PostgreSQL.

    python -m bench.control_plane [--keys 10000] [--seconds 60]

The sandbox enforces the account's rates (``--aws-limits``): a call too early is a 429, and every 429 that it did not inject itself is a
goal missed. Goals:

- 10,000 keys are made, enabled and attached in at most 60 calls. Beside it: CreateApiKey and CreateUsagePlanKey, two calls a key.
- Where imports are switched off, 0.9 of the 5 keys a second that CreateApiKey allows; and a reconcile that is asked for beside that backlog
  is made within a minute.
- A revoke is out within 2 s: behind a backlog of imports, of creations, during a reconcile, while usage is read, and under 429s.
- New limits of four tiers on three accounts: 12 UpdateUsagePlan, never two within 20 s in one account.
- Disabling all keys of a suspended tenant, beside one call a key.

Needs PostgreSQL (BENCH_DATABASE_URL, by default the local server); makes a database of its own and drops it. About seven minutes.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("DEMO", "1")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.settings")
os.environ.setdefault("CANARY_SECONDS", "0")

import django

django.setup()

from django.db.models import F
from django.utils import timezone

from bench import machine, table, verdict
from bench.database import throwaway_database
from keys import rates, values
from keys.models import ApiKey, Gateway, GatewayKey, Tier, UsagePlan
from keys.services import api_keys, bell, catalog, gateways, purchases, tenants
from tenants.audit import SYSTEM
from tenants.models import Tenant
from tests.support import services
from tests.support.sandbox import SandboxProcess
from tests.support.services import Broker, WorkerProcess, used_by_this_process, worker_environment

services.WORKER_SECONDS = 120  # until a worker has started: nothing that is measured here
ACCOUNTS = ("111111111111", "222222222222", "333333333333")
LIMITS = {"throttle_rate": Decimal(10), "throttle_burst": 5, "quota_limit": 2000, "quota_period": "DAY"}


@dataclass
class World:
    """A gateway with a sandbox and a worker of its own. ``revokes``: seconds from each commit to the first 403."""

    sandbox: SandboxProcess
    broker: Broker
    gateway: Gateway
    tiers: list[Tier]
    revokes: dict[str, list[float]] = field(default_factory=dict)

    def calls(self) -> dict[str, int]:
        return dict(self.sandbox.state()["calls"])

    def throttled(self) -> int:
        return sum(self.sandbox.state()["throttled"].values())

    def in_service(self) -> int:
        return GatewayKey.objects.filter(gateway=self.gateway, in_service_at__isnull=False, removed_at=None).count()

    def want_spares(self, count: int) -> None:
        offer = {
            name: getattr(self.tiers[0], name) for name in ("name", "description", "position", "price_minor", "currency", "max_api_keys")
        }
        catalog.change_offer(tier=self.tiers[0], spare_target=count, actor=SYSTEM, **offer)

    def buy(self, count: int) -> list[ApiKey]:
        tenant = Tenant.objects.create(name="Bench")
        bought = [
            purchases.buy(tenant=tenant, tier=self.tiers[0], name="Key", purchase_token=uuid.uuid4(), actor=SYSTEM) for _ in range(count)
        ]
        until(lambda: all(self.sandbox.invoke(value_of(key)).status == 200 for key in bought), 120, "bought keys that work")
        return bought

    def revoke(self, api_key: ApiKey, during: str) -> None:
        """Revoke it and wait until calls with it are refused."""
        value = value_of(api_key)
        assert self.sandbox.invoke(value).status == 200
        api_keys.revoke(api_key=api_key, actor=SYSTEM)
        started = time.perf_counter()
        until(lambda: self.sandbox.invoke(value).status == 403, 60, "a revoked key that is refused")
        self.revokes.setdefault(during, []).append(time.perf_counter() - started)

    def revoke_while(self, is_going_on: Callable[[], bool], bought: list[ApiKey], during: str) -> None:
        while bought and is_going_on():
            self.revoke(bought.pop(), during)


@contextmanager
def world(folder: Path, *, uses_imports: bool = True, **environment: str) -> Iterator[World]:
    """Start a sandbox with AWS's limits, and a worker that is paced for them."""
    number = Gateway.objects.count() + 1
    with SandboxProcess("--aws-limits") as sandbox:
        os.environ["AWS_ENDPOINT_URL_API_GATEWAY"] = sandbox.url
        gateway = gateways.register_gateway(
            name=f"Bench {number}", account_id=f"{number:012d}", region="us-east-1", propagation_seconds=0, actor=SYSTEM
        )
        Gateway.objects.filter(pk=gateway.pk).update(uses_imports=uses_imports)
        url = sandbox.invoke_url("")
        stage = gateways.register_stage(gateway=gateway, rest_api_id="groceries", name="v1", invoke_url=url, actor=SYSTEM)
        tier = make_tier(f"bench-{number}", [stage])
        with worker(folder / f"world-{number}", **environment) as process:
            bell.ring(gateway.pk)
            until(lambda: not UsagePlan.objects.filter(gateway=gateway, remote_id="").exists(), 60, "usage plans")
            yield World(sandbox, process.broker, gateway, [tier])


@contextmanager
def accounts(folder: Path) -> Iterator[tuple[SandboxProcess, list[Gateway], list[Tier]]]:
    """One sandbox with an account a gateway, each with AWS's limits of its own; four tiers that all of them serve; one worker for all."""
    with SandboxProcess("--aws-limits") as sandbox:
        os.environ.update(AWS_ENDPOINT_URL_API_GATEWAY=sandbox.url, AWS_ENDPOINT_URL_STS=sandbox.url)
        here, stages = [], []
        for account in ACCOUNTS:
            sandbox.world(f"{account}:us-east-1")
            gateway = gateways.register_gateway(
                name=account, account_id=account, region="us-east-1", role_arn=f"arn:aws:iam::{account}:role/tollgate",
                propagation_seconds=0, actor=SYSTEM,
            )  # fmt: skip
            api = f"api-{account}-us-east-1"
            url = sandbox.invoke_url("", api=api)
            stages.append(gateways.register_stage(gateway=gateway, rest_api_id=api, name="v1", invoke_url=url, actor=SYSTEM))
            here.append(gateway)
        tiers = [make_tier(f"bench-accounts-{number}", stages) for number in range(4)]
        try:
            with worker(folder / "accounts"):
                for gateway in here:
                    bell.ring(gateway.pk)
                yield sandbox, here, tiers
        finally:
            del os.environ["AWS_ENDPOINT_URL_STS"]


def make_tier(slug: str, stages: list[Any]) -> Tier:
    return catalog.create_tier(
        slug=slug, name=slug.capitalize(), description="", position=1, price_minor=0, currency="USD", isolation="siloed",
        max_api_keys=10**6, spare_target=0, pool_size=None, stages=stages, actor=SYSTEM, **LIMITS,
    )  # fmt: skip


@contextmanager
def worker(folder: Path, **environment: str) -> Iterator[WorkerProcess]:
    """A Celery worker of two threads, with the rates of AWS and no beat."""
    folder.mkdir(exist_ok=True)
    broker = Broker("file", "safefs://localhost//", folder)
    aws = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_DEFAULT_REGION": "us-east-1", "GATEWAY_PACING": "aws"}
    quiet = {"HEARTBEAT_SECONDS": "3600", "USAGE_SECONDS": "86400", "LOG_LEVEL": "INFO", "CANARY_SECONDS": "0"}
    process = WorkerProcess(broker, environment=worker_environment(broker, **aws, **quiet, **environment), concurrency=2)
    with used_by_this_process(broker):
        process.start()
        try:
            yield process
        finally:
            process.stop()


def ring(tier: Tier) -> None:
    for plan in tier.usage_plans.all():
        bell.ring(plan.gateway_id)


def value_of(api_key: ApiKey) -> str:
    return values.decrypt(GatewayKey.objects.get(pk=api_key.gateway_key_id).value_encrypted)


def until(condition: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait for it; how long that took."""
    started = time.perf_counter()
    while not condition():
        if time.perf_counter() - started > seconds:
            raise RuntimeError(f"{what} did not come about within {seconds} s")
        time.sleep(0.02)
    return time.perf_counter() - started


def used(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}


# --- What is measured


def imports(folder: Path, keys: int) -> tuple[list[Any], list[Any]]:
    """All keys of an account, with nothing else to do; then a tenant with a tenth of them is suspended."""
    with world(folder) as place:
        at_rest(place)
        before = place.calls()
        place.want_spares(keys)
        seconds = until(lambda: place.in_service() >= keys, 300, "all keys")
        calls = sum(used(before, place.calls()).values())
        at_rest(place)
        row = ["ImportApiKeys", f"{keys:,}", calls, f"{seconds:.1f}", f"{keys / seconds:,.0f}", "", place.throttled()]
        tenant, count = Tenant.objects.create(name="Suspended"), keys // 10
        for start in range(0, count, 100):
            items = [purchases.Item(tier=place.tiers[0], name="Key") for _ in range(min(100, count - start))]
            purchases.buy_many(tenant=tenant, items=items, actor=SYSTEM)
        place.want_spares(keys - count)
        until(lambda: not due_rows(place), 300, "nothing to do")
        before = place.calls()
        tenants.suspend(tenant=tenant, reason="bench", actor=SYSTEM)
        seconds = until(lambda: not due_rows(place), 300, "a tenant that is cut off")
        switched = used(before, place.calls())
        suspended = [f"suspend a tenant of {count:,} keys", sum(switched.values()), f"{count:,}", f"{seconds:.1f}"]
        return row, suspended


def revokes(folder: Path, keys: int) -> World:
    """Revokes all the while that spares are imported, then during reconciles, while usage is read, and under 429s."""
    with world(folder) as place:
        bought = place.buy(60)
        place.want_spares(keys - 60)
        until(lambda: GatewayKey.objects.filter(gateway=place.gateway).count() > keys / 10, 60, "a backlog")
        place.revoke_while(lambda: place.in_service() < keys - 60, bought[:30], "imports of spares")
        until(lambda: place.in_service() >= keys - 60, 120, "all spares")
        at_rest(place)
        assert place.throttled() == 0
        bought = bought[30:]
        for _ in range(5):
            gateways.request_reconcile(gateway=place.gateway, actor=SYSTEM)
            until(lambda: held(place), 30, "a reconcile")
            place.revoke(bought.pop(), "reconcile")
            at_rest(place)
        for _ in range(5):
            Gateway.objects.filter(pk=place.gateway.pk).update(usage_read_at=None)
            ring(place.tiers[0])
            until(lambda: held(place), 30, "a reading of usage")
            place.revoke(bought.pop(), "reading of usage")
            at_rest(place)
        assert place.throttled() == 0
        for seed in range(10):
            place.sandbox.fault(kind="throttle", probability=0.3, seed=seed)
            gateways.request_reconcile(gateway=place.gateway, actor=SYSTEM)
            until(lambda: held(place), 30, "a reconcile under 429s")
            place.revoke(bought.pop(), "reconcile, 30 % of all calls 429")
            place.sandbox.clear_faults()
            at_rest(place)
        return place


def creations(folder: Path, keys: int, seconds: float) -> tuple[list[Any], World, float]:
    """Keys made one by one for so long; then as long again with revokes meanwhile, and a reconcile that is asked for at their beginning:
    after how many seconds it was done."""
    with world(folder, uses_imports=False) as place:
        bought = place.buy(20)
        at_rest(place)
        time.sleep(5)  # calls are saved up, as on a quiet day
        before, calls, started = place.in_service(), place.calls(), time.perf_counter()
        place.want_spares(keys)
        time.sleep(seconds)
        made, passed = place.in_service() - before, time.perf_counter() - started
        calls = used(calls, place.calls())
        rate, most = made / passed, rates.BY_OPERATION["CreateApiKey"][0]
        what = ["CreateApiKey, CreateUsagePlanKey", f"{made:,}", sum(calls.values()), f"{passed:.1f}", f"{rate:.2f}"]
        row = [*what, f"{rate / most:.2f} of {most:g}/s", place.throttled()]
        asked, end = timezone.now(), time.perf_counter() + seconds
        gateways.request_reconcile(gateway=place.gateway, actor=SYSTEM)
        place.revoke_while(lambda: time.perf_counter() < end, bought, "creations of spares, and a reconcile")
        until(lambda: place.gateway.reconcile_runs.filter(started_at__gte=asked, ended_at__isnull=False).exists(), 120, "a reconcile")
        run = place.gateway.reconcile_runs.filter(started_at__gte=asked).order_by("started_at")[0]
        assert place.throttled() == 0
        return row, place, (run.ended_at - asked).total_seconds()


def limits(folder: Path) -> list[list[Any]]:
    """New limits of four tiers on three accounts, all at once: a row an account, from its own log of calls."""
    with accounts(folder) as (sandbox, here, tiers):
        mine = UsagePlan.objects.filter(gateway__in=here)
        # Limits of a plan that is not made yet would just be made with it.
        until(lambda: not mine.filter(synced_revision__lt=F("revision")).exists(), 60, "usage plans")
        until(lambda: not any(is_leased(gateway) for gateway in here), 120, "a worker at rest")
        started = time.time()
        for tier in tiers:
            catalog.change_limits(tier=tier, **{**LIMITS, "throttle_burst": 9}, actor=SYSTEM)
        while mine.filter(synced_revision__lt=F("revision")).exists():
            time.sleep(1)  # as beat does, whose sweep rings for what has become due
            if time.time() - started > 180:
                raise RuntimeError("limits were not changed within three minutes")
            for gateway in here:
                bell.ring(gateway.pk)
        rows = []
        for account in ACCOUNTS:
            name = f"{account}:us-east-1"
            state, moments = sandbox.state(world=name), sandbox.moments("UpdateUsagePlan", world=name)
            shortest = min((later - earlier for earlier, later in pairwise(moments)), default=0.0)
            changed = sum(plan["throttle"]["burstLimit"] == 9 for plan in state["plans"])
            rows.append(
                [account, changed, len(moments), sum(state["throttled"].values()), f"{shortest:.1f}", f"{moments[-1] - started:.0f}"]
            )
        return rows


def is_leased(gateway: Gateway) -> bool:
    return bool(Gateway.objects.values_list("lease_owner", flat=True).get(pk=gateway.pk))


def held(place: World) -> bool:
    return is_leased(place.gateway)


def due_rows(place: World) -> bool:
    return GatewayKey.objects.filter(gateway=place.gateway, removed_at=None, synced_revision__lt=F("revision")).exists() or held(place)


def at_rest(place: World) -> None:
    until(lambda: not held(place), 120, "a worker at rest")


def main() -> int:
    """Measure all of it, print the tables, check the goals."""
    parser = argparse.ArgumentParser(prog="python -m bench.control_plane")
    parser.add_argument("--keys", type=int, default=10_000, help="gateway keys of an account (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60, help="how long keys are made one by one (default: %(default)s)")
    options = parser.parse_args()
    machine()
    with throwaway_database(), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        imported, suspended = imports(folder, options.keys)
        table("Many at once", ["what", "calls", "one by one", "seconds"], [suspended])
        created, slow, compared = creations(folder, options.keys, options.seconds)
        header = ["how", "keys", "calls", "seconds", "keys/s", "AWS's limit", "429s"]
        table("Keys made, enabled and attached", header, [imported, created])
        waits = {**revokes(folder, options.keys).revokes, **slow.revokes}
        rows = [[during, len(each), f"{sorted(each)[len(each) // 2]:.2f}", f"{max(each):.2f}"] for during, each in waits.items()]
        table("From a revoke to the first refused call", ["during", "revokes", "median s", "longest s"], rows)
        print(f"\n  A reconcile that was asked for beside the backlog of creations was done after {compared:.1f} s")
        changed = limits(folder)
        header = ["account", "changed plans", "UpdateUsagePlan", "429s", "shortest pause s", "last after s"]
        table("New limits of 4 tiers on 3 accounts; 1 call in 20 s allows the last after 60 s", header, changed)
    return verdict(
        [
            ("10,000 keys in at most 60 calls", imported[2] <= 60),
            ("no 429 of our own", imported[-1] == created[-1] == sum(row[3] for row in changed) == 0),
            ("one by one at 0.9 x 5 a second or more", float(created[4]) >= 4.5),
            ("each revoke within 2 s", all(max(each) <= 2.0 for each in waits.values())),
            ("a reconcile beside a backlog within a minute", compared <= 60),
            ("12 UpdateUsagePlan", sum(row[2] for row in changed) == sum(row[1] for row in changed) == 12),
            ("never two within 20 s in one account", all(float(row[4]) >= 20 for row in changed)),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
