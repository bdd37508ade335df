"""The sandbox's clock: real time, moved or frozen on request."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime


class Clock:
    """Seconds since the epoch (UTC) as the sandbox sees them.

    Everything that is about the passing of time reads this clock: creation dates, token buckets, quota periods,
    propagation, account rates. Delays (latency) are real.
    """

    __slots__ = ("_frozen_at", "_offset", "_source")

    def __init__(self, source: Callable[[], float] = time.time) -> None:
        self._source = source
        self._offset = 0.0
        self._frozen_at: float | None = None

    def now(self) -> float:
        """Return the present in seconds since the epoch."""
        if self._frozen_at is not None:
            return self._frozen_at
        return self._source() + self._offset

    @property
    def frozen(self) -> bool:
        """Whether time stands still until it is moved."""
        return self._frozen_at is not None

    @property
    def offset(self) -> float:
        """Seconds between real time and this clock."""
        return self.now() - self._source()

    def freeze(self, at: float | None = None) -> None:
        """Stop at ``at`` (seconds since the epoch), or now."""
        self._frozen_at = self.now() if at is None else at

    def unfreeze(self) -> None:
        """Run on from where the clock stands."""
        if self._frozen_at is not None:
            self._offset = self._frozen_at - self._source()
            self._frozen_at = None

    def advance(self, seconds: float) -> None:
        """Move by ``seconds``; negative goes back."""
        if self._frozen_at is not None:
            self._frozen_at += seconds
        else:
            self._offset += seconds

    def set_offset(self, seconds: float) -> None:
        """Run at real time plus ``seconds``."""
        self._frozen_at = None
        self._offset = seconds

    def reset(self) -> None:
        """Go back to real time."""
        self.set_offset(0.0)

    def today(self) -> str:
        """Return the UTC date as YYYY-MM-DD."""
        return datetime.fromtimestamp(self.now(), UTC).date().isoformat()
