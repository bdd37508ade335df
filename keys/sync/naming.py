"""Giving our names to keys that were taken over: the last of all work, one call a key.

Nothing but the name is sent. An import would do a thousand in a call, but it overwrites what else is written on the key, and it refuses
values of fewer than 30 characters (developer guide, "API Gateway API key file format") where a key may have 20.
"""

from keys.gateway.errors import GatewayError, NotFound
from keys.sync import due, outcome
from keys.sync.names import name_in, new_batch
from keys.sync.session import Session

BATCH = 10


def name_keys(session: Session) -> bool:
    """Rename a few keys; whether there were any. A repeat is harmless: the key just gets another name of ours."""
    batch = new_batch(session.gateway.pk)
    rows = session.not_in_hand(due.unnamed(session.gateway.pk, session.now())[:BATCH])
    with session.holding(rows):
        for row in rows:
            name = name_in(batch, row.pk)
            try:
                session.client.rename_key(row.remote_id, name)
            except NotFound:
                outcome.missing(session, [row])
            except GatewayError as error:
                outcome.postponed(session, [row], error)
            else:
                outcome.renamed(session, row, name)
    return bool(rows)
