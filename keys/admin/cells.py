"""What stands in a cell of a staff table: numbers, times, states and bars, drawn by the same components as the tenants' pages."""

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from django.db import models
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from keys import words
from keys.models import ApiKey, GatewayKey, Isolation, KeyRole, Status, Tier, UsagePlan

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

DASH = "-"
KEY_STATUS = {Status.READY: "good", Status.PREPARING: "waiting", Status.DISABLED: "off", Status.REVOKED: "off"}


def status(kind: str, word: "StrOrPromise") -> SafeString:
    """A dot and a word. ``kind``: good, waiting, warning, bad, off."""
    return render_to_string("_components/status.html", {"kind": kind, "word": word})


def badge(word: "StrOrPromise", kind: str = "") -> SafeString:
    """A word in a frame."""
    return render_to_string("_components/badge.html", {"kind": kind, "word": word})


def moment(value: datetime | None, never: "StrOrPromise" = DASH) -> SafeString:
    """A time relative to now, with the exact one in its tooltip; ``never`` where there is none."""
    return render_to_string("_components/time.html", {"value": value, "never": never})


def meter(used: int, limit: int, note: str = "") -> SafeString:
    """A bar with its numbers: ``1,240 of 10,000``."""
    return render_to_string("_components/meter.html", {"used": used, "limit": limit, "note": note})


def number(value: int | Decimal | None) -> SafeString:
    """A number to stand under others, right-aligned."""
    return format_html('<span class="number">{}</span>', DASH if value is None else words.number_of(value))


def right(text: str) -> SafeString:
    """Text about a number, right-aligned as numbers are."""
    return format_html('<span class="number">{}</span>', text)


def lines(first: str, *more: str) -> SafeString:
    """Lines, those after the first quieter and free to wrap; nothing of those that are empty."""
    return format_html("{}{}", first, format_html_join("", '<span class="second">{}</span>', ((line,) for line in more if line)))


def isolation_word(tier: Tier) -> str:
    """``Siloed`` or ``Pooled``."""
    return str(Isolation(tier.isolation).label).partition(":")[0]


def percent(share: float) -> str:
    """``33 %``; small ones to two digits that say something: ``4 %``, ``0.1 %``."""
    shown = f"{share * 100:.0f}" if share >= 0.1 or share == 0 else f"{float(f'{share * 100:.2g}'):f}".rstrip("0").rstrip(".")
    return _("%(share)s %%") % {"share": shown}


def last_four(value: str) -> SafeString:
    """The end of a value: all of it that staff see."""
    return format_html('<code class="mono">...{}</code>', value)


def change_url(row: models.Model) -> str:
    """The staff page of a row."""
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def link(row: models.Model) -> SafeString:
    """The row's name, leading to its staff page."""
    return format_html('<a href="{}">{}</a>', change_url(row), str(row))


def role_word(gateway_key: GatewayKey) -> str:
    """``Pool``, ``Silo``, ``Spare`` or ``Canary``."""
    return str(KeyRole(gateway_key.role).label).partition(":")[0]


def api_key_status(api_key: ApiKey, now: datetime, *, renewing: bool) -> SafeString:
    """Ready, preparing, disabled or revoked; and whether a new credential is on its way. Reads ``gateway_key`` and ``tenant``: select them
    with the row. ``renewing``: as ``selectors.renewing`` says."""
    shown = api_key.status(now, renewing=renewing)
    on_its_way = shown is Status.READY and not api_key.gateway_key.is_in_service(now)
    return lines(status(KEY_STATUS[shown], shown.label), _("New credential on its way") if on_its_way else "")


def sync_state(row: UsagePlan | GatewayKey, now: datetime) -> tuple[str, str]:
    """How a row stands between what it shall be and what the gateway last showed, as (kind, word)."""
    pending = row.is_pending
    if isinstance(row, GatewayKey):
        if row.removed_at is not None:
            return "off", _("Gone")
        pending = pending or (row.ends_at is not None and row.ends_at <= now)
    if not pending:
        return "good", _("In step")
    if row.permanent:
        return "bad", _("Needs a person")
    return ("warning", _("Failing, tried again")) if row.last_error else ("waiting", _("Pending"))
