"""Keys made and repaired by ImportApiKeys: enabled and attached to their usage plans by the same call, many at a time. On a gateway whose
account refuses imports they are made one by one instead.

Names are stored before the first call. After every import, and before a repeat of one whose outcome is unknown, the batch is looked
up by its name prefix: what a list shows counts, not what a call answered.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from keys.gateway.errors import GatewayError, Kind, TryLater
from keys.models import GatewayKey, Priority
from keys.rates import IMPORT
from keys.sync import creates, due, outcome
from keys.sync.names import MARK, batch_of
from keys.sync.sender import Sender
from keys.sync.session import Session

# Looking for more batches than this one by one costs more than listing all keys of ours.
MOST_LOOKS = 8


@dataclass(frozen=True, slots=True)
class Seen:
    """How the gateway holds a key."""

    remote_id: str
    enabled: bool
    attached: bool


def make_keys(session: Session) -> bool:
    """Make or repair keys that are as urgent as what is being done, or more; whether there were any.

    What was bought goes with what is cut off: that costs no call more.
    """
    query = session.mine(due.imports(session.gateway.pk, session.now()), max(session.level, Priority.PURCHASE))
    rows = session.not_in_hand(query.select_related("usage_plan")[: IMPORT if session.gateway.uses_imports else creates.BATCH])
    if not rows or rows[0].priority > session.level:
        return False
    unsure = [row for row in rows if row.name and (not row.remote_id or row.attempts)]
    with session.holding(rows):
        try:
            not_done = _settle(session, unsure)
        except GatewayError as error:
            outcome.failed(session, unsure, error)
            return True
        done = set(unsure).difference(not_done)
        to_send = [row for row in rows if row not in done]
        if not session.gateway.uses_imports:
            creates.create_keys(session, to_send)
        elif to_send:
            send_keys(session, to_send, Sender(session))
    return True


def send_keys(session: Session, rows: list[GatewayKey], sender: Sender) -> None:
    """Import keys under names of one new batch, and look them up."""
    sent = sender.send(rows)
    if sender.too_short:  # a second's work; the others are looked at again after what is more urgent
        creates.create_keys(session, sender.too_short[: creates.BATCH], sender.note_failure)
    try:
        unseen = _settle(session, sent)
    except GatewayError as error:
        sender.note_failure(session, sent, error)
        return
    if unseen:
        words = _("API Gateway took the key but does not show it yet. It is looked for again.")
        sender.note_failure(session, unseen, TryLater(words, Kind.UNKNOWN))


def _settle(session: Session, rows: Sequence[GatewayKey]) -> list[GatewayKey]:
    """Look the rows up; those that are as they shall be are confirmed, the others returned. Raises GatewayError."""
    seen = look_up(session, rows)
    good = {row: at.remote_id for row, at in seen.items() if at.attached and at.enabled == row.enabled}
    others = {row: at.remote_id for row, at in seen.items() if row not in good}
    if good:
        outcome.confirmed(session, good)
    if others:
        outcome.found(session, others)
    return [row for row in rows if row not in good]


def look_up(session: Session, rows: Sequence[GatewayKey]) -> dict[GatewayKey, Seen]:
    """Find rows at the gateway by their names: two calls a batch and usage plan, and 500 keys. Raises GatewayError."""
    if not rows:
        return {}
    batches = {(row.usage_plan.remote_id, batch_of(row.name)) for row in rows}
    if len(batches) > MOST_LOOKS:
        batches = {(plan_id, MARK) for plan_id, _batch in batches}
    keys = {key.name: key for batch in {batch for _plan, batch in batches} for key in session.client.list_keys(batch)}
    members = {(plan_id, key.id) for plan_id, batch in batches for key in session.client.list_plan_members(plan_id, batch)}
    return {
        row: Seen(key.id, key.enabled, (row.usage_plan.remote_id, key.id) in members)
        for row in rows
        if (key := keys.get(row.name)) is not None
    }
