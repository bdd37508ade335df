"""Placing very many tenants in a pool at once, beside COPY of the same rows into the same tables, in turns.

    python -m bench.bulk [--tenants 1000000] [--pool 1000] [--chunk 10000] [--turns 3] [--minutes 5]

Both write API keys, credentials and audit events, with all indexes and foreign keys, and are timed up to the commit. There are as many
turns as there is time for in ``--minutes``, one at least. Needs PostgreSQL (BENCH_DATABASE_URL) and about 3 GB of disk for a million;
makes a database of its own and drops it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("DEMO", "1")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.settings")

import django

django.setup()

from django.db import connection, transaction

from bench import machine, table, verdict
from bench.allocation import make_pool
from bench.database import throwaway_database
from keys.models import Pool, Tier
from keys.models.tickets import restart_tickets, tickets_drawn
from keys.services import bulk
from tenants.audit import SYSTEM
from tenants.models import Tenant

TABLES = ("keys_apikey", "keys_credential", "tenants_auditevent")
GOAL_ONE, GOAL_CHUNKS = 1.15, 1.30


def make_tenants(count: int) -> None:
    """Make tenants by one statement; the database knows their number afterwards."""
    with connection.cursor() as cursor:
        rows = "SELECT gen_random_uuid(), 'Tenant ' || n, now() FROM generate_series(1, %s) n"
        cursor.execute(f"INSERT INTO tenants_tenant (id, name, created_at) {rows}", [count])
        cursor.execute("VACUUM ANALYZE tenants_tenant")


def empty(tier: Tier) -> None:
    """As before the first purchase."""
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {', '.join(TABLES)} CASCADE")
        cursor.execute("VACUUM ANALYZE tenants_tenant")
        cursor.execute("CHECKPOINT")
    restart_tickets(Pool.objects.get(tier=tier), 0)


def place(tier: Tier, chunk: int) -> float:
    """Seconds that it takes to place everybody."""
    empty(tier)
    started = time.perf_counter()
    placed = sum(part.placed for part in bulk.place_tenants(tier=tier, tenants=Tenant.objects.all(), name="Key", actor=SYSTEM, chunk=chunk))
    seconds = time.perf_counter() - started
    if placed != Tenant.objects.count():
        raise RuntimeError(f"only {placed} were placed")
    return seconds


def save(folder: Path) -> None:
    """Keep the rows that were just written, as files."""
    with connection.cursor() as cursor:
        for name in TABLES:
            with cursor.copy(f"COPY {name} TO STDOUT") as source, (folder / name).open("wb") as target:
                for block in source:
                    target.write(block)


def copy(tier: Tier, folder: Path) -> float:
    """Seconds that PostgreSQL takes to copy these rows in, one transaction."""
    empty(tier)
    started = time.perf_counter()
    with transaction.atomic(), connection.cursor() as cursor:
        for name in TABLES:
            with cursor.copy(f"COPY {name} FROM STDIN") as target, (folder / name).open("rb") as source:
                while block := source.read(1 << 18):
                    target.write(block)
    return time.perf_counter() - started


def spread() -> int:
    """Tenants on the fullest key of the pool less those on the emptiest."""
    with connection.cursor() as cursor:
        loads = "SELECT count(a.id) n FROM keys_gatewaykey k LEFT JOIN keys_apikey a ON a.gateway_key_id = k.id GROUP BY k.id"
        cursor.execute(f"SELECT max(n) - min(n) FROM ({loads}) x")
        return int(cursor.fetchone()[0])


def take_turns(tier: Tier, options: argparse.Namespace, folder: Path) -> tuple[dict[str, list[float]], int]:
    """Seconds of each way, turn by turn, and the widest spread that was seen. The rows to copy are those of the first turn."""
    times: dict[str, list[float]] = {"one": [], "copy": [], "chunks": []}
    widest, until = 0, time.perf_counter() + 60 * options.minutes
    for turn in range(options.turns):
        begun = time.perf_counter()
        times["one"].append(place(tier, options.tenants))
        widest = max(widest, spread())
        if turn == 0:
            save(folder)
        times["copy"].append(copy(tier, folder))
        times["chunks"].append(place(tier, options.chunk))
        widest = max(widest, spread())
        print(f"  turn {turn + 1}: " + ", ".join(f"{way} {taken[-1]:.1f} s" for way, taken in times.items()), flush=True)
        if 2 * time.perf_counter() - begun > until:
            break
    return times, widest


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tenants", type=int, default=1_000_000)
    parser.add_argument("--pool", type=int, default=1000)
    parser.add_argument("--chunk", type=int, default=bulk.CHUNK)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=5)
    options = parser.parse_args()
    machine()
    with throwaway_database(), tempfile.TemporaryDirectory() as name:
        tier, _tenant = make_pool(options.pool)
        Tenant.objects.all().delete()
        make_tenants(options.tenants)
        times, widest = take_turns(tier, options, Path(name))
        drawn = tickets_drawn(Pool.objects.get(tier=tier))
    ratios = {way: statistics.median(mine / copied for mine, copied in zip(times[way], times["copy"], strict=True)) for way in times}
    names = {"copy": "COPY", "one": "place_tenants, one transaction", "chunks": f"in chunks of {options.chunk:,}"}
    table(
        f"{options.tenants:,} tenants placed in a pool of {options.pool:,} keys: API keys, credentials and audit events",
        ("", "seconds, each turn", "tenants a second", "x COPY"),
        [
            (
                names[way],
                " ".join(f"{each:.1f}" for each in taken),
                f"{options.tenants / statistics.median(taken):,.0f}",
                f"{ratios[way]:.2f}",
            )
            for way, taken in times.items()
        ],
    )
    uneven = max(times["copy"]) / min(times["copy"])
    turns = len(times["copy"])
    print(f"\n  {drawn:,} tickets drawn; COPY's own {turns} turns differ by {100 * (uneven - 1):.0f} %")
    return verdict(
        [
            (f"one transaction in at most {GOAL_ONE} x COPY: {ratios['one']:.2f}", ratios["one"] <= GOAL_ONE),
            (f"in chunks, at most {GOAL_CHUNKS} x COPY: {ratios['chunks']:.2f}", ratios["chunks"] <= GOAL_CHUNKS),
            (f"spread at most 1: {widest}", widest <= 1),
            (
                f"there are two turns at least ({turns}), and COPY's own differ by less than 30 %, else throw the run away",
                turns > 1 and uneven < 1.3,
            ),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
