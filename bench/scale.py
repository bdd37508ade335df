"""What costs the same whether 1,000 API keys were sold or 1,000,000: two databases, in turns.

    python -m bench.scale [--api-keys 1000000] [--pool-keys 7000] [--turns 7] [--seconds 1] [--minutes 6] [--explain]

Both databases have the same gateway keys, on one gateway in a sandbox of its own; one has 1,000 tenants with an API key each, the other
a million. Measured: buying, the choice of a place in a pool, a tenant's list, the sweep, a reconcile; beside them the staff's list of
tiers, which counts and is not promised to be flat. There are as many turns as there is time for in ``--minutes`` from the start, two at
least. ``--explain``: how PostgreSQL finds the rows in the large one.

Needs PostgreSQL (BENCH_DATABASE_URL; as a superuser for --explain); makes two databases and drops them.
"""

from __future__ import annotations

import argparse
import atexit
import multiprocessing
import os
import random
import re
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

os.environ.setdefault("DEMO", "1")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.settings")
os.environ["DATA_DIR"] = tempfile.mkdtemp(prefix="tollgate-bench-")  # where bells go that no worker hears
atexit.register(shutil.rmtree, os.environ["DATA_DIR"], ignore_errors=True)

import django

django.setup()

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.db import connection, connections
from django.utils import timezone

from bench import machine, table, use_sandbox, verdict
from bench.bulk import make_tenants
from keys import sales, selectors
from keys.models import Gateway, GatewayKey, Tier
from keys.models.tickets import take_place
from keys.services import bulk, catalog, gateways, purchases
from keys.sync.converge import converge, reconcile
from keys.sync.sweep import sweep
from tenants.audit import SYSTEM
from tenants.models import Tenant
from tests.support.sandbox import SandboxProcess

SMALL = 1000
SPARES = 200
GOAL = 0.9
PROMISED = ("buy, pooled", "buy, siloed from a spare", "choice of a place", "a tenant's list", "sweep with nothing to do", "reconcile")
_fork = multiprocessing.get_context("fork")


class Side:
    """One of the two databases and what is done in it; lives in a process of its own."""

    def __init__(self, api_keys: int, pool_keys: int) -> None:
        stage_of = {"rest_api_id": "groceries", "name": "v1", "invoke_url": "http://127.0.0.1/v1"}
        self.gateway = gateways.register_gateway(name="Bench", account_id="0" * 12, region="us-east-1", propagation_seconds=0, actor=SYSTEM)
        stage = gateways.register_stage(gateway=self.gateway, actor=SYSTEM, **stage_of)
        common: dict[str, Any] = {
            "description": "", "position": 1, "price_minor": 0, "currency": "USD", "throttle_rate": 10, "throttle_burst": 5,
            "quota_limit": 2000, "quota_period": "DAY", "max_api_keys": 10**6, "stages": [stage], "actor": SYSTEM,
        }  # fmt: skip
        self.pooled = catalog.create_tier(slug="pooled", name="Pooled", isolation="pooled", pool_size=pool_keys, spare_target=0, **common)
        self.siloed = catalog.create_tier(slug="siloed", name="Siloed", isolation="siloed", pool_size=None, spare_target=SPARES, **common)
        self.settle()
        make_tenants(api_keys)
        everybody = Tenant.objects.all()
        parts = bulk.place_tenants(tier=self.pooled, tenants=everybody, name="Key", actor=SYSTEM, chunk=100_000)
        placed = sum(part.placed for part in parts)
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
        self.tenants = list(Tenant.objects.order_by("pk")[:SMALL])
        self.random = random.Random(1)
        self.settle()
        held = GatewayKey.objects.filter(removed_at=None).count()
        print(f"  ready: {placed:,} API keys on {held:,} gateway keys", flush=True)

    def settle(self) -> None:
        """The workers are done: there are as many spares as there shall be, nothing is pending, and no clock is due."""
        until = time.monotonic() + 300
        while time.monotonic() < until:
            converge(self.gateway.pk)
            if not GatewayKey.objects.pending(timezone.now()).exists():
                break
            GatewayKey.objects.update(next_try_at=None)  # a machine that is busy lets calls time out
        now = timezone.now()
        Gateway.objects.update(last_seen_at=now, usage_read_at=now, last_reconciled_at=now)

    def actions(self) -> dict[str, Callable[[], object]]:
        """What is measured, by name."""
        return {
            "buy, pooled": lambda: self.buy(self.pooled),
            "buy, siloed from a spare": lambda: self.buy(self.siloed),
            "choice of a place": lambda: take_place(self.pooled.pk),
            "a tenant's list": self.listed,
            "sweep with nothing to do": sweep,
            "reconcile": self.reconciled,
            "the staff's list of tiers": lambda: [sales.sales_of(tier) for tier in sales.tiers_with_facts(Tier.objects.all())],
        }

    def buy(self, tier: Tier) -> None:
        """One API key for one of the first tenants; it works at once."""
        tenant = self.random.choice(self.tenants)
        bought = purchases.buy(tenant=tenant, tier=tier, name="Key", actor=SYSTEM, purchase_token=uuid.uuid4())
        if bought.gateway_key.in_service_at is None:
            raise RuntimeError("the key does not work at once")

    def listed(self) -> None:
        """What the page of keys reads."""
        now = timezone.now()
        rows = list(selectors.api_keys_of(self.random.choice(self.tenants))[:20])
        selectors.endpoints_of(rows)
        selectors.usages_of_period(rows, now)

    def reconciled(self) -> None:
        """Everything at the gateway compared; nothing differs."""
        run = reconcile(self.gateway.pk)
        if run is None or run.error or run.findings.exists():
            raise RuntimeError(f"the reconcile was not clean: {run and run.error}")

    def measure(self, name: str, seconds: float) -> float:
        """Times a second."""
        action = self.actions()[name]
        self.settle()
        count, started = 0, time.perf_counter()
        while True:
            action()
            count += 1
            spent = time.perf_counter() - started
            if spent >= seconds or count == SPARES:
                return count / spent

    def explain(self) -> list[str]:
        """Plans of what each action reads, without costs, the longest ones first."""
        said: list[tuple[str, str]] = []
        connection.ensure_connection()
        assert connection.connection is not None
        connection.connection.add_notice_handler(lambda notice: said.append((current, notice.message_primary or "")))
        current = ""
        with connection.cursor() as cursor:
            cursor.execute("LOAD 'auto_explain'")
            for setting in ("log_min_duration = 0", "log_analyze = on", "log_timing = off", "log_nested_statements = on"):
                cursor.execute(f"SET auto_explain.{setting}")
            cursor.execute("SET client_min_messages = log")
        self.settle()
        for current, action in self.actions().items():  # noqa: B007 - the notice handler reads it
            action()
        return [f"{name}\n{_plain(plan)}" for name, plan in said if name and _is_worth_showing(plan)]


