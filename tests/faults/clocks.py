"""A process whose clock is wrong: ``CLOCK_OFFSET`` seconds, in what Python code of the project and its libraries takes for now.

Monotonic time is as it was. The database's clock and the other processes' clocks are not touched.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from django.utils import timezone


def shift(seconds: float) -> None:
    """From here on ``time.time`` and ``django.utils.timezone.now`` are so much ahead (negative: behind). At the start only."""
    real_time, real_now, offset = time.time, timezone.now, timedelta(seconds=seconds)

    def shifted_time() -> float:
        return real_time() + seconds

    def shifted_now() -> datetime:
        return real_now() + offset

    time.time, timezone.now = shifted_time, shifted_now
