"""The loads of a pool, and the list of places that are offered next. For who holds the pool alone: see ``keys.models.tickets``.

Slots are numbers that only grow. Whoever changes a pool begins a fresh round of tickets, puts those who move on slots of it, and lists
anew which places bring the emptier keys up to the fullest one, the lowest level first. So the pool is level again as soon as the list is
used up, whatever left it uneven: a resize, tenants who left, purchases that were rolled back.
"""

import uuid
from collections.abc import Mapping

from django.db.models import Count

from keys.levelling import offered
from keys.models.api_key import ApiKey
from keys.models.gateway_key import GatewayKey
from keys.models.pool import FreeSlot, Pool
from keys.models.tickets import hold_pool_alone, restart_tickets, tickets_drawn

# Free slots listed at once: rows that take a fraction of a second. A pool of thousands of tenants a key that grows lacks millions; the
# sweep lists more of them as they are used up.
MOST_LISTED = 10_000


def loads_of(pool: Pool, within: int | None = None) -> dict[uuid.UUID, int]:
    """How many API keys stand on each live key of the pool, by position; with ``within`` at a position below that. Two queries."""
    held = ApiKey.objects.filter(gateway_key__pool=pool, slot__isnull=False).order_by().values_list("gateway_key")
    counts = dict(held.annotate(Count("pk")))
    live = GatewayKey.objects.filter(pool=pool, ends_at=None).order_by("position")
    ids = (live if within is None else live.filter(position__lt=within)).values_list("pk", flat=True)
    return {pk: counts.get(pk, 0) for pk in ids}


def fresh_round(pool: Pool, size: int) -> int:
    """The first slot that no ticket of the pool has reached yet, neither at its size nor at ``size``."""
    drawn = tickets_drawn(pool)
    return max(-(-drawn // pool.size), -(-drawn // size))


def offer(pool: Pool, loads: Mapping[uuid.UUID, int], *, size: int, first_slot: int, ground: int) -> None:
    """Offer the places that level ``loads``, and begin the tickets of a pool of ``size`` keys after them.

    ``ground``: the level that ``first_slot`` is of. A sequence is not rolled back with the rest, so its restart comes last, and is never
    to a ticket that was drawn.
    """
    places, more = offered(loads, MOST_LISTED)
    FreeSlot.objects.filter(pool=pool).delete()
    FreeSlot.objects.bulk_create(
        [FreeSlot(pool=pool, gateway_key_id=key, slot=first_slot + level - ground) for key, level in places], batch_size=5000
    )
    ticket = (first_slot + max(loads.values(), default=0) - ground) * size
    settled = {"swept_ticket": ticket, "sweep_to": ticket, "sweep_seen_at": None}
    Pool.objects.filter(pk=pool.pk).update(size=size, lacks_places=more, **settled)
    restart_tickets(pool, ticket)
    pool.refresh_from_db()


def offer_more(pool: Pool) -> None:
    """List anew what levels the pool, nobody moved. Inside a transaction.

    Race: buyers, a resize. The pool is held alone, and what it is read of it is read after that.
    """
    hold_pool_alone(pool.pk)
    pool = Pool.objects.get(pk=pool.pk)
    loads = loads_of(pool, within=pool.size)
    offer(pool, loads, size=pool.size, first_slot=fresh_round(pool, pool.size), ground=min(loads.values(), default=0))
