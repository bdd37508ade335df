"""Keeping the lease holder under the rates that AWS publishes for an account and Region, and spending them on what matters most.

The rates stand in ``keys.rates``. All bursts are used up to one call, and UpdateUsagePlan a moment later than it might: calls reach AWS
neither in equal times nor by our clock.

Work that can wait leaves some calls in the buckets, so that what is urgent never waits for a token. After a 429 it goes on at a lower
``pace``, which every good answer raises a little (additive increase, multiplicative decrease). Urgent calls keep to AWS's rates alone.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from keys import rates

TOTAL = (rates.TOTAL[0], rates.TOTAL[1] - 1)
UPDATE_SECONDS = 20.5
BY_OPERATION: Mapping[str, tuple[float, float]] = {
    **{name: (rate, burst - 1) for name, (rate, burst) in rates.BY_OPERATION.items()},
    "UpdateUsagePlan": (1 / UPDATE_SECONDS, 1.0),
}
SLOWEST = 0.1
# After a 429 half the pace is left; each good answer, and each second without a call, gives back so much.
FASTER = 0.02


@dataclass(slots=True)
class TokenBucket:
    """``rate`` tokens a second flow in, up to ``size``; a call takes one. Debt is allowed: whoever takes early waits for it."""

    rate: float
    size: float
    tokens: float
    at: float

    def wait(self, now: float, leave: float = 0.0) -> float:
        """Seconds until a token is there, and ``leave`` beside it. A billionth of one counts as none lacking: no clock could wait for
        less. A small bucket leaves less: half of what it can spare."""
        lacking = 1.0 + min(leave, (self.size - 1.0) / 2) - self.level(now)
        return lacking / self.rate if lacking > 1e-9 else 0.0

    def take(self, now: float) -> None:
        """Take a token."""
        self.tokens, self.at = self.level(now) - 1.0, max(now, self.at)

    def empty(self, now: float) -> None:
        """Throw away what is in it."""
        self.tokens, self.at = min(0.0, self.level(now)), max(now, self.at)

    def change(self, rate: float, now: float) -> None:
        """Let tokens flow in at another rate from now on."""
        self.tokens, self.at, self.rate = self.level(now), max(now, self.at), rate

    def level(self, now: float) -> float:
        """The tokens in it."""
        return min(self.size, self.tokens + max(0.0, now - self.at) * self.rate)


class Pacer:
    """Says when a call may go, for one holder of a lease.

    ``saved``: calls that the last holder left; ``idle_seconds``, ``plan_idle_seconds``: how long nobody has called, and nobody has changed
    a usage plan (None: never). A new holder starts with what was saved and has flowed in since: handing the lease on does not hand out
    a second burst.
    """

    def __init__(
        self,
        *,
        enabled: bool,
        pace: float = 1.0,
        saved: float = 0.0,
        idle_seconds: float | None = None,
        plan_idle_seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.enabled = enabled
        self.pace = min(1.0, pace + FASTER * (idle_seconds or 0.0))
        self._clock = clock
        self._sleep = sleep
        now = clock()
        rate, size = TOTAL
        self._total = _bucket(rate, size, idle_seconds, now, saved)
        # What is not urgent needs a token of this one too: as large, but filled at the pace.
        self._paced = TokenBucket(rate * self.pace, size, self._total.tokens, now)
        self._buckets = {
            name: _bucket(*limits, plan_idle_seconds if name == "UpdateUsagePlan" else idle_seconds, now)
            for name, limits in BY_OPERATION.items()
        }

    @property
    def saved(self) -> float:
        """Calls that could be made at once now."""
        return max(0.0, self._total.level(self._clock()))

    def seconds_until(self, operation: str, leave: float = 0.0, *, urgent: bool = False) -> float:
        """Seconds until a call may go; 0 when it may go now. ``leave``: calls left over for what is more urgent."""
        if not self.enabled:
            return 0.0
        now = self._clock()
        paced = 0.0 if urgent else self._paced.wait(now)
        return max(paced, *(bucket.wait(now, leave) for bucket in self._of(operation)))

    def wait(self, operation: str, leave: float = 0.0, *, urgent: bool = False) -> None:
        """Sleep until the call may go, and count it."""
        for seconds in self.waits(operation, leave, urgent=urgent):
            self._sleep(seconds)

    def waits(self, operation: str, leave: float = 0.0, *, urgent: bool = False) -> Iterator[float]:
        """For who has something to do while waiting: yields the seconds until the call may go, as often as there are any left; then
        counts the call."""
        if not self.enabled:
            return
        while (seconds := self.seconds_until(operation, leave, urgent=urgent)) > 0:
            yield seconds
        now = self._clock()
        for bucket in self._of(operation):
            bucket.take(now)
        # An urgent call takes what is paced where there is some, and makes no debt of it: how much is called in all, the total says.
        if not urgent or self._paced.level(now) >= 1.0:
            self._paced.take(now)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self._sleep(seconds)

    def slow_down(self) -> None:
        """The gateway answered 429: somebody else calls too. Half the pace, and nothing that was saved for a burst."""
        now = self._clock()
        self._total.empty(now)
        self._paced.empty(now)
        self._set_pace(max(SLOWEST, self.pace / 2), now)

    def speed_up(self) -> None:
        """The gateway gave a good answer."""
        if self.pace < 1.0:
            self._set_pace(min(1.0, self.pace + FASTER), self._clock())

    def _set_pace(self, pace: float, now: float) -> None:
        self.pace = pace
        self._paced.change(TOTAL[0] * pace, now)

    def _of(self, operation: str) -> list[TokenBucket]:
        own = self._buckets.get(operation)
        return [self._total] if own is None else [self._total, own]


def _bucket(rate: float, size: float, idle_seconds: float | None, now: float, saved: float = 0.0) -> TokenBucket:
    tokens = size if idle_seconds is None else min(size, saved + idle_seconds * rate)
    return TokenBucket(rate, size, tokens, now)