def _is_worth_showing(plan: str) -> bool:
    reads = any(word in plan for word in ("keys_apikey", "keys_gatewaykey", "keys_freeslot", "keys_credential"))
    return "plan:" in plan and reads and "FROM ONLY" not in plan and "Insert on" not in plan


def _plain(plan: str) -> str:
    text = re.sub(r"  \(cost=[^)]*\)", "", plan.partition("plan:\n")[2])
    return re.sub(r"'[0-9a-f]{4}[0-9a-f-]{30,}'", "'...'", text)


def _serve(name: str, api_keys: int, pool_keys: int, pipe: Any) -> None:
    """A side's process: answers (action, seconds) with times a second."""
    connections.close_all()
    settings.DATABASES["default"]["NAME"] = connection.settings_dict["NAME"] = name
    settings.GATEWAY_PACING = "off"
    settings.CANARY_SECONDS = 0
    settings.HEARTBEAT_SECONDS = settings.RECONCILE_SECONDS = settings.USAGE_SECONDS = 36_000
    with SandboxProcess() as sandbox:
        use_sandbox(sandbox.url)
        try:
            call_command("migrate", verbosity=0)
            side = Side(api_keys, pool_keys)
            pipe.send("ready")
            while (asked := pipe.recv()) is not None:
                pipe.send(side.explain() if asked == "explain" else side.measure(*asked))
        finally:
            connections.close_all()


def _measure(pipes: dict[str, Any], turns: int, seconds: float, until: float) -> dict[str, dict[str, list[float]]]:
    """Times a second of each action on each side, turn by turn; after two turns no more than there is time for ``until`` then."""
    names = [*PROMISED, "the staff's list of tiers"]
    found: dict[str, dict[str, list[float]]] = {name: {side: [] for side in pipes} for name in names}
    for turn in range(turns):
        begun = time.monotonic()
        for name in names:
            for side, pipe in list(pipes.items())[:: 1 if turn % 2 else -1]:
                pipe.send((name, seconds))
                found[name][side].append(pipe.recv())
        if turn and 2 * time.monotonic() - begun > until:
            break
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--api-keys", type=int, default=1_000_000)
    parser.add_argument("--pool-keys", type=int, default=7_000)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--explain", action="store_true")
    options = parser.parse_args()
    until = time.monotonic() + 60 * options.minutes
    machine()
    base = settings.DATABASES["default"]["NAME"]
    sizes = {"small": SMALL, "large": options.api_keys}
    with psycopg.connect(settings.SERVER, autocommit=True) as server, ExitStack() as at_end:
        pipes = {}
        for side, size in sizes.items():
            name = f"{base}_{side}"
            server.execute(f'CREATE DATABASE "{name}"')
            at_end.callback(server.execute, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            ours, theirs = _fork.Pipe()
            process = _fork.Process(target=_serve, args=(name, size, options.pool_keys, theirs))
            process.start()
            theirs.close()
            at_end.callback(process.join, 60)
            at_end.callback(ours.send, None)
            pipes[side] = ours
        assert [pipe.recv() for pipe in pipes.values()] == ["ready", "ready"]
        found = _measure(pipes, options.turns, options.seconds, until)
        if options.explain:
            pipes["large"].send("explain")
            print("\n".join(pipes["large"].recv()))
    turns = len(found[PROMISED[0]]["small"])
    ratios = {
        name: statistics.median(large / small for small, large in zip(sides["small"], sides["large"], strict=True))
        for name, sides in found.items()
    }
    table(
        f"times a second with {SMALL:,} and with {options.api_keys:,} API keys sold, median of {turns} turns",
        ("", f"{SMALL:,}", f"{options.api_keys:,}", "large / small"),
        [
            (name, f"{statistics.median(sides['small']):,.1f}", f"{statistics.median(sides['large']):,.1f}", f"{ratios[name]:.2f}")
            for name, sides in found.items()
        ],
    )
    return verdict([(f"{name}: at least {GOAL} x: {ratios[name]:.2f}", ratios[name] >= GOAL) for name in PROMISED])


if __name__ == "__main__":
    sys.exit(main())
