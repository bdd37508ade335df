"""Keys that exist: removed, disabled, enabled. One call each, so only a few before what is more urgent is looked for again."""

from django.utils import timezone

from keys.gateway.errors import GatewayError, NotFound
from keys.models import GatewayKey, Priority
from keys.sync import due, outcome
from keys.sync.session import Session

BATCH = 10


def remove_keys(session: Session, least: Priority) -> bool:
    """Delete keys past their end, of priority ``least`` or more urgent; whether there were any."""
    rows = list(due.removals(session.gateway.pk, timezone.now()).filter(priority__lte=least)[:BATCH])
    for row in rows:
        try:
            _remove(session, row)
        except GatewayError as error:
            outcome.postponed(session, [row], error)
        else:
            outcome.removed(session, row)
    return bool(rows)


def switch_keys(session: Session, least: Priority) -> bool:
    """Enable or disable keys, of priority ``least`` or more urgent; whether there were any."""
    rows = list(due.switches(session.gateway.pk, timezone.now()).filter(priority__lte=least)[:BATCH])
    for row in rows:
        try:
            session.client.update_key_enabled(row.remote_id, enabled=row.enabled)
        except NotFound:
            outcome.missing(session, [row])
        except GatewayError as error:
            outcome.postponed(session, [row], error)
        else:
            outcome.confirmed(session, {row: row.remote_id})
    return bool(rows)


def _remove(session: Session, row: GatewayKey) -> None:
    """Delete it under its id; under its name, if it was sent and nobody knows what came of it. A key never sent needs no call."""
    if row.remote_id and session.client.delete_key(row.remote_id):
        return
    if row.name:
        for key in session.client.list_keys(name_prefix=row.name):
            if key.name == row.name:
                session.client.delete_key(key.id)
