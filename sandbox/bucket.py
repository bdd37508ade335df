"""The token bucket: how API Gateway throttles (one token a request, capacity = burst, refill = rate)."""

from __future__ import annotations

# Sums of fractional refills (ten times 0.1) may end a hair below one whole token.
_ONE = 1.0 - 1e-9


class TokenBucket:
    """Holds up to ``burst`` tokens, gains ``rate`` a second, starts full.

    Pure: time is passed in (seconds, any origin). When the clock steps back nothing is refilled, and refilling goes on
    from the new time: a step back neither grants tokens nor starves the caller until the old time returns.
    """

    __slots__ = ("burst", "rate", "stamp", "tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self.tokens: float = burst
        self.stamp = now

    def take(self, now: float) -> bool:
        """Take one token; False when there is none."""
        elapsed = now - self.stamp
        tokens = self.tokens
        if elapsed > 0.0:
            tokens += elapsed * self.rate
            if tokens > self.burst:  # noqa: PLR1730 - min() costs a call on the path of every request
                tokens = self.burst
        self.stamp = now
        if tokens >= _ONE:
            self.tokens = tokens - 1.0
            return True
        self.tokens = tokens
        return False

    def level(self, now: float) -> float:
        """Return the tokens there would be at ``now``, taking none."""
        return min(self.burst, self.tokens + max(0.0, now - self.stamp) * self.rate)

    def change(self, rate: float, burst: float, now: float) -> None:
        """Set new limits. What was gained so far stays, up to the new burst."""
        self.tokens = min(self.level(now), burst)
        self.stamp = now
        self.rate = rate
        self.burst = burst
