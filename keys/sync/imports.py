"""Keys made and repaired by ImportApiKeys: enabled and attached to their usage plans by the same call, many at a time.

Names are stored before the first call. After every import, and before a repeat of one whose outcome is unknown, the batch is looked
up by its name prefix: what a list shows counts, not what a call answered.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils import timezone
from django.utils.translation import gettext as _

from keys.gateway.errors import GatewayError, Kind, TryLater
from keys.models import GatewayKey, Priority
from keys.sync import due, outcome
from keys.sync.names import MARK, batch_of, new_batch
from keys.sync.sender import Sender
from keys.sync.session import Session

BATCH = 1000
# Looking for more batches than this one by one costs more than listing all keys of ours.
MOST_LOOKS = 8


@dataclass(frozen=True, slots=True)
class Seen:
    """How the gateway holds a key."""

    remote_id: str
    enabled: bool
    attached: bool


def import_keys(session: Session, least: Priority) -> bool:
    """Make or repair keys of priority ``least`` or more urgent; whether there were any."""
    query = due.imports(session.gateway.pk, timezone.now()).filter(priority__lte=least).select_related("usage_plan")
    rows = list(query[:BATCH])
    if not rows:
        return False
    unsure = [row for row in rows if row.name and (not row.remote_id or row.attempts)]
    try:
        not_done = _settle(session, unsure)
    except GatewayError as error:
        outcome.failed(session, unsure, error)
        return True
    done = set(unsure).difference(not_done)
    to_send = [row for row in rows if row not in done]
    if to_send:
        _import(session, to_send)
    return True


def _import(session: Session, rows: list[GatewayKey]) -> None:
    outcome.named(session, rows, new_batch(session.gateway.pk))
    sent = Sender(session).send(rows)
    try:
        unseen = _settle(session, sent)
    except GatewayError as error:
        outcome.failed(session, sent, error)
        return
    if unseen:
        words = _("API Gateway took the key but does not show it yet. It is looked for again.")
        outcome.failed(session, unseen, TryLater(words, Kind.UNKNOWN))


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
