"""``{% load ui %}``: how numbers, times and the current page are written, the same on every page."""

from datetime import UTC, datetime

from django import template
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import gettext as _

register = template.Library()

SECONDS_CALLED_NOW = 60


@register.filter
def grouped(value: object) -> str:
    """A number with thousands separators: 50,000. What is no number stays as it is."""
    return f"{value:,}" if isinstance(value, int | float) else str(value)


@register.filter
def share_of(used: object, limit: object) -> int:
    """``used`` as a whole percentage of ``limit``, at most 100, and 0 where there is no limit. 99.6 % is not yet 100."""
    if not isinstance(used, int | float) or not isinstance(limit, int | float) or limit <= 0:
        return 0
    return max(0, min(100, int(used * 100 // limit)))


@register.filter
def utc(value: object) -> str:
    """The exact time in UTC, as in tooltips: 21 Nov 2026, 14:03:09 UTC."""
    if not isinstance(value, datetime):
        return ""
    return date_format(_in_utc(value), "j M Y, H:i:s") + " UTC"


@register.filter
def utc_iso(value: object) -> str:
    """The exact time for ``<time datetime>``."""
    return _in_utc(value).isoformat(timespec="seconds") if isinstance(value, datetime) else ""


@register.filter
def ago(value: object) -> str:
    """The time relative to now, in one unit: "3 minutes ago", "in 2 days", "just now"."""
    if not isinstance(value, datetime):
        return ""
    now = timezone.now()
    moment = _in_utc(value)
    if abs((now - moment).total_seconds()) < SECONDS_CALLED_NOW:
        return _("just now")
    if moment < now:
        return _("%(time)s ago") % {"time": timesince(moment, now, depth=1)}
    return _("in %(time)s") % {"time": timesince(now, moment, depth=1)}


@register.simple_tag
def current(path: object, url: object) -> SafeString:
    """``aria-current`` of a navigation link to ``url`` on the page ``path``: "page" on it, "true" below it."""
    if not isinstance(path, str) or not isinstance(url, str):
        return SafeString("")
    if path == url:
        return SafeString('aria-current="page"')
    return SafeString('aria-current="true"') if path.startswith(url) else SafeString("")


def _in_utc(value: datetime) -> datetime:
    return value.astimezone(UTC) if timezone.is_aware(value) else value.replace(tzinfo=UTC)
