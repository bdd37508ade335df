"""Sending one batch by ImportApiKeys, which takes all of it or nothing: rows that spoil it are found by halving."""

from collections.abc import Sequence
from contextlib import suppress

from keys import values
from keys.gateway.errors import GatewayError, Kind, Permanent, TryLater
from keys.gateway.types import ImportRow
from keys.models import GatewayKey
from keys.sync import outcome
from keys.sync.heartbeat import see_plans
from keys.sync.session import Session

# Halvings spent on one batch; 1,000 rows with one bad among them need 10.
MOST_SPLITS = 40


class Sender:
    """Sends one batch of rows that bear their names already."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._chunks: list[list[GatewayKey]] = []
        self._splits = 0
        self._asked = False
        self._detached: set[GatewayKey] = set()

    def send(self, rows: Sequence[GatewayKey]) -> list[GatewayKey]:
        """Send all rows that can be sent, and return them. What became of the others stands on them."""
        lines = dict(self._lines(rows))
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

    def _lines(self, rows: Sequence[GatewayKey]) -> list[tuple[GatewayKey, ImportRow]]:
        """The rows as they are sent. Values are decrypted here, right before the call, and kept nowhere."""
        lines = []
        for row in rows:
            try:
                value = values.decrypt(row.value_encrypted)
            except values.UnreadableValue as error:
                outcome.failed(self._session, [row], Permanent(str(error), Kind.INVALID))
            else:
                lines.append((row, ImportRow(row.name, value, row.enabled, row.usage_plan.remote_id)))
        return lines

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
            outcome.failed(self._session, chunk, error)

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
        """Take a key out of other usage plans that stand in the way: a key can be in one plan a stage. Whether it was in any."""
        self._detached.add(row)
        if not row.remote_id:
            return False
        stages = set(row.usage_plan.observed.get("stages", []))
        try:
            plans = self._session.client.list_plans(key_id=row.remote_id)
            others = [plan for plan in plans if plan.id != row.usage_plan.remote_id and not stages.isdisjoint(plan.spec.stages)]
            for plan in others:
                self._session.client.detach(plan.id, row.remote_id)
        except GatewayError:
            return False
        return bool(others)

    def _cut_off(self, row: GatewayKey) -> None:
        """Whatever else is wrong with a key that shall be disabled: if it exists, it is disabled at least."""
        if row.remote_id and not row.enabled:
            with suppress(GatewayError):
                self._session.client.update_key_enabled(row.remote_id, enabled=False)
