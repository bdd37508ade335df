"""What a tenant does with its webhook endpoints."""

import uuid
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from tenants import secret_values
from tenants.audit import Actor, record
from tenants.models import EventType, Tenant, WebhookDelivery, WebhookEndpoint, WebhookEvent
from tenants.webhooks import signing
from tenants.webhooks.bell import ring
from tenants.webhooks.queue import waiting
from tenants.webhooks.urls import BadUrl, read_url

MOST_ENDPOINTS = 10
LONGEST_DESCRIPTION = 200
# How long, after a new secret was made, what is sent is signed with the old one as well.
SECRET_GRACE = timedelta(hours=24)
# What an endpoint can ask for, in the order of pages. A test is sent to any endpoint.
TYPES = [each for each in EventType if each is not EventType.TEST]


class UnableToChangeWebhook(Exception):
    """A change that was refused; the message is fit for the page. ``field``: which input to mend, where it is one."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class UnfitField(UnableToChangeWebhook):
    """An input that can never be taken, whatever the state of things; ``field`` names it."""


class AlreadyRegistered(UnableToChangeWebhook):
    """The webhook with the id that was given exists: a form was sent twice."""

    def __init__(self) -> None:
        super().__init__(_("This form was sent before: the webhook was registered then."))


def register(
    *, tenant: Tenant, url: str, types: Sequence[str], description: str = "", actor: Actor, endpoint_id: uuid.UUID | None = None
) -> tuple[WebhookEndpoint, str]:
    """Register a URL; the endpoint, and its secret. Raises UnableToChangeWebhook; AlreadyRegistered where ``endpoint_id`` was given before.

    Race: two at the same moment. The tenant's row is locked, so the limit holds, and one id makes one webhook.
    """
    url, types, description = _checked_url(url), _checked_types(types), _checked_description(description)
    secret = signing.new_secret()
    with transaction.atomic():
        Tenant.objects.select_for_update(no_key=True).only("pk").get(pk=tenant.pk)
        if endpoint_id is not None and WebhookEndpoint.objects.filter(pk=endpoint_id).exists():
            raise AlreadyRegistered
        if WebhookEndpoint.objects.filter(tenant=tenant, deleted_at=None).count() >= MOST_ENDPOINTS:
            raise UnableToChangeWebhook(
                _("You have %(most)d webhooks, which is as many as there can be. Delete one first.") % {"most": MOST_ENDPOINTS}
            )
        endpoint = WebhookEndpoint.objects.create(
            id=endpoint_id or uuid.uuid4(),
            tenant=tenant,
            url=url,
            types=types,
            description=description,
            secret_encrypted=secret_values.encrypt(secret),
        )
        record(actor=actor, action="webhook.registered", target=endpoint, tenant=tenant, data={"types": types})
    return endpoint, secret


def change(
    *,
    endpoint: WebhookEndpoint,
    url: str | None = None,
    types: Sequence[str] | None = None,
    description: str | None = None,
    actor: Actor,
) -> WebhookEndpoint:
    """Change what is given; None leaves it. What waits is sent to the new URL. Raises UnableToChangeWebhook."""
    wanted: dict[str, Any] = {}
    if url is not None:
        wanted["url"] = _checked_url(url)
    if types is not None:
        wanted["types"] = _checked_types(types)
    if description is not None:
        wanted["description"] = _checked_description(description)
    with transaction.atomic():
        endpoint = _locked(endpoint)
        changed = {name: value for name, value in wanted.items() if getattr(endpoint, name) != value}
        if not changed:
            return endpoint
        before = _audited(endpoint, changed)
        for name, value in changed.items():
            setattr(endpoint, name, value)
        if "url" in changed:
            endpoint.failures, endpoint.resume_at = 0, None
        endpoint.save(update_fields=[*changed, "failures", "resume_at"])
        data = {"before": before, "after": _audited(endpoint, changed)}
        record(actor=actor, action="webhook.changed", target=endpoint, tenant=endpoint.tenant, data=data)
        ring()
    return endpoint


def rotate_secret(*, endpoint: WebhookEndpoint, actor: Actor) -> str:
    """A new secret. For SECRET_GRACE what is sent is signed with the old one as well.

    Raises UnableToChangeWebhook while an older one still signs: a second rotation would end the one that the receiver has.
    """
    secret = signing.new_secret()
    with transaction.atomic():
        endpoint = _locked(endpoint)
        if endpoint.old_secret_ends_at is not None and endpoint.is_secret_in_grace(timezone.now()):
            raise UnableToChangeWebhook(
                _("The secret was replaced lately, and the old one signs as well until %(when)s UTC. It can be replaced again after that.")
                % {"when": date_format(endpoint.old_secret_ends_at, "j M, H:i")}
            )
        endpoint.old_secret_encrypted, endpoint.old_secret_ends_at = endpoint.secret_encrypted, timezone.now() + SECRET_GRACE
        endpoint.secret_encrypted = secret_values.encrypt(secret)
        endpoint.save(update_fields=["secret_encrypted", "old_secret_encrypted", "old_secret_ends_at"])
        data = {"grace_seconds": int(SECRET_GRACE.total_seconds())}
        record(actor=actor, action="webhook.secret_rotated", target=endpoint, tenant=endpoint.tenant, data=data)
    return secret


def reveal_secret(*, endpoint: WebhookEndpoint, actor: Actor) -> str:
    """The secret in clear, to be put into a receiver. It is written down who read it. Raises UnableToChangeWebhook."""
    with transaction.atomic():
        endpoint = _locked(endpoint)
        try:
            secret = secret_values.decrypt(endpoint.secret_encrypted)
        except secret_values.UnreadableValue as error:
            raise UnableToChangeWebhook(_("The secret can no longer be read. Rotate it to get another one.")) from error
        record(actor=actor, action="webhook.secret_revealed", target=endpoint, tenant=endpoint.tenant)
    return secret


def disable(*, endpoint: WebhookEndpoint, actor: Actor) -> WebhookEndpoint:
    """Send nothing there until it is enabled: what happens meanwhile is not told, and what waits goes on waiting (72 hours at most)."""
    with transaction.atomic():
        endpoint = _locked(endpoint)
        if endpoint.disabled_at is None:
            endpoint.disabled_at = timezone.now()
            endpoint.save(update_fields=["disabled_at"])
            record(actor=actor, action="webhook.disabled", target=endpoint, tenant=endpoint.tenant)
    return endpoint


def enable(*, endpoint: WebhookEndpoint, actor: Actor) -> WebhookEndpoint:
    """Send there again, beginning with what waits."""
    with transaction.atomic():
        endpoint = _locked(endpoint)
        if endpoint.disabled_at is not None:
            endpoint.disabled_at, endpoint.failures, endpoint.resume_at = None, 0, None
            endpoint.save(update_fields=["disabled_at", "failures", "resume_at"])
            record(actor=actor, action="webhook.enabled", target=endpoint, tenant=endpoint.tenant)
            ring()
    return endpoint


def delete(*, endpoint: WebhookEndpoint, actor: Actor) -> None:
    """End an endpoint for ever: what waits is parked, its secrets are erased."""
    with transaction.atomic():
        endpoint = _locked(endpoint)
        now = timezone.now()
        endpoint.deleted_at, endpoint.secret_encrypted, endpoint.old_secret_encrypted = now, "", ""
        endpoint.old_secret_ends_at = None
        endpoint.save(update_fields=["deleted_at", "secret_encrypted", "old_secret_encrypted", "old_secret_ends_at"])
        waiting().filter(endpoint=endpoint).update(parked_at=now, claimed_until=None)
        record(actor=actor, action="webhook.deleted", target=endpoint, tenant=endpoint.tenant)


def send_test(*, endpoint: WebhookEndpoint, actor: Actor) -> WebhookDelivery:
    """Put a ``webhook.test`` in line, whatever types the endpoint asked for. Raises UnableToChangeWebhook while it is disabled."""
    with transaction.atomic():
        endpoint = _locked(endpoint)
        _refuse_disabled(endpoint)
        event = WebhookEvent.objects.create(
            tenant_id=endpoint.tenant_id, type=EventType.TEST, data={"endpoint_id": str(endpoint.pk), "message": _("This is a test.")}
        )
        delivery = WebhookDelivery.objects.create(endpoint=endpoint, event=event)
        _at_once(endpoint)
        record(actor=actor, action="webhook.tested", target=endpoint, tenant=endpoint.tenant)
        ring()
    return delivery


def replay(*, delivery: WebhookDelivery, actor: Actor) -> WebhookDelivery:
    """Put a delivery in line again, delivered or parked; one that waits is tried now. Its ``webhook-id`` stays, so a receiver that acted
    on it knows it. Raises UnableToChangeWebhook while its endpoint is disabled.
    """
    with transaction.atomic():
        endpoint = _locked(delivery.endpoint)
        _refuse_disabled(endpoint)
        delivery = WebhookDelivery.objects.select_for_update(no_key=True).get(pk=delivery.pk)
        now = timezone.now()
        if delivery.delivered_at is not None or delivery.parked_at is not None:
            delivery.delivered_at = delivery.parked_at = delivery.claimed_until = None
            delivery.attempts, delivery.created_at = 0, now
        delivery.next_try_at = now
        delivery.save(update_fields=["delivered_at", "parked_at", "claimed_until", "attempts", "created_at", "next_try_at"])
        _at_once(endpoint)
        data = {"event": str(delivery.event_id)}
        record(actor=actor, action="webhook.replayed", target=endpoint, tenant=endpoint.tenant, data=data)
        ring()
    return delivery


def _locked(endpoint: WebhookEndpoint) -> WebhookEndpoint:
    """The row as it is now, locked. Raises UnableToChangeWebhook once it is deleted."""
    WebhookEndpoint.objects.select_for_update(no_key=True).only("pk").get(pk=endpoint.pk)
    endpoint = WebhookEndpoint.objects.select_related("tenant").get(pk=endpoint.pk)
    if endpoint.deleted_at is not None:
        raise UnableToChangeWebhook(_("This webhook was deleted. Register the URL again."))
    return endpoint


def _refuse_disabled(endpoint: WebhookEndpoint) -> None:
    if endpoint.disabled_at is not None:
        raise UnableToChangeWebhook(_("This webhook is disabled. Enable it first."))


def _at_once(endpoint: WebhookEndpoint) -> None:
    """A person waits for this: an endpoint that rests after failures is asked now."""
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(resume_at=None)


def _audited(endpoint: WebhookEndpoint, names: Iterable[str]) -> dict[str, Any]:
    """Of a URL only scheme and host: what stands behind them may be a secret of the receiver's."""
    return {name: str(endpoint) if name == "url" else getattr(endpoint, name) for name in names}


def _checked_url(url: str) -> str:
    url = url.strip()
    try:
        read_url(url)
    except BadUrl as error:
        raise UnfitField(str(error), field="url") from error
    return url


def _checked_types(types: Sequence[str]) -> list[str]:
    known = [str(each) for each in TYPES]
    unknown = sorted(str(each) for each in set(types) - set(known))
    if unknown:
        message = _("%(unknown)s is not a type of event that can be asked for. There are: %(known)s.")
        raise UnfitField(message % {"unknown": unknown[0][:50], "known": ", ".join(known)}, field="types")
    if not types:
        raise UnfitField(_("Choose at least one type of event."), field="types")
    return [each for each in known if each in types]


def _checked_description(description: str) -> str:
    description = description.strip()
    if len(description) > LONGEST_DESCRIPTION:
        message = _("The description can have %(most)d characters at most.") % {"most": LONGEST_DESCRIPTION}
        raise UnfitField(message, field="description")
    return description
