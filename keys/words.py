"""Limits, prices and times in the words people use. Every page, mail and document takes them from here."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from keys.models import QuotaPeriod, Tier

CURRENCY_SIGNS = {"USD": "$", "EUR": "€", "GBP": "£"}


def rate_text(tier: Tier) -> str:
    """``10 requests a second``."""
    rate = tier.throttle_rate
    shown = number_of(rate)
    return _("1 request a second") if rate == 1 else _("%(rate)s requests a second") % {"rate": shown}


def burst_text(tier: Tier) -> str:
    """``bursts of 5``."""
    return _("bursts of %(burst)s") % {"burst": number_of(tier.throttle_burst)}


def quota_text(tier: Tier) -> str:
    """``2,000 a day``, or ``no quota``."""
    if tier.quota_limit is None:
        return _("no quota")
    texts = {
        QuotaPeriod.DAY: _("%(limit)s a day"),
        QuotaPeriod.WEEK: _("%(limit)s a week"),
        QuotaPeriod.MONTH: _("%(limit)s a month"),
    }
    return texts[QuotaPeriod(tier.quota_period)] % {"limit": number_of(tier.quota_limit)}


def limits_text(tier: Tier) -> str:
    """``10 requests a second, bursts of 5, 2,000 a day``."""
    return ", ".join([rate_text(tier), burst_text(tier), quota_text(tier)])


def amount_text(tier: Tier) -> str:
    """``Free`` or ``$19.99``."""
    if tier.price_minor == 0:
        return _("Free")
    amount = number_format(Decimal(tier.price_minor) / 100, 2, force_grouping=True)
    sign = CURRENCY_SIGNS.get(tier.currency)
    return f"{sign}{amount}" if sign else f"{amount} {tier.currency}"


def price_text(tier: Tier) -> str:
    """``Free`` or ``$19.99 a month``."""
    return amount_text(tier) if tier.price_minor == 0 else _("%(amount)s a month") % {"amount": amount_text(tier)}


def number_of(number: Decimal | int) -> str:
    """With thousands separated, and without zeros that say nothing: ``2,000``, ``0.5``."""
    if isinstance(number, Decimal):
        number = number.normalize()
        exponent = number.as_tuple().exponent
        places = max(0, -exponent) if isinstance(exponent, int) else 0
        return number_format(number, places, force_grouping=True)
    return number_format(number, 0, force_grouping=True)


def duration_text(duration: timedelta) -> str:
    """``6 h 12 min``, ``3 d 4 h``, ``45 s``: two units at most, rounded down."""
    seconds = max(0, int(duration.total_seconds()))
    days, seconds = divmod(seconds, 86400)
    hours, seconds = divmod(seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    if days:
        return _("%(days)d d %(hours)d h") % {"days": days, "hours": hours}
    if hours:
        return _("%(hours)d h %(minutes)d min") % {"hours": hours, "minutes": minutes}
    return _("%(minutes)d min") % {"minutes": minutes} if minutes else _("%(seconds)d s") % {"seconds": seconds}


def period_bounds(period: str, now: datetime) -> tuple[datetime, datetime]:
    """Start and end of the quota period that ``now`` is in: UTC calendar days, weeks from Monday, months.

    AWS does not document when a quota resets; UTC calendar windows are this project's choice, and the sandbox's.
    """
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == QuotaPeriod.DAY:
        return day, day + timedelta(days=1)
    if period == QuotaPeriod.WEEK:
        monday = day - timedelta(days=day.weekday())
        return monday, monday + timedelta(days=7)
    first = day.replace(day=1)
    return first, (first + timedelta(days=32)).replace(day=1)


def used_text(used: int, limit: int) -> str:
    """``1,240 of 2,000``."""
    return _("%(used)s of %(limit)s") % {"used": number_of(used), "limit": number_of(limit)}


def counted(number: int, noun: str, plural: str = "") -> str:
    """``1 usage plan``, ``3,120 usage plans``: for commands, whose words are not translated."""
    return f"{number_of(number)} {noun if number == 1 else plural or f'{noun}s'}"


def who_is_told() -> str:
    """How tenants learn that staff gave a key of theirs another credential: there is no mail."""
    return _("Tenants with a webhook are told; the others read it on the page of their key alone: tell them yourself.")


def keys_text(count: int) -> str:
    """``1 key``, ``3,120 keys``."""
    return ngettext("%(count)s key", "%(count)s keys", count) % {"count": number_of(count)}
