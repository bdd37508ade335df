"""Counting the calls at a gateway: how the account's rates were spent, an hour and operation."""

import datetime as dt
import time
import uuid
from collections import Counter

from django.db.models import F
from django.utils import timezone

from keys.gateway.errors import GatewayError, Kind
from keys.models import CallCount

# Counts that are not written yet are lost with a killed worker: a few seconds' worth.
FLUSH_SECONDS = 5
KEPT = dt.timedelta(days=35)


class Calls:
    """Calls of one lease holder. ``total``: all of them so far, answered or not."""

    def __init__(self, gateway_id: uuid.UUID) -> None:
        self.total = 0
        self._gateway_id = gateway_id
        self._calls: Counter[str] = Counter()
        self._throttled: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._flushed_at = time.monotonic()

    def note(self, operation: str, error: GatewayError | None) -> None:
        """Count a call and how it ended. A 404 is an answer, and no failure."""
        self.total += 1
        self._calls[operation] += 1
        if error is not None and error.kind is Kind.THROTTLED:
            self._throttled[operation] += 1
        elif error is not None and error.kind is not None:
            self._failed[operation] += 1

    @property
    def is_due(self) -> bool:
        """Whether it is time to write the counts."""
        return time.monotonic() - self._flushed_at >= FLUSH_SECONDS

    def flush(self) -> None:
        """Add what was counted to the rows of this hour.

        Race: a holder that lost its lease counts beside the new one. The rows are unique, and added to by the database.
        """
        self._flushed_at = time.monotonic()
        hour = timezone.now().replace(minute=0, second=0, microsecond=0)
        for operation, calls in self._calls.items():
            row, is_new = CallCount.objects.get_or_create(gateway_id=self._gateway_id, operation=operation, hour=hour)
            CallCount.objects.filter(pk=row.pk).update(
                calls=F("calls") + calls,
                throttled=F("throttled") + self._throttled[operation],
                failed=F("failed") + self._failed[operation],
            )
            if is_new:
                CallCount.objects.filter(gateway_id=self._gateway_id, hour__lt=hour - KEPT).delete()
        for counter in (self._calls, self._throttled, self._failed):
            counter.clear()
