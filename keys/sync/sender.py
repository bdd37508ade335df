"""Sending one batch by ImportApiKeys, which takes all of it or nothing: rows that spoil it are found by halving."""

from collections.abc import Sequence
from contextlib import suppress

from keys import values
from keys.gateway.errors import GatewayError, Kind, Permanent, TryLater
from keys.gateway.types import ImportRow
from keys.models import GatewayKey, UsagePlan
from keys.sync import outcome
from keys.sync.heartbeat import see_plans
from keys.sync.names import new_batch
from keys.sync.session import Session

# Halvings spent on one batch; 1,000 rows with one bad among them need 10.
MOST_SPLITS = 40
# Characters of the shortest value that an import takes (developer guide, "API Gateway API key file format"); CreateApiKey takes 20. Ours
# are longer; those of keys that were taken over may be shorter.
SHORTEST_VALUE = 30


class Sender:
    """Sends one batch of rows, under names of one new batch that are stored first. What no import takes keeps the name that it bears.

    ``enabled``: other than the rows say. ``gives_up``: what no repeat can mend waits for a person then; else it is always tried again.
    """

    def __init__(self, session: Session, *, enabled: bool | None = None, gives_up: bool = True) -> None:
        self._session = session
        self._enabled = enabled
        self.note_failure = outcome.failed if gives_up else outcome.postponed
        # Rows whose values no import takes.
        self.too_short: list[GatewayKey] = []
        self._chunks: list[list[GatewayKey]] = []
        self._splits = 0
        self._asked = False
        self._detached: set[GatewayKey] = set()

    def send(self, rows: Sequence[GatewayKey]) -> list[GatewayKey]:
        """Send all rows that can be sent, and return them. What became of the others stands on them."""
        lines = self._lines(rows)
        sent: list[GatewayKey] = []
        self._chunks = [list(lines)] if lines else []
        while self._chunks:
            chunk = self._chunks.pop()
            try:
                self._session.client.import_keys([lines[row] for row in chunk])
                sent += chunk
            except GatewayError as error:
                self._refused(chunk, error)
        return sent

    def _lines(self, rows: Sequence[GatewayKey]) -> dict[GatewayKey, ImportRow]:
        """The rows as they are sent. Values are decrypted here, right before the call, and kept nowhere."""
        decrypted = {}
        for row in rows:
            try:
                value = values.decrypt(row.value_encrypted)
            except values.UnreadableValue as error:
                self.note_failure(self._session, [row], Permanent(str(error), Kind.INVALID))
            else:
                if len(value) < SHORTEST_VALUE:
                    self.too_short.append(row)
                else:
                    decrypted[row] = value
        outcome.named(self._session, list(decrypted), new_batch(self._session.gateway.pk))
        return {row: ImportRow(row.name, value, self._is_enabled(row), row.usage_plan.remote_id) for row, value in decrypted.items()}

    def _is_enabled(self, row: GatewayKey) -> bool:
        return row.enabled if self._enabled is None else self._enabled

    def _refused(self, chunk: list[GatewayKey], error: GatewayError) -> None:
        if self._no_row_is_to_blame(error):
            self._stop(chunk, error)
        elif len(chunk) > 1 and self._splits < MOST_SPLITS:
            self._splits += 1
            middle = len(chunk) // 2
            self._chunks += [chunk[middle:], chunk[:middle]]
        elif len(chunk) > 1 or error.kind is Kind.FULL:
            # Either nothing of the batch can be sent, or there is room for no key more: the others need not be tried now.
            self._stop(chunk, error)
        elif chunk[0] not in self._detached and self._detach(chunk[0]):
            self._chunks.append(chunk)
        else:
            self._cut_off(chunk[0])
            self.note_failure(self._session, chunk, error)

    def _stop(self, chunk: list[GatewayKey], error: GatewayError) -> None:
        """Leave this chunk and those not sent yet for later."""
        rest = [row for each in (chunk, *self._chunks) for row in each]
        self._chunks = []
        outcome.postponed(self._session, rest, error)

    def _no_row_is_to_blame(self, error: GatewayError) -> bool:
        """Whether the gateway is in trouble, or forgot our usage plans (asked once a batch)."""
        if isinstance(error, TryLater):
            return error.kind is not Kind.FULL
        if self._asked:
            return False
        self._asked = True
        try:
            see_plans(self._session)
        except GatewayError:
            return True
        return self._session.forgot

    def _detach(self, row: GatewayKey) -> bool:
        """Take a key out of other usage plans that stand in the way. Whether it was in any."""
        self._detached.add(row)
        try:
            return bool(row.remote_id) and detach_from_others(self._session, row.usage_plan, row.remote_id)
        except GatewayError:
            return False

    def _cut_off(self, row: GatewayKey) -> None:
        """Whatever else is wrong with a key that shall be disabled: if it exists, it is disabled at least."""
        if row.remote_id and not row.enabled:
            with suppress(GatewayError):
                self._session.client.update_key_enabled(row.remote_id, enabled=False)


def detach_from_others(session: Session, plan: UsagePlan, key_id: str) -> bool:
    """Take a key out of the usage plans that keep it from being in ``plan``: a key can be in one a stage. Whether it was in any. Raises
    GatewayError."""
    stages = set(plan.observed.get("stages", []))
    found = session.client.list_plans(key_id=key_id)
    others = [each for each in found if each.id != plan.remote_id and not stages.isdisjoint(each.spec.stages)]
    for each in others:
        session.client.detach(each.id, key_id)
    return bool(others)
