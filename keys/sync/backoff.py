"""How long to leave something alone that failed: longer each time, and never in step with others."""

import random
from datetime import timedelta

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 300.0


def backoff(attempts: int, first: float = FIRST_SECONDS, longest: float = LONGEST_SECONDS) -> timedelta:
    """After ``attempts`` failures in a row (1 or more): ``first`` doubled each time, up to ``longest``, of which a random half to all."""
    full = min(longest, first * 2.0 ** min(attempts, 30))
    return timedelta(seconds=full * random.uniform(0.5, 1.0))  # noqa: S311 - spreads retries, hides nothing
