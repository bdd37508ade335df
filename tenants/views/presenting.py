"""What the settings pages show of tokens, webhooks and deliveries, and the words for what was done with them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from django.utils.translation import gettext as _

from tenants.models import AuditEvent, DeliveryState, EventType, Scope, Token, WebhookDelivery, WebhookEndpoint
from tenants.rights import STAFF_SCOPES, scopes_in_tenant
from tenants.views.history import HistoryLine, lines_of
from tenants.webhooks.payload import told
from tenants.webhooks.selectors import Counts

# A page that shows a delivery asks again while its next try is as near as this.
SOON = timedelta(seconds=30)


@dataclass(frozen=True, kw_only=True)
class TokenRow:
    """One token with what is derived of it at one moment. ``lost``: scopes it was given that its maker no longer has."""

    token: Token
    kind: str
    word: str
    scopes: list[str]
    lost: list[str]


def token_rows(tokens: Sequence[Token], roles: Mapping[Any, str], now: datetime) -> list[TokenRow]:
    """A row for each token. ``roles``: of the tenant's people by id; makers must be selected with the tokens."""
    return [_token_row(token, roles.get(token.user_id), now) for token in tokens]


def _token_row(token: Token, role: str | None, now: datetime) -> TokenRow:
    held = scopes_in_tenant(role) if token.tenant_id else STAFF_SCOPES if token.user.is_staff else frozenset[Scope]()
    if not token.user.is_active:
        held = frozenset()
    kept = [scope for scope in token.scopes if scope in held]
    if token.revoked_at is not None:
        kind, word = "bad", _("Revoked")
    elif not token.is_usable(now):
        kind, word = "off", _("Expired")
    elif not kept:
        kind, word = "warning", _("Has no rights left")
    else:
        kind, word = "good", _("Works")
    return TokenRow(token=token, kind=kind, word=word, scopes=kept, lost=[scope for scope in token.scopes if scope not in held])


@dataclass(frozen=True, kw_only=True)
class EndpointRow:
    """One webhook with its health."""

    endpoint: WebhookEndpoint
    counts: Counts

    @property
    def host(self) -> str:
        return urlsplit(self.endpoint.url).netloc

    @property
    def kind(self) -> str:
        if self.endpoint.disabled_at is not None:
            return "off"
        if self.endpoint.failures:
            return "warning"
        return "good" if self.endpoint.last_delivered_at else "waiting"

    @property
    def word(self) -> str:
        words = {"off": _("Disabled"), "warning": _("Failing"), "good": _("Works"), "waiting": _("Nothing sent yet")}
        return words[self.kind]


@dataclass(frozen=True, kw_only=True)
class DeliveryRow:
    """One delivery with what is derived of it at one moment. ``number``: it is first sent with attempt 1."""

    delivery: WebhookDelivery
    now: datetime

    @property
    def kind(self) -> str:
        return {DeliveryState.WAITING: "waiting", DeliveryState.DELIVERED: "good", DeliveryState.PARKED: "bad"}[self.delivery.state]

    @property
    def word(self) -> str:
        if self.is_waiting and self.delivery.attempts:
            return _("To be tried again")
        return str(self.delivery.state.label)

    @property
    def is_waiting(self) -> bool:
        return self.delivery.state is DeliveryState.WAITING

    @property
    def is_moving(self) -> bool:
        """Whether something will soon be seen, so that a page asks again."""
        return self.is_waiting and self.delivery.endpoint.is_listening and self.delivery.next_try_at - self.now < SOON

    @property
    def verb(self) -> str:
        return _("Try now") if self.is_waiting else _("Replay")

    @property
    def what(self) -> str:
        return str(EventType(self.delivery.event.type).label)

    @property
    def payload(self) -> str:
        """The body as it is sent, with line breaks for people."""
        return json.dumps(told(self.delivery.event), ensure_ascii=False, indent=2)


def history_lines(events: Iterable[AuditEvent]) -> list[HistoryLine]:
    """What was done with an organisation or a webhook. The events' actors must be selected with them."""
    return lines_of(events, _what)


def _what(event: AuditEvent) -> str:
    texts = {
        "tenant.created": _("Created"),
        "tenant.renamed": _("Renamed"),
        "tenant.changed": _("Members changed"),
        "tenant.suspended": _("Suspended"),
        "tenant.resumed": _("Resumed"),
        "webhook.registered": _("Registered"),
        "webhook.changed": _("Changed"),
        "webhook.secret_rotated": _("Secret rotated"),
        "webhook.secret_revealed": _("Secret read"),
        "webhook.disabled": _("Disabled"),
        "webhook.enabled": _("Enabled"),
        "webhook.tested": _("Test sent"),
        "webhook.replayed": _("Delivery replayed"),
    }
    text = texts.get(event.action, event.action)  # an action that this page does not know is shown by its name
    if event.action == "tenant.renamed":
        return _("Renamed from “%(before)s” to “%(after)s”") % {"before": event.data.get("before"), "after": event.data.get("after")}
    if event.action == "webhook.disabled" and event.actor is None:
        return _("Disabled, because it answered 410 Gone")
    return text
