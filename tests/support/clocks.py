"""A piece of work that is done by a process whose clock is wrong; the database's clock is right."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from unittest.mock import patch

from django.utils import timezone

HOUR, DAY = 3600.0, 86_400.0
# As pytest parameters: seconds that a clock is ahead.
OFFSETS = [HOUR, -HOUR, DAY, -DAY]


@contextmanager
def clock_off_by(seconds: float) -> Iterator[None]:
    """In the block ``time.time`` and ``timezone.now`` are so many seconds ahead (negative: behind). Monotonic time is as ever."""
    real_time, real_now = time.time, timezone.now

    def shifted_now() -> datetime:
        return real_now() + timedelta(seconds=seconds)

    with patch("time.time", lambda: real_time() + seconds), patch("django.utils.timezone.now", shifted_now):
        yield
