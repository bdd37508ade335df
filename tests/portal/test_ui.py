"""How numbers, times and the current page are written."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
import time_machine
from django.utils.timezone import now

from portal.templatetags import ui

MOMENT = datetime(2026, 11, 21, 14, 3, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (999, "999"), (50_000, "50,000"), (1234.5, "1,234.5"), ("soon", "soon"), (None, "None")]
)
def test_grouped_separates_thousands(value: object, text: str) -> None:
    assert ui.grouped(value) == text


@pytest.mark.parametrize(
    ("used", "limit", "percent"),
    [(0, 20, 0), (10, 20, 50), (1999, 2000, 99), (20, 20, 100), (35, 20, 100), (-5, 20, 0), (5, 0, 0), (5, None, 0), (None, 20, 0)],
)
def test_share_of_is_a_whole_percentage_between_0_and_100(used: object, limit: object, percent: int) -> None:
    assert ui.share_of(used, limit) == percent


@time_machine.travel(MOMENT, tick=False)
@pytest.mark.parametrize(
    ("distance", "text"),
    [
        (timedelta(seconds=3), "just now"),
        (timedelta(minutes=3), "3\xa0minutes ago"),
        (timedelta(hours=26), "1\xa0day ago"),
        (timedelta(seconds=-3), "just now"),
        (timedelta(days=-2), "in 2\xa0days"),
    ],
)
def test_ago_uses_one_unit(distance: timedelta, text: str) -> None:
    assert ui.ago(now() - distance) == text


def test_utc_is_exact_whatever_the_zone() -> None:
    there = MOMENT.astimezone(timezone(timedelta(hours=9)))
    assert ui.utc(there) == "21 Nov 2026, 14:03:09 UTC"
    assert ui.utc_iso(there) == "2026-11-21T14:03:09+00:00"
    assert (ui.utc(None), ui.utc_iso(None), ui.ago(None)) == ("", "", "")


@pytest.mark.parametrize(
    ("path", "url", "attribute"),
    [
        ("/keys/", "/keys/", 'aria-current="page"'),
        ("/keys/buy/free/", "/keys/", 'aria-current="true"'),
        ("/docs/", "/keys/", ""),
        (None, "/keys/", ""),
    ],
)
def test_current_marks_the_page_and_what_lies_below_it(path: object, url: str, attribute: str) -> None:
    assert ui.current(path, url) == attribute
