"""Keys made one by one: CreateApiKey, then CreateUsagePlanKey. For accounts that refuse ImportApiKeys.

5 keys a second is all that AWS allows, and with two calls a key it is also all that the account's 10 calls a second allow.
CreateUsagePlanKey is not made twice at once in an account: that answers 409. So each call is made after the one before it.

Names are stored before the first call, as for imports: after a lost answer, or a killed worker, the keys are found by them.
"""

from collections.abc import Callable, Sequence

from keys import values
from keys.gateway.errors import GatewayError, Kind, NotFound, Permanent
from keys.models import GatewayKey
from keys.sync import outcome
from keys.sync.names import new_batch
from keys.sync.sender import detach_from_others
from keys.sync.session import Session

# Keys whose outcome is written in one go: a second's work.
BATCH = 5
# Rows of spares that are written ahead of their calls: ten seconds' work.
AHEAD = 10 * BATCH
# Writes down that a call for rows failed: ``outcome.failed``, or ``outcome.postponed``.
NoteFailure = Callable[[Session, Sequence[GatewayKey], GatewayError], None]


def create_keys(session: Session, rows: Sequence[GatewayKey], note_failure: NoteFailure = outcome.failed) -> None:
    """Make, enable and attach keys, or what of that is left to do. What became of each stands on its row.

    A key that was sent before keeps its name: it may still turn up under that. One that is there already gets none here.
    """
    outcome.named(session, [row for row in rows if not row.name and not row.remote_id], new_batch(session.gateway.pk))
    made = {}
    try:
        for row in rows:
            try:
                made[row] = _create(session, row)
            except GatewayError as error:
                note_failure(session, [row], error)
    finally:
        outcome.confirmed(session, made)


def _create(session: Session, row: GatewayKey) -> str:
    """The id of a key that is as it shall be. Raises GatewayError."""
    key_id = row.remote_id
    if key_id:
        try:
            session.client.update_key_enabled(key_id, enabled=row.enabled)
        except NotFound:
            outcome.missing(session, [row])
            raise
    else:
        key_id = _send(session, row)
    try:
        session.client.attach(row.usage_plan.remote_id, key_id)
    except Permanent as error:
        # Both are told by words, and AWS's for a key that is in the plan already are written down nowhere.
        if error.kind not in {Kind.CLASH, Kind.DUPLICATE}:
            raise
        _see_attached(session, row, key_id)
    return key_id


def _send(session: Session, row: GatewayKey) -> str:
    """The id of a key that did not exist, or exists since a call whose answer was lost. Values are kept nowhere."""
    try:
        value = values.decrypt(row.value_encrypted)
    except values.UnreadableValue as error:
        raise Permanent(str(error), Kind.INVALID) from None
    try:
        return session.client.create_key(row.name, value, enabled=row.enabled).id
    except Permanent as error:
        if error.kind is not Kind.DUPLICATE:
            raise
        found = [key for key in session.client.list_keys(name_prefix=row.name) if key.name == row.name]
        if not found:
            raise
        if found[0].enabled != row.enabled:
            session.client.update_key_enabled(found[0].id, enabled=row.enabled)
        return found[0].id


def _see_attached(session: Session, row: GatewayKey, key_id: str) -> None:
    """A key that could not be attached is in the plan already, or in another one that stands in the way. Asked by its id: it may bear
    another name than the row knows."""
    if any(plan.id == row.usage_plan.remote_id for plan in session.client.list_plans(key_id=key_id)):
        return
    detach_from_others(session, row.usage_plan, key_id)
    session.client.attach(row.usage_plan.remote_id, key_id)
