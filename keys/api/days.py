"""``from`` and ``to`` of what is asked about usage: UTC days, both among those that are told of."""

import re
from datetime import UTC, date, timedelta

from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from tenants.api.problems import invalid

MOST_DAYS = 366
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DAY_SCHEMA = {"type": "string", "format": "date"}
DAYS = [
    OpenApiParameter("from", _DAY_SCHEMA, description="First UTC day; by default the first of the month of `to`."),
    OpenApiParameter("to", _DAY_SCHEMA, description=f"Last UTC day, which is in it; today by default. At most {MOST_DAYS} days."),
]


def days_of(request: Request) -> tuple[date, date]:
    """``from`` and ``to`` of the request. Raises Problem."""
    today = timezone.now().astimezone(UTC).date()
    last = _day_of(request, "to", today)
    first = _day_of(request, "from", last.replace(day=1))
    if first > last:
        raise invalid("from", _("The first day comes after the last one."))
    if last - first >= timedelta(days=MOST_DAYS):
        raise invalid("from", _("Ask for at most %(most)d days.") % {"most": MOST_DAYS})
    return first, last


def _day_of(request: Request, name: str, default: date) -> date:
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        # The function alone reads 20261121 and 2026-W47-6 as well.
        day = date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None:
        raise invalid(name, _("Write a day as 2026-11-21."))
    return day
