"""The rates of an account's control plane, fixed by AWS: with ``aws_limits`` on, faster callers get 429."""

from __future__ import annotations

from sandbox.bucket import TokenBucket
from sandbox.clock import Clock

TOTAL = (10.0, 40.0)
# Operations with a rate of their own (requests a second, at once); all others only count towards the total.
# The bursts of the single operations are not documented; one second's worth, at least one, is a choice.
BY_OPERATION = {"CreateApiKey": (5.0, 5.0), "DeleteApiKey": (5.0, 5.0), "UpdateUsagePlan": (1 / 20, 1.0)}


class AccountLimits:
    """Token buckets for the whole account and for single operations."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Start with full buckets."""
        now = self._clock.now()
        self._total = TokenBucket(*TOTAL, now)
        self._buckets = {name: TokenBucket(*limits, now) for name, limits in BY_OPERATION.items()}

    def allow(self, operation: str) -> bool:
        """Count a call; False when it is over a rate."""
        now = self._clock.now()
        bucket = self._buckets.get(operation)
        return self._total.take(now) and (bucket is None or bucket.take(now))
