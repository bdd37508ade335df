"""Keys that exist: removed, disabled, enabled. One call each, so only a few before what is more urgent is looked for again; many at once
are disabled and enabled by imports, a thousand a call."""

from collections.abc import Sequence
from contextlib import suppress

from django.db.models import QuerySet

from keys.gateway.errors import GatewayError, Kind, NotFound
from keys.models import GatewayKey, Priority
from keys.rates import IMPORT
from keys.sync import due, imports, outcome
from keys.sync.sender import Sender
from keys.sync.session import Session

# A second's calls.
BATCH = 10


def switch_keys(session: Session) -> bool:
    """Enable or disable keys that are as urgent as what is being done, or more; whether there were any."""
    query = session.mine(due.switches(session.gateway.pk, session.now()))
    rows = session.not_in_hand(query[:BATCH])
    many = _many(session, query) if len(rows) == BATCH else []
    with session.holding(many or rows):
        if many:
            imports.send_keys(session, many, Sender(session, gives_up=False))
            return True
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


def remove_keys(session: Session) -> bool:
    """Delete keys past their end that are as urgent as what is being done, or more; whether there were any.

    Where many are revoked, which takes a second for five, all of them are disabled first.
    """
    query = session.mine(due.removals(session.gateway.pk, session.now()))
    rows = session.not_in_hand(query[:BATCH])
    if len(rows) == BATCH and session.level == Priority.REVOKE:
        answered = _many(session, query.filter(enabled=True, in_service_at__isnull=False).exclude(remote_id=""))
        if answered:
            with session.holding(answered):
                _cut_off(session, answered)
            return True
    with session.holding(rows):
        for row in rows:
            try:
                _remove(session, row)
            except GatewayError as error:
                if error.kind is Kind.FORBIDDEN:
                    _disable_at_least(session, row)
                outcome.postponed(session, [row], error)
            else:
                outcome.removed(session, row)
    return bool(rows)


def _many(session: Session, query: QuerySet[GatewayKey]) -> list[GatewayKey]:
    """Up to a thousand keys that an import can send; none where it would save nothing. What failed once is tried by itself."""
    if not session.gateway.uses_imports:
        return []
    fit = query.filter(attempts=0).exclude(name="").exclude(usage_plan__remote_id="").select_related("usage_plan")
    rows = session.not_in_hand(fit[:IMPORT])
    return rows if len(rows) > BATCH else []


def _cut_off(session: Session, rows: Sequence[GatewayKey]) -> None:
    sender = Sender(session, enabled=False, gives_up=False)
    off = sender.send(rows)
    for row in sender.too_short[:BATCH]:
        try:
            session.client.update_key_enabled(row.remote_id, enabled=False)
        except NotFound:
            off.append(row)
        except GatewayError as error:
            sender.note_failure(session, [row], error)
        else:
            off.append(row)
    outcome.cut_off(session, off)


def _disable_at_least(session: Session, row: GatewayKey) -> None:
    """A role that may not delete keys can mostly disable them: what was revoked is not answered meanwhile."""
    if row.remote_id:
        with suppress(GatewayError):
            session.client.update_key_enabled(row.remote_id, enabled=False)


def _remove(session: Session, row: GatewayKey) -> None:
    """Delete it under its id; under its name, if it was sent and nobody knows what came of it. A key never sent needs no call."""
    if row.remote_id and session.client.delete_key(row.remote_id):
        return
    if row.name:
        for key in session.client.list_keys(name_prefix=row.name):
            if key.name == row.name:
                session.client.delete_key(key.id)
