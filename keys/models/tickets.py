"""Tickets and places of a pool, with SQL of our own. (Beside it only ``keys.models.spares`` and ``keys.models.mass_places`` have any, one
read of ``keys.api.rows``, and a time-out in ``tenants.services.answers``.)

Why a sequence: a counter row would be locked by each purchase until its commit, and eight buyers would wait for one another. A
sequence never waits; the price is that a rolled-back purchase leaves a gap, which ``free_unheld_slots`` puts on the list of free slots.

Advisory locks (PostgreSQL; SQLite has one writer at a time): whoever places a tenant in a pool, or lets one leave it, holds the pool
shared; whoever changes the pool's keys holds it alone, so that no place is taken or offered on a key that is just leaving. Siloed tiers
have the same pair: whoever takes or makes a key of the tier, and whoever changes how many spares it has and where.

They are taken before any row is locked, so that nobody waits for a row of somebody who waits for them.
"""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connection
from django.db.models import F

from keys.models.api_key import ApiKey
from keys.models.gateway_key import GatewayKey
from keys.models.pool import FreeSlot, Pool

# The first half of the advisory locks' key; the second is the pool's id. Any constant that nothing else uses.
LOCK_CLASS = 0x70_6F_6F_6C
TIER_LOCK_CLASS = 0x74_69_65_72
# The one process that goes on with what is too large for one transaction.
SWEEP_LOCK_CLASS = 0x73_77_65_70


def open_tickets(pool: Pool) -> None:
    """Make the pool's sequence. Transactional: it goes when the transaction that made the pool is rolled back."""
    if _is_postgres():
        _execute(f"CREATE SEQUENCE IF NOT EXISTS {_sequence(pool)} MINVALUE 0 START 0")


def hold_pool(pool_id: int) -> None:
    """Hold the pool, shared with others, until this transaction ends. ``take_place`` does it by itself."""
    if _is_postgres():
        _execute("SELECT pg_advisory_xact_lock_shared(%s, %s)", LOCK_CLASS, pool_id)


def hold_tier(tier_id: uuid.UUID) -> None:
    """Hold the sale of a siloed tier, shared with others, until this transaction ends."""
    if _is_postgres():
        _execute("SELECT pg_advisory_xact_lock_shared(%s, %s)", TIER_LOCK_CLASS, tier_lock(tier_id))


def hold_tier_alone(tier_id: uuid.UUID) -> None:
    """Wait for everybody who holds the tier, and keep it alone until this transaction ends."""
    if _is_postgres():
        _execute("SELECT pg_advisory_xact_lock(%s, %s)", TIER_LOCK_CLASS, tier_lock(tier_id))


def hold_pool_alone(pool_id: int) -> None:
    """Wait for everybody who holds the pool, and keep it alone until this transaction ends."""
    if _is_postgres():
        _execute("SELECT pg_advisory_xact_lock(%s, %s)", LOCK_CLASS, pool_id)


@contextmanager
def the_only_sweep() -> Iterator[bool]:
    """Whether no other process is within this; while it lasts, none gets in. It waits for nobody.

    A lock of the connection and not of a transaction, as moves are many transactions; it goes with the connection of a process that is
    killed. On SQLite always true: there is one writer at a time, and who comes second finds nothing left to do.
    """
    if not _is_postgres():
        yield True
        return
    if not _fetch("SELECT pg_try_advisory_lock(%s, 0)", SWEEP_LOCK_CLASS):
        yield False
        return
    try:
        yield True
    finally:
        _fetch("SELECT pg_advisory_unlock(%s, 0)", SWEEP_LOCK_CLASS)


def take_place(tier_id: uuid.UUID) -> tuple[uuid.UUID, int] | None:
    """A place on a pool key, as (gateway key id, slot): one that was left if there is any, else the next by ticket.

    O(1) whatever the pool holds, and even without reading any load. Two callers never get the same place. None when the pool has no
    live key at the drawn position. The pool is held, shared with other buyers, until the transaction ends.
    """
    places = take_places(tier_id, 1)
    return places[0] if places else None


def take_places(tier_id: uuid.UUID, count: int) -> list[tuple[uuid.UUID, int]]:
    """``take_place`` for many, in as many queries as for one; fewer than ``count`` when the pool lacks keys at drawn positions."""
    if _is_postgres():
        # The subselect calls the function once for each row; its columns taken apart right there would call it once for each column.
        calls = "SELECT keys_take_place(%s, %s) AS place FROM generate_series(1, %s) OFFSET 0"
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT (place).gateway_key_id, (place).slot FROM ({calls}) taken", [tier_id, LOCK_CLASS, count])
            return [(row[0], int(row[1])) for row in cursor.fetchall()]
    pool_id = Pool.objects.values_list("pk", flat=True).get(tier_id=tier_id)
    free = list(FreeSlot.objects.filter(pool_id=pool_id).order_by("slot")[:count])
    FreeSlot.objects.filter(pk__in=[each.pk for each in free]).delete()
    places = [(each.gateway_key_id, each.slot) for each in free]
    return places + _draw(pool_id, count - len(free)) if len(free) < count else places


