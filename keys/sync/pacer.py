"""Keeping the lease holder under the rates that AWS publishes for an account and Region.

Fixed, not adjustable (developer guide, "API Gateway control plane quotas"): 10 calls a second in total with a burst of 40;
CreateApiKey and DeleteApiKey 5 a second; UpdateUsagePlan 1 in 20 seconds. The burst of the single operations is not published; one
second's worth, at least one call, is assumed.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

TOTAL = (10.0, 40.0)
BY_OPERATION: Mapping[str, tuple[float, float]] = {
    "CreateApiKey": (5.0, 5.0),
    "DeleteApiKey": (5.0, 5.0),
    "UpdateUsagePlan": (1 / 20, 1.0),
}


@dataclass(slots=True)
class TokenBucket:
    """``rate`` tokens a second flow in, up to ``size``; a call takes one. Debt is allowed: whoever takes early waits for it."""

    rate: float
    size: float
    tokens: float
    at: float

    def wait(self, now: float) -> float:
        """Seconds until a token is there. A billionth of one counts as none lacking: no clock could wait for less."""
        lacking = 1.0 - self._level(now)
        return lacking / self.rate if lacking > 1e-9 else 0.0

    def take(self, now: float) -> None:
        """Take a token."""
        self.tokens, self.at = self._level(now) - 1.0, max(now, self.at)

    def empty(self, now: float) -> None:
        """Throw away what is in it."""
        self.tokens, self.at = min(0.0, self._level(now)), max(now, self.at)

    def _level(self, now: float) -> float:
        return min(self.size, self.tokens + max(0.0, now - self.at) * self.rate)


class Pacer:
    """Says when a call may go, for one holder of a lease.

    ``idle_seconds`` and ``plan_idle_seconds``: how long nobody has called, and nobody has changed a usage plan (None: never).
    A new holder starts with the tokens that have flowed in since then: handing the lease on does not hand out a second burst.
    """

    def __init__(
        self,
        *,
        enabled: bool,
        idle_seconds: float | None = None,
        plan_idle_seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._enabled = enabled
        self._clock = clock
        self._sleep = sleep
        now = clock()
        self._total = _bucket(*TOTAL, idle_seconds, now)
        self._buckets = {
            name: _bucket(*limits, plan_idle_seconds if name == "UpdateUsagePlan" else idle_seconds, now)
            for name, limits in BY_OPERATION.items()
        }

    def seconds_until(self, operation: str) -> float:
        """Seconds until a call may go; 0 when it may go now."""
        if not self._enabled:
            return 0.0
        now = self._clock()
        return max(bucket.wait(now) for bucket in self._of(operation))

    def wait(self, operation: str) -> None:
        """Sleep until the call may go, and count it."""
        if not self._enabled:
            return
        while (seconds := self.seconds_until(operation)) > 0:
            self._sleep(seconds)
        for bucket in self._of(operation):
            bucket.take(self._clock())

    def slow_down(self) -> None:
        """The gateway answered 429: somebody else calls too. Give up what was saved for a burst."""
        self._total.empty(self._clock())

    def _of(self, operation: str) -> list[TokenBucket]:
        bucket = self._buckets.get(operation)
        return [self._total] if bucket is None else [self._total, bucket]


def _bucket(rate: float, size: float, idle_seconds: float | None, now: float) -> TokenBucket:
    tokens = size if idle_seconds is None else min(size, idle_seconds * rate)
    return TokenBucket(rate, size, tokens, now)
