"""Taking spares that work at once, with SQL of our own. See ``keys.services.placement``, which does the same on SQLite.

Why a function of the database: a buyer of a siloed key waits for one round trip, as a pooled one does. In steps it would be four: hold
the tier, find its gateways with most room, lock a spare, write it.

Race: two buyers, one spare. The row is locked with SKIP LOCKED and written by one statement, so the second buyer gets the next spare or
none, and waits for nobody.
"""

import uuid
from datetime import datetime

from django.db import connection

from keys.models.tickets import TIER_LOCK_CLASS, tier_lock


def take_ready(tier_id: uuid.UUID, count: int, now: datetime, gateway_id: uuid.UUID | None) -> list[uuid.UUID]:
    """Up to ``count`` spares of the tier that are in service, now SILO keys: their ids.

    Taken where most room is, of each usage plan the longest in service; at ``gateway_id`` alone if that is given. The tier is held,
    shared with other buyers, until the transaction ends. PostgreSQL only.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT keys_take_spares(%s, %s, %s, %s, %s, %s)", [tier_id, TIER_LOCK_CLASS, tier_lock(tier_id), now, count, gateway_id]
        )
        return [row[0] for row in cursor.fetchall()]
