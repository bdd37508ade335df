"""Claims of spares, statement by statement: beside the same write by a known id, and 100 buyers after one spare.

    python -m bench.claims [--spares 10000] [--clients 8] [--turns 3] [--rounds 1000]

A claim is what a purchase does to find its spare, in a transaction of its own, with nothing bought. ``--spares`` of them are claimed by one
client and by many, until none is left; beside it ``UPDATE ... WHERE id =`` writes the same columns of the same rows. Then in each of
``--rounds`` 20 processes begin at the same moment, five claims each, and there is one spare. Needs PostgreSQL (BENCH_DATABASE_URL); makes
a database of its own and drops it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import time
import uuid

os.environ.setdefault("DEMO", "1")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.settings")

import django

django.setup()

from django.db import connection, transaction
from django.utils import timezone

from bench import CREATE_A_SECOND, machine, table, verdict
from bench.database import throwaway_database
from keys.models import Gateway, GatewayKey, KeyRole, Priority, Tier
from keys.models.spares import take_ready
from keys.services import catalog, gateways
from keys.stock import make
from tenants.audit import SYSTEM
from tests.support.processes import at_once

BUYERS, AT_ONCE = 100, 20  # PostgreSQL takes 100 connections, and others want some
GOAL = 300
BY_ID = "UPDATE keys_gatewaykey SET role = 'silo', priority = 10 WHERE id = %s"
_fork = multiprocessing.get_context("fork")


def stock(count: int) -> Tier:
    """A siloed tier with this many spares, and as many gateway keys that are sold already."""
    gateway = gateways.register_gateway(name="Bench", account_id="0" * 12, region="us-east-1", actor=SYSTEM)
    Gateway.objects.update(capacity=10**6)
    stage = gateways.register_stage(gateway=gateway, rest_api_id="api", name="v1", invoke_url="http://127.0.0.1/v1", actor=SYSTEM)
    tier = catalog.create_tier(
        slug="bench", name="Bench", description="", position=1, price_minor=0, currency="USD", isolation="siloed", throttle_rate=10,
        throttle_burst=5, quota_limit=2000, quota_period="DAY", max_api_keys=10**6, spare_target=count, pool_size=None,
        stages=[stage], actor=SYSTEM,
    )  # fmt: skip
    for role in (KeyRole.SILO, KeyRole.SPARE):
        with transaction.atomic():
            make(list(tier.usage_plans.all()), count, role, Priority.SPARE)
    GatewayKey.objects.update(in_service_at=timezone.now(), synced_revision=1)
    return tier


def restock(ids: list[uuid.UUID]) -> None:
    """These gateway keys are spares again, and nothing is left of what they were."""
    GatewayKey.objects.filter(pk__in=ids).update(role=KeyRole.SPARE, priority=Priority.SPARE)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE keys_gatewaykey")


def use_up(tier: Tier, ids: list[uuid.UUID], clients: int, *, by_id: bool) -> tuple[float, float]:
    """Claim all spares, or write them by their ids: how many a second, and the rate of the last tenth over that of the first."""
    restock(ids)
    share = len(ids) // clients

    def work(number: int) -> list[float]:
        mine = ids[number::clients][:share]
        marks = [time.monotonic()]
        with connection.cursor() as cursor:
            for at, pk in enumerate(mine, 1):
                if by_id:
                    cursor.execute(BY_ID, [pk])
                elif not take_ready(tier.pk, 1, timezone.now(), None):
                    raise RuntimeError("a claim found no spare while there were some")
                if at % (share // 10) == 0:
                    marks.append(time.monotonic())
        return marks

    marks = at_once(work, clients)
    if GatewayKey.objects.filter(role=KeyRole.SPARE).count() != len(ids) - clients * share:
        raise RuntimeError("not as many spares are left as were not claimed")
    seconds = max(each[-1] for each in marks) - min(each[0] for each in marks)
    first, last = (statistics.mean(each[at] - each[at - 1] for each in marks) for at in (1, 10))
    return clients * share / seconds, first / last


def last_spare(tier: Tier, spares: list[uuid.UUID], rounds: int) -> list[int]:
    """Of each round: how many of BUYERS got the one spare that there was."""
    GatewayKey.objects.filter(pk__in=spares).update(role=KeyRole.SILO)
    barrier = _fork.Barrier(AT_ONCE)

    def work(number: int) -> list[int]:
        won = []
        for turn in range(rounds):
            if number == 0:
                GatewayKey.objects.filter(pk=spares[turn % len(spares)]).update(role=KeyRole.SPARE)
            barrier.wait(60)
            won.append(sum(len(take_ready(tier.pk, 1, timezone.now(), None)) for _ in range(BUYERS // AT_ONCE)))
            barrier.wait(60)
        return won

    return [sum(each) for each in zip(*at_once(work, AT_ONCE), strict=True)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spares", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=1000)
    options = parser.parse_args()
    machine()
    found: dict[tuple[int, bool], list[tuple[float, float]]] = {}
    with throwaway_database():
        tier = stock(options.spares)
        spares: list[uuid.UUID] = list(GatewayKey.objects.filter(role=KeyRole.SPARE).order_by("?").values_list("pk", flat=True))
        for _turn in range(options.turns):
            for clients in (1, options.clients):
                for by_id in (True, False):
                    found.setdefault((clients, by_id), []).append(use_up(tier, spares, clients, by_id=by_id))
        winners = last_spare(tier, spares, options.rounds)
    rows, goals = [], []
    for (clients, by_id), turns in found.items():
        rate, flat = (statistics.median(column) for column in zip(*turns, strict=True))
        shares = [mine[0] / limit[0] for mine, limit in zip(turns, found[clients, True], strict=True)]
        way = "write by id" if by_id else "claim"
        rows.append((f"{way}, {clients} at once", f"{rate:,.0f}", f"{statistics.median(shares):.2f}", f"{flat:.2f}",
                     f"{rate / CREATE_A_SECOND:,.0f}"))  # fmt: skip
        if not by_id:
            text = f"{clients} at once: at least {GOAL} x CreateApiKey: {rate / CREATE_A_SECOND:,.0f}"
            goals.append((text, rate >= GOAL * CREATE_A_SECOND))
    table(
        f"{options.spares:,} spares used up, median of {options.turns} turns",
        ("", "a second", "x write by id", "last / first tenth", "x CreateApiKey"),
        rows,
    )
    once = winners.count(1)
    goals.append((f"one winner of {BUYERS} in each of {options.rounds:,} rounds: in {once:,}", once == options.rounds))
    return verdict(goals)


if __name__ == "__main__":
    sys.exit(main())
