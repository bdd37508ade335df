"""The usage book: what every key has used in every usage plan."""

from __future__ import annotations

from sandbox.clock import Clock
from sandbox.quota import Counter, Quota


class UsageBook:
    """Counters by key and usage plan. ``lag`` (seconds) is how late GetUsage shows them."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.lag = 0.0
        self._counters: dict[str, dict[str, Counter]] = {}

    def counter(self, plan_id: str, key_id: str, quota: Quota | None) -> Counter:
        """Return the counter of a key in a plan, made on first use and brought to this quota."""
        of_key = self._counters.setdefault(key_id, {})
        counter = of_key.get(plan_id)
        if counter is None:
            counter = of_key[plan_id] = Counter(quota, self.clock.now())
        else:
            counter.change(quota, self.clock.now())
        return counter

    def find(self, plan_id: str, key_id: str) -> Counter | None:
        """Return the counter if the key ever used the plan."""
        return self._counters.get(key_id, {}).get(plan_id)

    def drop(self, key_id: str) -> None:
        """Forget a key."""
        self._counters.pop(key_id, None)

    def rewind(self) -> None:
        """Take the periods anew, after the clock was set back on purpose."""
        for of_key in self._counters.values():
            for counter in of_key.values():
                counter.rewind(self.clock.now())
