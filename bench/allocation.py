"""Placing tenants in a pool: our tickets beside a bare insert and beside the naive "least loaded" query, in one run.

    python -m bench.allocation [--rows 300000] [--clients 8] [--pool 1000]

Needs PostgreSQL (BENCH_DATABASE_URL, by default the local server); makes a database of its own and drops it.
"""

import argparse
import os
import random
import statistics
import sys
import time
from typing import Any

os.environ.setdefault("DEMO", "1")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.settings")

import django

django.setup()

from django.db import connection, connections

from bench import machine, table, verdict
from bench.database import throwaway_database
from keys.models import ApiKey, GatewayKey, Pool, Tier
from keys.models.tickets import LOCK_CLASS, restart_tickets
from keys.services import catalog, gateways
from tenants.audit import SYSTEM
from tenants.models import Tenant
from tests.support.processes import at_once

COLUMNS = "(id, tenant_id, tier_id, name, description, purchase_token, created_at, gateway_key_id, slot)"
ROW = "gen_random_uuid(), %s, %s, 'bench', '', gen_random_uuid(), now()"
TICKETS = f"INSERT INTO keys_apikey {COLUMNS} SELECT {ROW}, gateway_key_id, slot FROM keys_take_place(%s, {LOCK_CLASS})"
BARE = f"INSERT INTO keys_apikey {COLUMNS} VALUES ({ROW}, %s, %s)"
NAIVE = f"""
INSERT INTO keys_apikey {COLUMNS} SELECT {ROW}, k.id, (random() * 1e15)::bigint FROM keys_gatewaykey k
LEFT JOIN keys_apikey a ON a.gateway_key_id = k.id AND a.slot IS NOT NULL WHERE k.pool_id = %s AND k.ends_at IS NULL
GROUP BY k.id ORDER BY count(a.id) LIMIT 1
"""


def make_pool(size: int) -> tuple[Tier, Tenant]:
    gateway = gateways.register_gateway(name="Bench", account_id="0" * 12, region="us-east-1", actor=SYSTEM)
    stage = gateways.register_stage(gateway=gateway, rest_api_id="api", name="v1", invoke_url="http://127.0.0.1/v1", actor=SYSTEM)
    tier = catalog.create_tier(
        slug="bench", name="Bench", description="", position=1, price_minor=0, currency="USD", isolation="pooled", throttle_rate=10,
        throttle_burst=5, quota_limit=2000, quota_period="DAY", max_api_keys=10**8, spare_target=0, pool_size=size,
        stages=[stage], actor=SYSTEM,
    )  # fmt: skip
    return tier, Tenant.objects.create(name="Bench")


def fill(strategy: str, tier: Tier, tenant: Tenant, *, rows: int, clients: int) -> dict[str, Any]:
    """Insert ``rows`` with ``clients`` processes; overall rate, rate of the last tenth over the first, spread."""
    connection.ensure_connection()
    pool = Pool.objects.get(tier=tier)
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE keys_apikey CASCADE")
        cursor.execute("VACUUM ANALYZE keys_freeslot")
    restart_tickets(pool, 0)
    keys = list(GatewayKey.objects.filter(pool=pool).values_list("pk", flat=True))
    share = rows // clients

    def work(number: int) -> list[float]:
        rng, marks = random.Random(number), [time.monotonic()]
        with connection.cursor() as cursor:
            for at in range(share):
                if strategy == "tickets":
                    cursor.execute(TICKETS, [tenant.pk, tier.pk, tier.pk])
                elif strategy == "naive":
                    cursor.execute(NAIVE, [tenant.pk, tier.pk, pool.pk])
                else:
                    cursor.execute(BARE, [tenant.pk, tier.pk, rng.choice(keys), rng.getrandbits(60)])
                if (at + 1) % max(1, share // 10) == 0:
                    marks.append(time.monotonic())
        return marks

    marks = at_once(work, clients)
    seconds = max(m[-1] for m in marks) - min(m[0] for m in marks)
    tenth = lambda i: clients * (share // 10) / statistics.mean(m[i + 1] - m[i] for m in marks)  # noqa: E731 - read once, here
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT max(n) - min(n) FROM (SELECT k.id, count(a.id) n FROM keys_gatewaykey k"
            " LEFT JOIN keys_apikey a ON a.gateway_key_id = k.id GROUP BY k.id) x"
        )
        spread = cursor.fetchone()[0]
    return {"rate": share * clients / seconds, "last_over_first": tenth(9) / tenth(0), "spread": spread}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--pool", type=int, default=1000)
    options = parser.parse_args()
    machine()
    with throwaway_database():
        tier, tenant = make_pool(options.pool)
        bare = [fill("bare", tier, tenant, rows=options.rows, clients=options.clients)]
        ours = fill("tickets", tier, tenant, rows=options.rows, clients=options.clients)
        bare.append(fill("bare", tier, tenant, rows=options.rows, clients=options.clients))
        naive = fill("naive", tier, tenant, rows=min(options.rows, 2_000), clients=options.clients)
        assert ApiKey.objects.exists()
        connections.close_all()
    reference = statistics.mean(run["rate"] for run in bare)
    table(
        f"{options.rows:,} purchases of one pool of {options.pool:,} keys by {options.clients} clients",
        ("strategy", "a second", "x bare", "last / first tenth", "spread"),
        [
            (name, f"{run['rate']:,.0f}", f"{run['rate'] / reference:.2f}", f"{run['last_over_first']:.2f}", run["spread"])
            for name, run in (
                ("bare insert, random key", bare[0]),
                ("tickets and free slots", ours),
                ("bare insert, again", bare[1]),
                ("naive, first 2,000", naive),
            )
        ],
    )
    uneven = max(run["rate"] for run in bare) / min(run["rate"] for run in bare)
    flat = ours["last_over_first"] / statistics.mean(run["last_over_first"] for run in bare)
    return verdict(
        [
            (f"tickets at least 0.80 x bare insert: {ours['rate'] / reference:.2f}", ours["rate"] >= 0.8 * reference),
            (f"flat: last tenth at least 0.9 x the first, or 0.9 x what it is for bare: {ours['last_over_first']:.2f}, {flat:.2f}",
             max(ours["last_over_first"], flat) >= 0.9),
            (f"spread at most 1: {ours['spread']}", ours["spread"] <= 1),
            ("the two bare runs differ by less than 30 %, else throw the run away", uneven < 1.3),
        ]
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
