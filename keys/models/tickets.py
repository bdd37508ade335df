"""Tickets of a pool: the one module with SQL of our own.

Why a sequence: a counter row would be locked by each purchase until its commit, and eight buyers would wait for one another. A
sequence never waits; the price is that a rolled-back purchase leaves a gap, which the sweep puts on the list of free slots.
"""

from django.db import connection
from django.db.models import F

from keys.models.pool import FreeSlot, Pool


def _sequence(pool: Pool) -> str:
    return f"keys_pool_ticket_{int(pool.pk)}"


def _is_postgres() -> bool:
    return connection.vendor == "postgresql"


def _scalar(sql: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        row = cursor.fetchone()
    return int(row[0])


def open_tickets(pool: Pool) -> None:
    """Make the pool's sequence. Transactional: it goes when the transaction that made the pool is rolled back."""
    if _is_postgres():
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE SEQUENCE IF NOT EXISTS {_sequence(pool)} MINVALUE 0 START 0")


def draw_ticket(pool: Pool) -> int:
    """The next ticket: 0, 1, 2, ... Never the same twice."""
    if _is_postgres():
        return _scalar(f"SELECT nextval('{_sequence(pool)}')")
    # SQLite has one writer at a time, and it is us: an IMMEDIATE transaction holds the write lock.
    Pool.objects.filter(pk=pool.pk).update(next_ticket=F("next_ticket") + 1)
    return int(Pool.objects.values_list("next_ticket", flat=True).get(pk=pool.pk)) - 1


def tickets_drawn(pool: Pool) -> int:
    """How many tickets were drawn: the number of the next one."""
    if _is_postgres():
        return _scalar(f"SELECT CASE WHEN is_called THEN last_value + 1 ELSE last_value END FROM {_sequence(pool)}")
    return int(Pool.objects.values_list("next_ticket", flat=True).get(pk=pool.pk))


def restart_tickets(pool: Pool, ticket: int) -> None:
    """Let the next ticket be ``ticket``: after a resize, the first of a fresh round."""
    if _is_postgres():
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT setval('{_sequence(pool)}', %s, false)", [ticket])
        return
    Pool.objects.filter(pk=pool.pk).update(next_ticket=ticket)


def take_free_slot(pool: Pool) -> tuple[object, int] | None:
    """Take one place that was left, the lowest first: (gateway key id, slot), or None. Two buyers never take the same one.

    PostgreSQL: SKIP LOCKED, so that nobody waits for another buyer's transaction. SQLite: one writer at a time.
    """
    free = FreeSlot.objects.filter(pool=pool).order_by("slot")
    if _is_postgres():
        free = free.select_for_update(skip_locked=True)
    row = free.first()
    if row is None:
        return None
    row.delete()
    return row.gateway_key_id, row.slot


