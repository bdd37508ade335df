"""What the pages show of an API key, worked out once for list and detail."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.formats import date_format
from django.utils.translation import gettext as _

from keys import selectors, words
from keys.models import ApiKey, GatewayKey, QuotaPeriod, Status
from keys.selectors import PeriodUsage
from tenants.models import AuditEvent
from tenants.views.history import HistoryLine, lines_of

# The meaning (colour and shape of the dot) of each status; see _components/status.html.
STATUS_KINDS = {Status.READY: "good", Status.PREPARING: "waiting", Status.DISABLED: "off", Status.REVOKED: "bad"}


@dataclass(frozen=True, kw_only=True)
class KeyRow:
    """One API key with what is derived of it at one moment. ``is_renewing``: it works, by the credential before the current one, which is
    still being made."""

    api_key: ApiKey
    status: Status
    is_renewing: bool
    usage: PeriodUsage
    resets: str

    @property
    def kind(self) -> str:
        return STATUS_KINDS[self.status]

    @property
    def is_preparing(self) -> bool:
        return self.status is Status.PREPARING

    @property
    def is_waiting(self) -> bool:
        """Whether its current credential is still being made."""
        return self.is_preparing or self.is_renewing

    @property
    def is_ready(self) -> bool:
        return self.status is Status.READY

    @property
    def is_disabled(self) -> bool:
        return self.status is Status.DISABLED

    @property
    def is_suspended(self) -> bool:
        """Whether it is off because the tenant is: then nobody of the tenant can turn it on."""
        return self.is_disabled and self.api_key.tenant.suspended_at is not None

    @property
    def is_revoked(self) -> bool:
        return self.status is Status.REVOKED


def key_rows(api_keys: Sequence[ApiKey], now: datetime) -> list[KeyRow]:
    """A row for each API key, in two queries whatever their number. Tier, gateway key and tenant must be selected with them."""
    usages = selectors.usages_of_period(api_keys, now)
    renewing = selectors.renewing_among(api_keys, now)
    return [
        KeyRow(
            api_key=api_key,
            status=api_key.status(now, renewing=api_key.pk in renewing),
            is_renewing=api_key.pk in renewing,
            usage=usages[api_key.pk],
            resets=resets_text(usages[api_key.pk].resets_at, api_key.tier.quota_period, now),
        )
        for api_key in api_keys
    ]


def resets_text(resets_at: datetime, period: str, now: datetime) -> str:
    """``resets in 6 h 12 min (00:00 UTC)``; with the date where the period is longer than a day."""
    wait = words.duration_text(resets_at - now)
    moment = date_format(resets_at, "H:i" if period == QuotaPeriod.DAY else "j M, H:i")
    return _("resets in %(wait)s (%(moment)s UTC)") % {"wait": wait, "moment": moment}


def history_lines(events: Sequence[AuditEvent]) -> list[HistoryLine]:
    """What was done with an API key. The events' actors must be selected with them."""
    return lines_of(events, _what_happened)


def _what_happened(event: AuditEvent) -> str:
    texts = {
        "api_key.bought": _("Bought"),
        "api_key.renamed": _("Renamed"),
        "api_key.disabled": _("Disabled"),
        "api_key.enabled": _("Enabled"),
        "api_key.rotated": _("Rotated"),
        "api_key.revoked": _("Revoked"),
        "api_key.revealed": _("Credential read"),
        "api_key.adopted": _("Taken over by our staff, with the credential it had"),
        "api_key.moved": _("Given a new credential by our staff"),
        "api_key.repaired": _("Found changed at the gateway, and put right"),
    }
    text = texts.get(event.action, event.action)  # an action that this page does not know is shown by its name
    before, after = event.data.get("before"), event.data.get("after")
    if event.action == "api_key.rotated" and before and after:
        text = _("Rotated: ...%(before)s was replaced by ...%(after)s") % {"before": before, "after": after}
    if event.data.get("endpoint"):
        return _("%(what)s; calls now go to %(url)s") % {"what": text, "url": event.data["endpoint"]}
    if event.action == "api_key.renamed":
        name = (after or {}).get("name")
        return _("Renamed to “%(name)s”") % {"name": name} if name else text
    return text


@dataclass(frozen=True, kw_only=True)
class OldCredential:
    """A credential that was rotated away and still works. ``is_elsewhere``: at another URL than the present one."""

    last_four: str
    ends_at: datetime
    left: str
    is_elsewhere: bool


def old_credentials(api_key: ApiKey, gateway_keys: Sequence[GatewayKey], now: datetime) -> list[OldCredential]:
    """Those in their grace period, with the time that each has left. Gateways may stand behind one URL."""
    here = api_key.gateway_key.gateway_id
    urls = selectors.urls_by_gateway(api_key.tier_id) if any(each.gateway_id != here for each in gateway_keys) else {}
    return [
        OldCredential(
            last_four=each.last_four,
            ends_at=each.ends_at,
            left=words.duration_text(each.ends_at - now),
            is_elsewhere=each.gateway_id != here and urls.get(each.gateway_id) != urls.get(here),
        )
        for each in gateway_keys
        if each.ends_at is not None
    ]
