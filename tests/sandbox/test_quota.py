"""Quotas, against calendars worked out by hand. 2026-04-15 is a Wednesday; 2028 is a leap year."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sandbox.quota import UNLIMITED, Counter, Quota, day_number, period_of


def at(text: str) -> float:
    """Return seconds since the epoch of a UTC time."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def spend(counter: Counter, now: float, count: int) -> list[bool]:
    """Send requests."""
    return [counter.take(now) for _ in range(count)]


@pytest.mark.parametrize(
    ("period", "day", "first", "end"),
    [
        ("DAY", "2026-04-15", "2026-04-15", "2026-04-16"),
        ("WEEK", "2026-04-15", "2026-04-13", "2026-04-20"),
        ("WEEK", "2026-04-13", "2026-04-13", "2026-04-20"),
        ("WEEK", "2026-04-19", "2026-04-13", "2026-04-20"),
        ("WEEK", "2027-01-01", "2026-12-28", "2027-01-04"),
        ("MONTH", "2026-04-01", "2026-04-01", "2026-05-01"),
        ("MONTH", "2026-12-31", "2026-12-01", "2027-01-01"),
        ("MONTH", "2028-02-29", "2028-02-01", "2028-03-01"),
        ("MONTH", "2026-01-31", "2026-01-01", "2026-02-01"),
    ],
)
def test_period_of_is_a_calendar_window(period, day, first, end):
    assert period_of(period, day_number(day)) == (day_number(first), day_number(end))


@pytest.mark.parametrize(
    ("period", "last_moment", "next_moment"),
    [
        ("DAY", "2026-04-15T23:59:59.999", "2026-04-16T00:00:00"),
        ("WEEK", "2026-04-19T23:59:59.999", "2026-04-20T00:00:00"),
        ("MONTH", "2026-04-30T23:59:59.999", "2026-05-01T00:00:00"),
        ("MONTH", "2028-02-29T23:59:59.999", "2028-03-01T00:00:00"),
    ],
)
def test_counter_starts_anew_at_the_period_end_and_not_before(period, last_moment, next_moment):
    counter = Counter(Quota(3, period), at(last_moment) - 3600)
    assert spend(counter, at(last_moment) - 3600, 4) == [True, True, True, False]

    assert counter.take(at(last_moment)) is False
    assert spend(counter, at(next_moment), 4) == [True, True, True, False]


def test_counter_of_a_week_counts_across_days():
    counter = Counter(Quota(3, "WEEK"), at("2026-04-13T10:00:00"))

    days = [f"2026-04-{day}T10:00:00" for day in (13, 14, 15, 16, 20)]

    assert [counter.take(at(day)) for day in days] == [True, True, True, False, True]


def test_counter_without_quota_counts_and_never_refuses():
    counter = Counter(None, at("2026-04-15T12:00:00"))
    spend(counter, at("2026-04-15T12:00:00"), 1000)

    day = day_number("2026-04-15")
    assert counter.usage(day, day, at("2026-04-15T12:00:00"), quota=None) == [[1000, UNLIMITED]]


def test_counter_gives_no_new_quota_when_the_clock_goes_back():
    counter = Counter(Quota(2, "DAY"), at("2026-04-15T00:00:01"))
    spend(counter, at("2026-04-15T00:00:01"), 2)

    assert counter.take(at("2026-04-14T23:59:59")) is False
    assert counter.take(at("2026-04-15T12:00:00")) is False
    assert counter.take(at("2026-04-16T00:00:00")) is True


def test_counter_extension_in_the_middle_of_a_period_ends_with_it():
    now = at("2026-04-15T12:00:00")
    counter = Counter(Quota(20, "DAY"), now)
    assert spend(counter, now, 21).count(True) == 20

    counter.set_remaining(5, now)

    assert spend(counter, now, 6) == [True] * 5 + [False]
    assert spend(counter, at("2026-04-16T00:00:00"), 21).count(True) == 20


def test_counter_extension_may_also_take_away():
    now = at("2026-04-15T12:00:00")
    counter = Counter(Quota(20, "MONTH"), now)
    spend(counter, now, 3)

    counter.set_remaining(0, now)

    assert counter.take(now) is False
    assert counter.take(at("2026-05-01T00:00:00")) is True


def test_counter_extension_lasts_through_the_days_of_its_period():
    monday = at("2026-04-13T12:00:00")
    counter = Counter(Quota(1, "WEEK"), monday)
    spend(counter, monday, 1)
    counter.set_remaining(2, monday)

    tuesday = at("2026-04-14T12:00:00")

    assert spend(counter, tuesday, 3) == [True, True, False]
    first, last = day_number("2026-04-13"), day_number("2026-04-14")
    assert counter.usage(first, last, tuesday, quota=counter.quota) == [[1, 2], [2, 0]]


def test_counter_change_of_limit_counts_what_was_used():
    now = at("2026-04-15T12:00:00")
    counter = Counter(Quota(2, "DAY"), now)
    spend(counter, now, 2)

    counter.change(Quota(5, "DAY"), now)
    assert spend(counter, now, 4) == [True, True, True, False]

    counter.change(Quota(1, "DAY"), now)
    assert counter.take(now) is False


def test_counter_change_of_period_counts_the_days_of_the_new_one():
    counter = Counter(Quota(10, "DAY"), at("2026-04-13T12:00:00"))
    spend(counter, at("2026-04-13T12:00:00"), 4)
    spend(counter, at("2026-04-15T12:00:00"), 3)

    counter.change(Quota(10, "WEEK"), at("2026-04-15T13:00:00"))

    assert spend(counter, at("2026-04-15T14:00:00"), 4) == [True, True, True, False]


def test_counter_usage_is_a_pair_for_each_day():
    counter = Counter(Quota(10, "DAY"), at("2026-04-13T12:00:00"))
    spend(counter, at("2026-04-13T12:00:00"), 4)
    spend(counter, at("2026-04-15T12:00:00"), 12)

    usage = counter.usage(day_number("2026-04-12"), day_number("2026-04-16"), at("2026-04-15T13:00:00"), quota=counter.quota)

    assert usage == [[0, 10], [4, 6], [0, 10], [10, 0], [0, 10]]


def test_counter_usage_of_a_month_remains_less_by_the_day():
    counter = Counter(Quota(10, "MONTH"), at("2026-04-30T12:00:00"))
    spend(counter, at("2026-04-30T12:00:00"), 4)
    spend(counter, at("2026-05-01T12:00:00"), 1)

    usage = counter.usage(day_number("2026-04-29"), day_number("2026-05-02"), at("2026-05-02T13:00:00"), quota=counter.quota)

    assert usage == [[0, 10], [4, 6], [1, 9], [0, 9]]


def test_counter_shows_usage_late_unless_the_quota_is_used_up():
    start = at("2026-04-15T12:00:00")
    day = day_number("2026-04-15")
    counter = Counter(Quota(3, "DAY"), start)
    for seconds in (0, 100):
        counter.take(start + seconds)
        counter.note(start + seconds)

    assert counter.usage(day, day, start + 100, quota=counter.quota, lag=60) == [[1, 2]]
    assert counter.usage(day, day, start + 161, quota=counter.quota, lag=60) == [[2, 1]]
    counter.take(start + 162)
    counter.note(start + 162)
    assert counter.usage(day, day, start + 162, quota=counter.quota, lag=60) == [[3, 0]]
