"""Quotas: how many requests a key may send in a DAY, WEEK or MONTH, and what it has sent.

Periods are calendar windows in UTC; weeks begin on Monday (choice: AWS documents neither). Pure: time is passed in as
seconds since the epoch, days are counted from the epoch.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

DAY_SECONDS = 86_400
_EPOCH = date(1970, 1, 1)
# What GetUsage shows as remaining for a plan without quota (choice: the largest long).
UNLIMITED = 2**63 - 1
RECENT_SECONDS = 2 * DAY_SECONDS
_NO_EXTRA = (0, -1)

PERIODS = ("DAY", "WEEK", "MONTH")
# A period's first offset that is refused. AWS calls offset a number of requests but checks it like a day of the period.
OFFSET_BOUNDS = {"DAY": 1, "WEEK": 7, "MONTH": 28}


@dataclass(frozen=True, slots=True)
class Quota:
    """``limit`` requests a ``period``; ``offset`` is kept and shown, not applied (choice: its meaning is contested)."""

    limit: int
    period: str
    offset: int = 0


def day_of(now: float) -> int:
    """Return the UTC day that ``now`` (seconds) lies in, in days since the epoch."""
    return int(now // DAY_SECONDS)


def day_number(iso_date: str) -> int:
    """Return the days since the epoch of a date YYYY-MM-DD.

    Raises:
        ValueError: it is not a date in that form, or out of all proportion.
    """
    day = datetime.strptime(iso_date, "%Y-%m-%d").replace(tzinfo=UTC).date()
    if not 1970 <= day.year < 9999:
        raise ValueError("a year from 1970 to 9998 is needed")
    return (day - _EPOCH).days


@lru_cache(maxsize=16)
def _end_of(day: int) -> float:
    """Return when a day ends, as one object for all counters: it stays in the processor's cache."""
    return float((day + 1) * DAY_SECONDS)


def period_of(period: str, day: int) -> tuple[int, int]:
    """Return the first day of the period that holds ``day``, and the first day after it."""
    if period == "DAY":
        return day, day + 1
    day_date = _EPOCH + timedelta(days=day)
    if period == "WEEK":
        monday = day - day_date.weekday()
        return monday, monday + 7
    first = day_date.replace(day=1)
    following = (first + timedelta(days=32)).replace(day=1)
    return (first - _EPOCH).days, (following - _EPOCH).days


class Counter:
    """The requests of one key in one usage plan: a number a day, checked against a quota.

    ``take`` is the path of every request. It counts down one number and looks at one time, because with thousands of keys
    each object that it touches is fetched from memory. What was used is told by how far the number came since the page of
    the day was opened. When the clock steps back into an earlier day the page stays: no new quota is handed out.
    """

    __slots__ = ("_day", "_day_end", "_extra", "_left", "_opened", "days", "quota", "recent")

    def __init__(self, quota: Quota | None, now: float) -> None:
        self.quota = quota
        self.days: dict[int, int] = {}
        self.recent: deque[list[float]] | None = None
        # What an UpdateUsage added to (or took from) the limit, and the first day of the period that it is for.
        self._extra: tuple[int, int] = _NO_EXTRA
        self._left = self._opened = self._day = 0
        self._day_end = 0.0
        self._open(day_of(now))

    def take(self, now: float) -> bool:
        """Count one request; False when the quota of the period is used up (then nothing is counted)."""
        if now >= self._day_end:
            self._open(day_of(now))
        left = self._left
        if left <= 0:
            return False
        self._left = left - 1
        return True

    def change(self, quota: Quota | None, now: float) -> None:
        """Set a new quota. What was used in the (new) period counts against it."""
        if quota != self.quota:
            self._turn(now)
            self.quota = quota
            self._open(self._day)

    def set_remaining(self, remaining: int, now: float) -> None:
        """Make exactly ``remaining`` requests possible in the present period (UpdateUsage)."""
        self._turn(now)
        if self.quota is not None:
            first, _ = period_of(self.quota.period, self._day)
            self._extra = (self._extra_of(first) + remaining - self._left, first)
            self._open(self._day)

    def note(self, now: float) -> None:
        """Remember when the last request came, so that ``usage`` can be shown late."""
        second = now // 1
        if self.recent is None:
            self.recent = deque()
        if self.recent and self.recent[-1][0] == second:
            self.recent[-1][1] += 1
            return
        self.recent.append([second, 1])
        while self.recent[0][0] < second - RECENT_SECONDS:
            self.recent.popleft()

    def usage(self, first: int, last: int, now: float, *, quota: Quota | None, lag: float = 0.0) -> list[list[int]]:
        """Return ``[used, remaining]`` for each day from ``first`` to ``last``, as known ``lag`` seconds ago.

        What remains is told by ``quota``, the plan's present one, which the data plane may not know yet. A key that has
        used up its quota is shown without lag, as AWS does.
        """
        self._turn(now)
        days = dict(self.days)
        days[self._day] = days.get(self._day, 0) + self._opened - self._left
        if lag > 0.0 and self._left > 0:
            self._hide_recent(days, now - lag)
        return [[days.get(day, 0), self._remaining(quota, days, day)] for day in range(first, last + 1)]

    def rewind(self, now: float) -> None:
        """Start from the numbers a day alone, after the clock was set back on purpose."""
        self._open(day_of(now))

    def _remaining(self, quota: Quota | None, days: dict[int, int], day: int) -> int:
        if quota is None:
            return UNLIMITED
        first, _ = period_of(quota.period, day)
        used = sum(days.get(each, 0) for each in range(first, day + 1))
        return max(0, quota.limit + self._extra_of(first) - used)

    def _extra_of(self, first: int) -> int:
        return self._extra[0] if self._extra[1] == first else 0

    def _hide_recent(self, days: dict[int, int], until: float) -> None:
        for second, count in self.recent or ():
            if second > until:
                day = day_of(second)
                days[day] = max(0, days.get(day, 0) - int(count))

    def _turn(self, now: float) -> None:
        if now >= self._day_end:
            self._open(day_of(now))

    def _open(self, day: int) -> None:
        """Start a page for ``day``; what was used comes from the numbers a day, so any period can be asked for."""
        used_today = self._opened - self._left
        if used_today:
            self.days[self._day] = self.days.get(self._day, 0) + used_today
        self._day = day
        self._day_end = _end_of(day)
        self._left = UNLIMITED
        if self.quota is not None:
            first, end = period_of(self.quota.period, day)
            used = sum(self.days.get(each, 0) for each in range(first, end))
            self._left = self.quota.limit + self._extra_of(first) - used
        self._opened = self._left
