from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from keys import words
from keys.models import Tier


def tier(**fields: object) -> Tier:
    values = {"throttle_rate": Decimal("10.000"), "throttle_burst": 5, "quota_limit": 2000, "quota_period": "DAY"}
    return Tier(**{**values, **fields})


def test_limits_read_as_a_person_would_say_them() -> None:
    assert words.limits_text(tier()) == "10 requests a second, bursts of 5, 2,000 a day"


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        ("1", "1 request a second"),
        ("0.5", "0.5 requests a second"),
        ("1000", "1,000 requests a second"),
        ("2.250", "2.25 requests a second"),
    ],
)
def test_rate_shows_no_idle_zeros(rate: str, text: str) -> None:
    assert words.rate_text(tier(throttle_rate=Decimal(rate))) == text


def test_quota_may_be_absent() -> None:
    assert words.quota_text(tier(quota_limit=None, quota_period="")) == "no quota"


@pytest.mark.parametrize(
    ("minor", "currency", "text"), [(0, "USD", "Free"), (1999, "USD", "$19.99 a month"), (123456, "CHF", "1,234.56 CHF a month")]
)
def test_price_names_amount_and_period(minor: int, currency: str, text: str) -> None:
    assert words.price_text(tier(price_minor=minor, currency=currency)) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0 s"), (45, "45 s"), (61, "1 min"), (22320, "6 h 12 min"), (3 * 86400 + 4 * 3600 + 59, "3 d 4 h")]
)
def test_duration_has_two_units_at_most(seconds: int, text: str) -> None:
    assert words.duration_text(timedelta(seconds=seconds)) == text


NOW = datetime(2028, 2, 29, 23, 59, 59, tzinfo=UTC)  # a Tuesday, and a leap day


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        ("DAY", datetime(2028, 2, 29, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC)),
        ("WEEK", datetime(2028, 2, 28, tzinfo=UTC), datetime(2028, 3, 6, tzinfo=UTC)),
        ("MONTH", datetime(2028, 2, 1, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC)),
    ],
)
def test_periods_are_utc_calendar_windows(period: str, start: datetime, end: datetime) -> None:
    assert words.period_bounds(period, NOW) == (start, end)
