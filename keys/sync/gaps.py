"""Tickets of a pool that no purchase holds, because it was rolled back or killed: their places are offered again.

A ticket that was drawn a minute ago belongs to a purchase that is over, one way or the other; younger ones are left alone.
"""

from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from keys.models import ApiKey, FreeSlot, Pool
from keys.models.tickets import free_unheld_slots, hold_pool, hold_pool_alone, tickets_drawn

log = structlog.get_logger(__name__)

SETTLED_AFTER = timedelta(seconds=60)


def sweep_pools() -> None:
    """Look after every pool: one or two reads each when no round of tickets was completed since the last time."""
    for pool in Pool.objects.annotate(now=Now()):
        if pool.sweep_seen_at is None:
            _look(pool, pool.now)
        elif pool.sweep_seen_at + SETTLED_AFTER <= pool.now:
            _settle(pool)


def _look(pool: Pool, now: datetime) -> None:
    """Note how far tickets were drawn by now. Only whole rounds count: the last, begun one is uneven by one place at most anyway."""
    end = tickets_drawn(pool) // pool.size * pool.size
    if end > pool.swept_ticket:
        unchanged = Pool.objects.filter(pk=pool.pk, size=pool.size, swept_ticket=pool.swept_ticket, sweep_seen_at=None)
        unchanged.update(sweep_to=end, sweep_seen_at=now)


def _settle(seen: Pool) -> None:
    """Offer the places of the noted rounds that nobody holds. Buyers wait only until those before them are over, not for the search.

    Race: buyers. The pool is held alone for a moment, which waits for everybody who drew a ticket of these rounds. A resize, another
    sweep: the pool is held, shared with buyers, and its row locked; whoever comes second finds nothing left to do.
    """
    with transaction.atomic():
        hold_pool_alone(seen.pk)
    with transaction.atomic():
        hold_pool(seen.pk)
        pool = Pool.objects.select_for_update(no_key=True).get(pk=seen.pk)
        if (pool.size, pool.swept_ticket, pool.sweep_seen_at) != (seen.size, seen.swept_ticket, seen.sweep_seen_at):
            return
        freed = free_unheld_slots(pool, first=pool.swept_ticket // pool.size, end=pool.sweep_to // pool.size)
        holder = ApiKey.objects.filter(gateway_key=OuterRef("gateway_key"), slot=OuterRef("slot"))
        # A place that somebody holds is not free, whatever the list says.
        FreeSlot.objects.filter(Exists(holder), pool=pool).delete()
        Pool.objects.filter(pk=pool.pk).update(swept_ticket=pool.sweep_to, sweep_seen_at=None)
    if freed:
        log.info("pool.gaps_freed", pool_id=pool.pk, slots=freed)
