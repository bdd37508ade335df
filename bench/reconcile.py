"""Comparing a whole gateway with the database, beside one GetApiKey a key, against a sandbox with AWS's rates.

    python -m bench.reconcile [--keys 10000] [--plain 200] [--rounds 3]

The sandbox answers 429 to every call that comes too early (``--aws-limits``) and the pacer is that of production. Goals:

- 10,000 keys in four usage plans are compared in at most 2 s, by exactly ceil(keys / 500) + the sum of ceil(keys of a plan / 500) + the
  usage plans' own pages calls, and none of them is answered 429;
- the comparison itself takes at most 20 ms;
- 100 injected differences, 20 each of five kinds, are all found, and nothing else.

The plain way is measured on ``--plain`` keys: AWS's 10 calls a second are all that counts there, so that its time grows with the keys.

Needs PostgreSQL (BENCH_DATABASE_URL, by default the local server); makes a database of its own and drops it.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

os.environ.setdefault("DEMO", "1")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.settings")
os.environ.setdefault("CANARY_SECONDS", "0")
os.environ.update(GATEWAY_PACING="aws", AWS_ACCESS_KEY_ID="bench", AWS_SECRET_ACCESS_KEY="bench", AWS_DEFAULT_REGION="us-east-1")

import django

django.setup()

from django.utils import timezone

from bench import machine, table, verdict
from bench.database import throwaway_database
from keys.models import Gateway, GatewayKey, ReconcileRun, UsagePlan
from keys.services import catalog, gateways
from keys.sync.converge import converge, reconcile
from keys.sync.drift import diff
from keys.sync.listing import list_remote, read_desired
from keys.sync.session import speak_to
from tenants.audit import SYSTEM
from tests.support.sandbox import SandboxProcess

PAGE = 500
PLANS = 4
# The account's burst of 40 calls flows in again at 10 a second.
REST_SECONDS = 5


@dataclass
class Measured:
    """One comparison."""

    seconds: float
    calls: Counter[str]
    throttled: int
    run: ReconcileRun


def fill(sandbox: SandboxProcess, keys: int) -> Gateway:
    """A gateway that holds so many spares of four tiers, and is in step."""
    gateway = gateways.register_gateway(name="Bench", account_id="0" * 12, region="us-east-1", propagation_seconds=0, actor=SYSTEM)
    url = sandbox.invoke_url("")
    stage = gateways.register_stage(gateway=gateway, rest_api_id="groceries", name="v1", invoke_url=url, actor=SYSTEM)
    for number in range(PLANS):
        catalog.create_tier(
            slug=f"bench-{number}", name=f"Bench {number}", description="", position=number, price_minor=0, currency="USD",
            isolation="siloed", throttle_rate=Decimal(10), throttle_burst=5, quota_limit=2000, quota_period="DAY", max_api_keys=10**6,
            spare_target=keys // PLANS + (number < keys % PLANS), pool_size=None, stages=[stage], actor=SYSTEM,
        )  # fmt: skip
    deadline = time.monotonic() + 300
    while GatewayKey.objects.filter(in_service_at__isnull=False).count() < keys:
        converge(gateway.pk)
        if time.monotonic() > deadline:
            raise RuntimeError("the gateway was not filled within five minutes")
    return gateway


def listing_calls() -> int:
    """The calls that listing everything takes."""
    pages = [max(1, math.ceil(plan.gateway_keys.count() / PAGE)) for plan in UsagePlan.objects.all()]
    return math.ceil(GatewayKey.objects.count() / PAGE) + sum(pages) + math.ceil(len(pages) / PAGE)


def compare(sandbox: SandboxProcess, gateway: Gateway) -> Measured:
    """Compare everything, changing nothing, with the account's burst saved up."""
    time.sleep(REST_SECONDS)
    before = sandbox.state()
    started = time.perf_counter()
    run = reconcile(gateway.pk, dry_run=True)
    seconds = time.perf_counter() - started
    after = sandbox.state()
    if run is None or run.error:
        raise RuntimeError(f"not compared: {run and run.error}")
    calls = Counter(after["calls"])
    calls.subtract(before["calls"])
    return Measured(seconds, +calls, sum(after["throttled"].values()) - sum(before["throttled"].values()), run)


def one_by_one(gateway: Gateway, keys: int) -> float:
    """One GetApiKey a key, as fast as AWS allows; keys a second once the burst is used up."""
    ids = list(GatewayKey.objects.exclude(remote_id="").values_list("remote_id", flat=True)[:keys])
    with speak_to(gateway.pk) as session:
        assert session is not None
        for remote_id in ids[:40]:
            session.client.get_key(remote_id)
        started = time.perf_counter()
        for remote_id in ids[40:]:
            session.client.get_key(remote_id)
        return (len(ids) - 40) / (time.perf_counter() - started)


