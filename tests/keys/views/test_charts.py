from datetime import date, timedelta
from itertools import pairwise

from keys.views.charts import HEIGHT, WIDTH, bar_chart

DAYS = [date(2026, 11, 1) + timedelta(days=offset) for offset in range(14)]


def test_bars_are_as_high_as_their_share_of_the_highest_day() -> None:
    chart = bar_chart([(DAYS[0], 50), (DAYS[1], 200), (DAYS[2], 0)])
    assert [bar.height for bar in chart.bars] == [HEIGHT / 4, HEIGHT, 0]
    assert all(bar.y + bar.height == HEIGHT for bar in chart.bars)
    assert (chart.highest, chart.total) == (200, 250)


def test_a_day_with_requests_is_never_invisible() -> None:
    chart = bar_chart([(DAYS[0], 1), (DAYS[1], 1_000_000)])
    assert chart.bars[0].height == 2


def test_bars_stand_side_by_side_within_the_chart() -> None:
    bars = bar_chart([(day, 1) for day in DAYS]).bars
    assert all(left.x + left.width < right.x for left, right in pairwise(bars))
    assert bars[0].x > 0
    assert bars[-1].x + bars[-1].width < WIDTH


def test_no_days_make_no_bars() -> None:
    assert bar_chart([]).bars == []
