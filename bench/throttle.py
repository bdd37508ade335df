"""What a throttle check costs: ``python -m bench.throttle``.

Beside it, in the same run: an empty call, a dict get, and the quota counter. Goal: at most 4 x a dict get.
"""

from __future__ import annotations

import statistics
import sys
import time
from timeit import Timer

from bench import machine, table, verdict
from sandbox.bucket import TokenBucket
from sandbox.quota import Counter, Quota

ROUNDS, CALLS, KEYS = 11, 200_000, 10_000


def main() -> int:
    """Measure in turns, print medians."""
    machine()
    timers = _timers()
    for timer in timers.values():
        timer.timeit(CALLS // 10)
    seconds: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(ROUNDS):
        for name, timer in timers.items():
            seconds[name].append(timer.timeit(CALLS) / CALLS)
    nanoseconds = {name: statistics.median(values) * 1e9 for name, values in seconds.items()}
    get = nanoseconds["dict get"]
    rows = [(name, f"{value:.0f}", f"{value / get:.1f}") for name, value in nanoseconds.items()]
    table(f"One call, {KEYS:,} keys, median of {ROUNDS} x {CALLS:,}", ["", "ns", "x dict get"], rows)
    ratio = nanoseconds["bucket in a dict"] / get
    return verdict([(f"throttle check at most 4 x a dict get: {ratio:.1f}", ratio <= 4)])


def _timers() -> dict[str, Timer]:
    """Every statement looks its key up first, by a method call in Python: what any check would have to do."""
    now = time.time()
    buckets = {f"{number:0>40}": TokenBucket(10.0, 5, now) for number in range(KEYS)}
    full = {key: TokenBucket(1e9, 10**9, now) for key in buckets}
    counters = {key: Counter(Quota(10**9, "DAY"), now) for key in buckets}
    values = dict.fromkeys(buckets, 1)
    key = f"{KEYS // 2:0>40}"

    def empty(name: str) -> None:
        """Do nothing."""

    def get(name: str) -> int:
        return values[name]

    scope = {"empty": empty, "get": get, "buckets": buckets, "full": full, "counters": counters, "key": key, "now": now}
    statements = {
        "empty call": "empty(key)",
        "dict get": "get(key)",
        "bucket in a dict": "full[key].take(now)",
        "bucket in a dict, throttled": "buckets[key].take(now)",
        "quota counter in a dict": "counters[key].take(now)",
    }
    return {name: Timer(statement, globals=scope) for name, statement in statements.items()}


if __name__ == "__main__":
    sys.exit(main())
