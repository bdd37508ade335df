"""The bars of a key's page: requests a day, drawn as SVG by the template, without JavaScript."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

WIDTH, HEIGHT = 560, 120  # of the SVG's own units
BAR_SHARE = 0.6  # of a day's width that is bar


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One day. Units are those of the SVG; a day with requests is never lower than 2, so that it can be seen."""

    day: date
    used: int
    x: float
    y: float
    width: float
    height: float
    middle: float


@dataclass(frozen=True, kw_only=True)
class BarChart:
    """Bars, and the highest day that scales them."""

    bars: list[Bar]
    highest: int
    total: int
    width: int = WIDTH
    height: int = HEIGHT


def bar_chart(days: Sequence[tuple[date, int]]) -> BarChart:
    """One bar for each day, the highest as high as the chart."""
    highest = max((used for _day, used in days), default=0)
    slot = WIDTH / max(1, len(days))
    bars = []
    for place, (day, used) in enumerate(days):
        height = max(2.0, round(HEIGHT * used / highest, 1)) if used else 0.0
        width = round(slot * BAR_SHARE, 1)
        left = round(place * slot + (slot - width) / 2, 1)
        middle = round(left + width / 2, 1)
        bars.append(Bar(day=day, used=used, x=left, y=HEIGHT - height, width=width, height=height, middle=middle))
    return BarChart(bars=bars, highest=highest, total=sum(used for _day, used in days))
