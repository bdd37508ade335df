"""Buyers of spares beside one another, and beside staff who change the tier. See test_last_spare for a hundred after one."""

import multiprocessing
import uuid

import pytest
from django.db import connection, transaction
from django.utils import timezone

from keys.models import GatewayKey, KeyRole
from keys.models.tickets import hold_tier_alone
from keys.services import placement
from tests.support.factories import bring_into_service, make_gateway, make_tier
from tests.support.processes import at_once
from tests.support.room import counts
from tests.support.services import wait_until

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="needs PostgreSQL: SQLite has one writer at a time"),
]

_fork = multiprocessing.get_context("fork")


def spares() -> set[uuid.UUID]:
    return set(GatewayKey.objects.filter(role=KeyRole.SPARE).values_list("pk", flat=True))


@pytest.mark.parametrize("rolled_back", [False, True])
def test_eight_buyers_share_all_spares_and_none_is_sold_twice_or_lost(rolled_back: bool) -> None:
    """``rolled_back``: every second claim is undone, and leaves its spares to the others."""
    tier = make_tier(gateways=[make_gateway(), make_gateway()], spare_target=60)
    bring_into_service()
    everything, before = spares(), counts()

    def work(number: int) -> list[uuid.UUID]:
        mine: list[uuid.UUID] = []
        turn = 0
        while True:
            turn += 1
            undone = rolled_back and turn % 2 == 0
            with transaction.atomic():
                taken = placement.take_ready_spares(tier, 1 + number % 3, timezone.now())
                transaction.set_rollback(undone)
            if not undone:
                mine += taken
                if not taken:
                    return mine

    taken = [pk for answer in at_once(work) for pk in answer]
    left = spares()
    with transaction.atomic():
        taken += placement.take_ready_spares(tier, 1000, timezone.now())

    assert rolled_back or not left
    assert len(taken) == len(everything) == 120
    assert set(taken) == everything
    assert counts() == before


def test_buyer_waits_for_staff_who_hold_the_tier_and_sees_what_they_left() -> None:
    """Staff take a gateway from the tier; a buyer who came meanwhile gets no spare there."""
    tier = make_tier(gateways=[make_gateway(), make_gateway(capacity=100)], spare_target=1)
    bring_into_service()
    here, there = (each.pk for each in GatewayKey.objects.order_by("gateway__capacity"))
    changed = _fork.Event()

    def somebody_waits() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
            )
            return bool(cursor.fetchone()[0])

    def work(number: int) -> list[uuid.UUID]:
        if number:
            assert changed.wait(60)
            with transaction.atomic():
                return placement.take_ready_spares(tier, 5, timezone.now())
        with transaction.atomic():
            hold_tier_alone(tier.pk)
            tier.stages.remove(*tier.stages.filter(gateway__gateway_keys=there))
            changed.set()
            wait_until(somebody_waits, seconds=60)
        return []

    assert at_once(work, 2) == [[], [here]]
    assert spares() == {there}
