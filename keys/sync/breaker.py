"""The circuit breaker: a gateway that fails again and again is left alone for a while, then asked once, by a heartbeat.

Its state stands on the gateway's row (``failures``, ``resume_at``), so it outlives workers, and staff can read it.
"""

import random
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from django.db.models import QuerySet

from keys.gateway.errors import TROUBLE, GatewayError, Kind
from keys.models import Gateway
from keys.sync.backoff import backoff

log = structlog.get_logger(__name__)

# Failures in a row after which the gateway is left alone.
THRESHOLD = 3
# Answers of 429 in a row, whatever was asked. An account at its rates answers some calls so and others well; nobody may wait then for a
# pause: where it answers a third of all calls so, six in a row are one in a thousand.
THROTTLED_THRESHOLD = 6
# The pauses: short at first, and never so long that a gateway which is back would not be noticed within half a minute.
FIRST_PAUSE_SECONDS = 2.5
LONGEST_PAUSE_SECONDS = 20.0
# After answers of 429, which more calls make worse: long from the first, so that the gateway is asked three times a minute.
THROTTLED_PAUSE_SECONDS = (20.5, 22.0)


class CircuitOpen(Exception):
    """The gateway is left alone until ``Gateway.resume_at``."""


def is_left_alone(gateway: Gateway, now: datetime) -> bool:
    """Whether the gateway is not to be called now. A person who asked for a reconcile since the last failure gets one try at once."""
    asked, failed = gateway.reconcile_requested_at, gateway.last_error_at
    if gateway.resume_at is None or gateway.resume_at <= now:
        return False
    return asked is None or failed is None or asked <= failed


class Breaker:
    """Counts failures of the gateway, or of the way to it, in a row. Writes only when something changes.

    ``clock``: now, by the database's clock, for every worker looks at what is written here.
    """

    def __init__(self, gateway: Gateway, clock: Callable[[], datetime]) -> None:
        self._gateway_id: uuid.UUID = gateway.pk
        self._failures = gateway.failures
        self._clock = clock
        self._is_open = is_left_alone(gateway, clock())

    @property
    def failures(self) -> int:
        """In a row."""
        return self._failures

    @property
    def is_open(self) -> bool:
        """Whether the gateway is left alone."""
        return self._is_open

    @property
    def is_probing(self) -> bool:
        """Whether there is trouble, or was before a pause, and nobody knows yet whether it is over."""
        return self._failures >= THRESHOLD and not self._is_open

    def check(self) -> None:
        """Raises CircuitOpen during a pause."""
        if self._is_open:
            raise CircuitOpen

    def note(self, error: GatewayError | None) -> None:
        """Count how a call ended. Any answer that is no trouble of the gateway itself closes the circuit."""
        if error is not None and error.kind in TROUBLE:
            self._count(error)
        elif self._failures:
            self._failures = 0
            self._rows().update(failures=0, resume_at=None, last_error="", last_error_at=None)
            log.info("gateway.recovered", gateway_id=str(self._gateway_id))

    def _count(self, error: GatewayError) -> None:
        self._failures += 1
        now = self._clock()
        resume_at = None
        if self._failures >= (THROTTLED_THRESHOLD if error.kind is Kind.THROTTLED else THRESHOLD):
            self._is_open = True
            resume_at = now + _pause(error, self._failures - THRESHOLD + 1)
            log.warning("gateway.left_alone", gateway_id=str(self._gateway_id), failures=self._failures, reason=str(error.kind))
        self._rows().update(failures=self._failures, resume_at=resume_at, last_error=str(error), last_error_at=now)

    def _rows(self) -> QuerySet[Gateway]:
        return Gateway.objects.filter(pk=self._gateway_id)


def _pause(error: GatewayError, times: int) -> timedelta:
    if error.kind is Kind.THROTTLED:
        return timedelta(seconds=random.uniform(*THROTTLED_PAUSE_SECONDS))  # noqa: S311 - spreads probes, hides nothing
    return backoff(times, first=FIRST_PAUSE_SECONDS, longest=LONGEST_PAUSE_SECONDS)