def pure(gateway: Gateway) -> float:
    """Seconds that the comparison takes in this process, without network and database: the median of 15."""
    time.sleep(REST_SECONDS)
    with speak_to(gateway.pk) as session:
        assert session is not None
        listed_from = timezone.now()
        remote = list_remote(session)
    desired = read_desired(gateway, listed_from)
    assert len(desired.keys) == len(remote.keys)
    seconds = []
    for _ in range(15):
        started = time.perf_counter()
        assert diff(desired, remote) == []
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def inject(sandbox: SandboxProcess, gateway: Gateway, seed: int) -> Counter[tuple[str, str]]:
    """Twenty differences of each of five kinds; what has to be found: (kind, id at the gateway or name of what is missing).

    A key that was moved is both in a wrong usage plan and not in its own.
    """
    sandbox.settings(aws_limits=False)
    client = sandbox.client()
    rows = list(GatewayKey.objects.select_related("usage_plan").order_by("pk"))
    plans = list(UsagePlan.objects.order_by("pk"))
    random.Random(seed).shuffle(rows)
    expected: Counter[tuple[str, str]] = Counter()
    for row in rows[:20]:
        client.delete_api_key(apiKey=row.remote_id)
        expected["missing", row.name] += 1
    for row in rows[20:40]:
        client.update_api_key(apiKey=row.remote_id, patchOperations=[{"op": "replace", "path": "/enabled", "value": "false"}])
        expected["wrong_enabled", row.remote_id] += 1
    for row in rows[40:80]:
        client.delete_usage_plan_key(usagePlanId=row.usage_plan.remote_id, keyId=row.remote_id)
    for row in rows[40:80]:
        expected["detached", row.remote_id] += 1
    for row in rows[60:80]:
        other = next(plan for plan in plans if plan.pk != row.usage_plan_id)
        client.create_usage_plan_key(usagePlanId=other.remote_id, keyId=row.remote_id, keyType="API_KEY")
        expected["wrong_plan", row.remote_id] += 1
    mark = rows[0].name[: len("tollgate-00000000-")]
    for number in range(20):
        expected["extra", client.create_api_key(name=f"{mark}ffffffff-{number}", enabled=True)["id"]] += 1
    sandbox.settings(aws_limits=True)
    return expected


def found(run: ReconcileRun) -> Counter[tuple[str, str]]:
    return Counter((each.kind, each.remote_id or each.label) for each in run.findings.all())


def main() -> int:
    """Measure all of it, print the tables, check the goals."""
    parser = argparse.ArgumentParser(prog="python -m bench.reconcile")
    parser.add_argument("--keys", type=int, default=10_000, help="gateway keys (default: %(default)s)")
    parser.add_argument("--plain", type=int, default=200, help="keys asked for one by one (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="comparisons (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="which keys are changed (default: %(default)s)")
    options = parser.parse_args()
    machine()
    with throwaway_database(), SandboxProcess("--aws-limits") as sandbox:
        os.environ["AWS_ENDPOINT_URL_API_GATEWAY"] = sandbox.url
        gateway = fill(sandbox, options.keys)
        expected_calls = listing_calls()
        rounds = [compare(sandbox, gateway) for _ in range(options.rounds)]
        seconds = statistics.median(each.seconds for each in rounds)
        diff_seconds = pure(gateway)
        expected = inject(sandbox, gateway, options.seed)
        drifted = compare(sandbox, gateway)
        seen = found(drifted.run)
        quiet = all(each.run.findings.count() == 0 for each in rounds)
        rate = one_by_one(gateway, options.plain)
    plain_seconds = options.keys / rate
    rows: list[list[Any]] = [
        ["lists", f"{options.keys:,}", sum(rounds[0].calls.values()), f"{seconds:.2f}", max(each.throttled for each in rounds)],
        [f"one GetApiKey a key (from {options.plain})", f"{options.keys:,}", f"{options.keys:,}", f"{plain_seconds:,.0f}", 0],
    ]
    table("Comparing a gateway with the database", ["how", "keys", "calls", "seconds", "429s"], rows)
    right, missed, false = (expected & seen).total(), (expected - seen).total(), (seen - expected).total()
    compared = [f"{diff_seconds * 1000:.1f}", f"{plain_seconds / seconds:,.0f} x", expected.total(), right, missed, false]
    table(
        "The comparison itself, and what it finds",
        ["diff ms", "ratio to one by one", "injected", "found", "missed", "false"],
        [compared],
    )
    return verdict(
        [
            ("at most 2 s", seconds <= 2.0),
            (f"exactly {expected_calls} calls", all(sum(each.calls.values()) == expected_calls for each in rounds)),
            ("no 429", all(each.throttled == 0 for each in [*rounds, drifted])),
            ("nothing found where nothing differs", quiet),
            ("the comparison in at most 20 ms", diff_seconds <= 0.020),
            ("every injected difference found, and none else", missed == false == 0),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
