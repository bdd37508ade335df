"""Rolled-back purchases leave no uneven pool."""

from collections import Counter
from contextlib import suppress
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from keys.models import ApiKey, FreeSlot, Pool, Tier
from keys.models.tickets import tickets_drawn
from keys.services import api_keys
from keys.sync.gaps import SETTLED_AFTER, sweep_pools
from tenants.audit import SYSTEM
from tests.support.factories import bring_into_service, buy, make_tenant, make_tier

pytestmark = pytest.mark.django_db(transaction=True)


class Undone(Exception):
    """Rolls a purchase back."""


def undo(tier: Tier) -> None:
    """A purchase that is rolled back after it drew its ticket."""
    with suppress(Undone), transaction.atomic():
        buy(make_tenant(), tier)
        raise Undone


def sweep() -> None:
    """What two sweeps do that lie far enough apart."""
    sweep_pools()
    Pool.objects.exclude(sweep_seen_at=None).update(sweep_seen_at=timezone.now() - SETTLED_AFTER - timedelta(seconds=1))
    sweep_pools()


def loads() -> list[int]:
    return sorted(Counter(ApiKey.objects.filter(slot__isnull=False).values_list("gateway_key_id", flat=True)).values())


@pytest.fixture
def pooled() -> Tier:
    tier = make_tier(pool_size=3)
    bring_into_service()
    return tier


def test_gaps_are_filled_and_the_pool_is_even(pooled: Tier) -> None:
    tenants = 0
    for number in range(21):
        if number % 3 == 0:
            undo(pooled)
        else:
            buy(make_tenant(), pooled)
            tenants += 1

    sweep()
    missing = FreeSlot.objects.count()
    for _ in range(missing):
        buy(make_tenant(), pooled)

    assert max(loads()) - min(loads()) <= 1
    if connection.vendor == "postgresql":
        assert missing == 7
    assert FreeSlot.objects.count() == 0


def test_young_tickets_are_left_alone(pooled: Tier) -> None:
    for _ in range(6):
        undo(pooled)

    sweep_pools()
    sweep_pools()

    assert FreeSlot.objects.count() == 0


def test_each_round_is_settled_once(pooled: Tier) -> None:
    for _ in range(7):
        buy(make_tenant(), pooled)

    sweep()
    sweep()

    pool = Pool.objects.get()
    assert (pool.swept_ticket, pool.sweep_seen_at) == (6, None)
    assert tickets_drawn(pool) == 7
    assert FreeSlot.objects.count() == 0


def test_nothing_drawn_costs_two_reads_a_pool(pooled: Tier, django_assert_max_num_queries: object) -> None:
    with django_assert_max_num_queries(2):  # type: ignore[operator]
        sweep_pools()


def test_free_place_that_somebody_holds_is_taken_off_the_list(pooled: Tier) -> None:
    bought = [buy(make_tenant(), pooled) for _ in range(3)]
    FreeSlot.objects.create(pool=Pool.objects.get(), gateway_key_id=bought[0].gateway_key_id, slot=bought[0].slot)

    sweep()

    assert FreeSlot.objects.count() == 0


def test_place_left_by_a_revoke_is_listed_once(pooled: Tier) -> None:
    bought = [buy(make_tenant(), pooled) for _ in range(3)]
    api_keys.revoke(api_key=bought[1], actor=SYSTEM)

    sweep()

    assert FreeSlot.objects.count() == 1