def _draw(pool_id: int, count: int) -> list[tuple[uuid.UUID, int]]:
    """The places of the next ``count`` tickets, drawn from the counter (SQLite)."""
    Pool.objects.filter(pk=pool_id).update(next_ticket=F("next_ticket") + count)
    after, size = Pool.objects.values_list("next_ticket", "size").get(pk=pool_id)
    tickets = [divmod(ticket, size) for ticket in range(after - count, after)]
    live = GatewayKey.objects.filter(pool_id=pool_id, ends_at=None, position__in={position for _slot, position in tickets})
    keys = dict(live.values_list("position", "pk"))
    return [(keys[position], slot) for slot, position in tickets if position in keys]


def tickets_drawn(pool: Pool) -> int:
    """How many tickets were drawn: the number of the next one."""
    if _is_postgres():
        return int(_fetch(f"SELECT CASE WHEN is_called THEN last_value + 1 ELSE last_value END FROM {_sequence(pool)}"))
    return int(Pool.objects.values_list("next_ticket", flat=True).get(pk=pool.pk))


def restart_tickets(pool: Pool, ticket: int) -> None:
    """Let the next ticket be ``ticket``: after a resize, the first of a fresh round."""
    if _is_postgres():
        _execute(f"SELECT setval('{_sequence(pool)}', %s, false)", ticket)
    else:
        Pool.objects.filter(pk=pool.pk).update(next_ticket=ticket)


def move_to(places: Sequence[tuple[uuid.UUID, uuid.UUID, int]]) -> None:
    """Put API keys on other places, each given as (API key, gateway key, slot), in one statement on PostgreSQL. The pool is held alone, and
    the slots are of a round that no ticket has reached, so that no place is taken twice."""
    if _is_postgres():
        moves = "unnest(%s::uuid[], %s::uuid[], %s::bigint[]) AS moved (id, gateway_key_id, slot)"
        sql = f"UPDATE keys_apikey k SET gateway_key_id = moved.gateway_key_id, slot = moved.slot FROM {moves} WHERE k.id = moved.id"
        _execute(sql, *(list(column) for column in zip(*places, strict=True)))
        return
    rows = [ApiKey(pk=pk, gateway_key_id=gateway_key_id, slot=slot) for pk, gateway_key_id, slot in places]
    ApiKey.objects.bulk_update(rows, ["gateway_key", "slot"], batch_size=500)


def free_unheld_slots(pool: Pool, *, first: int, end: int) -> int:
    """List as free every slot from ``first`` to before ``end`` of the pool's live keys that no API key holds; how many were new.

    Only for slots whose tickets were drawn by purchases that are over: see the callers for how they know.
    """
    if _is_postgres():
        with connection.cursor() as cursor:
            cursor.execute(_FREE_UNHELD, [first, end - 1, pool.pk, pool.size])
            return int(cursor.rowcount)
    found = 0
    for key in GatewayKey.objects.filter(pool=pool, ends_at=None, position__lt=pool.size):
        listed = FreeSlot.objects.filter(gateway_key=key, slot__gte=first, slot__lt=end).values_list("slot", flat=True)
        held = ApiKey.objects.filter(gateway_key=key, slot__gte=first, slot__lt=end).values_list("slot", flat=True)
        gaps = set(range(first, end)).difference(listed, held)
        FreeSlot.objects.bulk_create([FreeSlot(pool=pool, gateway_key=key, slot=slot) for slot in sorted(gaps)], batch_size=1000)
        found += len(gaps)
    return found


# One statement, which sees one moment: a purchase takes a place off the list and holds it by one commit, so a place is on the list, or
# held, or a gap.
_FREE_UNHELD = """
INSERT INTO keys_freeslot (pool_id, gateway_key_id, slot)
SELECT k.pool_id, k.id, slots.slot FROM keys_gatewaykey k CROSS JOIN generate_series(%s::bigint, %s::bigint) AS slots (slot)
WHERE k.pool_id = %s AND k.ends_at IS NULL AND k.position < %s
AND NOT EXISTS (SELECT FROM keys_apikey a WHERE a.gateway_key_id = k.id AND a.slot = slots.slot)
AND NOT EXISTS (SELECT FROM keys_freeslot f WHERE f.gateway_key_id = k.id AND f.slot = slots.slot)
ON CONFLICT DO NOTHING
"""


def _sequence(pool: Pool) -> str:
    return f"keys_pool_ticket_{int(pool.pk)}"


def tier_lock(tier_id: uuid.UUID) -> int:
    """The lock's second half: 31 bits of the id. Two tiers that share them wait for each other, no more."""
    return tier_id.int & 0x7FFF_FFFF


def _is_postgres() -> bool:
    return connection.vendor == "postgresql"


def _execute(sql: str, *parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, list(parameters))


def _fetch(sql: str, *parameters: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, list(parameters))
        return cursor.fetchone()[0]
