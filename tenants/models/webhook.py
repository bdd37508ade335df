"""Webhooks: where a tenant wants to be told of what happens, what there was to tell, and what became of each telling."""

import uuid
from datetime import datetime
from urllib.parse import urlsplit

from django.core.validators import URLValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tenants.models.tenant import Tenant

# How long, in hours, a delivery is tried; then it is parked and waits for a person.
TRIED_FOR_HOURS = 72


class EventType(models.TextChoices):
    """What can be told of."""

    KEY_READY = "key.ready", _("A key became ready")
    KEY_ROTATED = "key.rotated", _("A key got a new credential")
    KEY_DISABLED = "key.disabled", _("A key was disabled")
    KEY_REVOKED = "key.revoked", _("A key was revoked")
    QUOTA_80 = "quota.80", _("80 % of a key's quota is used")
    QUOTA_100 = "quota.100", _("A key's quota is used up")
    TEST = "webhook.test", _("A test, sent by hand")


class DeliveryState(models.TextChoices):
    """What a page shows of a delivery. Derived, never stored."""

    WAITING = "waiting", _("Waiting")
    DELIVERED = "delivered", _("Delivered")
    PARKED = "parked", _("Given up")


class WebhookEndpoint(models.Model):
    """A URL of a tenant that is told of some types of event. ``secret`` (encrypted) signs what is sent there."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="webhook_endpoints", verbose_name=_("tenant"))
    url = models.CharField(_("URL"), max_length=500, validators=[URLValidator(schemes=["https", "http"])])
    description = models.CharField(_("description"), max_length=200, blank=True)
    types = models.JSONField(_("types of event"))
    secret_encrypted = models.TextField(editable=False)
    # While an old secret is in its grace period, what is sent bears a signature of each.
    old_secret_encrypted = models.TextField(blank=True, editable=False)
    old_secret_ends_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(_("registered"), default=timezone.now, editable=False)
    disabled_at = models.DateTimeField(_("disabled"), null=True, blank=True)
    deleted_at = models.DateTimeField(_("deleted"), null=True, blank=True)
    # Observed
    last_delivered_at = models.DateTimeField(_("last delivered"), null=True, editable=False)
    last_failed_at = models.DateTimeField(_("last failed"), null=True, editable=False)
    # Failures since the last delivery; from some number on nothing is sent before ``resume_at``, however much is waiting.
    failures = models.PositiveIntegerField(_("failures in a row"), default=0, editable=False)
    resume_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        verbose_name = _("webhook")
        verbose_name_plural = _("webhooks")
        indexes = [
            models.Index(fields=["tenant"], condition=Q(disabled_at=None, deleted_at=None), name="webhook_endpoint_listening"),
        ]

    def __str__(self) -> str:
        """Scheme and host alone: what stands behind them may be a secret of the receiver's, and this is written in the audit trail."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def is_listening(self) -> bool:
        return self.disabled_at is None and self.deleted_at is None

    def is_secret_in_grace(self, now: datetime) -> bool:
        """Whether an old secret still signs beside the new one."""
        return bool(self.old_secret_encrypted) and self.old_secret_ends_at is not None and self.old_secret_ends_at > now


class WebhookEvent(models.Model):
    """One thing that happened, as it is told: ``data`` never holds a credential or another secret.

    ``subject`` is the id of the thing it happened to: what is told of one subject arrives in order. ``once`` (where it is not empty)
    keeps the same event from being written twice, as ``quota.80:KEY:2026-11-01``.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+", verbose_name=_("tenant"))
    type = models.CharField(_("type"), max_length=30, choices=EventType.choices)
    subject = models.CharField(_("about"), max_length=40, blank=True)
    data = models.JSONField(_("data"))
    once = models.CharField(max_length=120, blank=True, editable=False)
    created_at = models.DateTimeField(_("when"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("webhook event")
        verbose_name_plural = _("webhook events")
        constraints = [models.UniqueConstraint(fields=["once"], condition=~Q(once=""), name="webhook_event_told_once")]
        indexes = [
            models.Index(fields=["tenant", "-created_at"], name="webhook_event_newest_first"),
            models.Index(fields=["created_at"], name="webhook_event_oldest_first"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.subject}"


class WebhookDelivery(models.Model):
    """The telling of one event to one endpoint: waiting while neither ``delivered_at`` nor ``parked_at`` is set.

    The id grows with the order of what happened to a subject (its row is locked while it changes), and is the order of sending.
    ``created_at`` is since when it stands in line: a replay puts it there anew.
    """

    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE, related_name="deliveries", verbose_name=_("webhook"))
    event = models.ForeignKey(WebhookEvent, on_delete=models.CASCADE, related_name="deliveries", verbose_name=_("event"))
    subject = models.CharField(max_length=40, blank=True, editable=False)
    created_at = models.DateTimeField(_("since"), default=timezone.now, editable=False)
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    next_try_at = models.DateTimeField(_("next try"), default=timezone.now)
    claimed_until = models.DateTimeField(null=True, editable=False)
    delivered_at = models.DateTimeField(_("delivered"), null=True)
    parked_at = models.DateTimeField(_("given up"), null=True)
    last_status = models.PositiveSmallIntegerField(_("last answer"), null=True)
    last_error = models.CharField(_("last error"), max_length=300, blank=True)
    last_tried_at = models.DateTimeField(_("last tried"), null=True)
    last_milliseconds = models.PositiveIntegerField(_("took ms"), null=True)

    class Meta:
        verbose_name = _("webhook delivery")
        verbose_name_plural = _("webhook deliveries")
        constraints = [
            models.UniqueConstraint(fields=["endpoint", "event"], name="webhook_delivery_once_an_endpoint_and_event"),
            models.CheckConstraint(condition=Q(delivered_at=None) | Q(parked_at=None), name="webhook_delivery_is_delivered_or_parked"),
        ]
        indexes = [
            # Each of these two is for queries that state its last condition, which is always true. After hours in which nothing waited
            # PostgreSQL takes every partial index for nearly empty, and else picks any of them: the smallest, and reads all of it.
            models.Index(
                fields=["endpoint", "next_try_at", "id"],
                condition=Q(delivered_at=None, parked_at=None, attempts__gte=0),
                name="webhook_delivery_due_first",
            ),
            models.Index(
                fields=["created_at"], condition=Q(delivered_at=None, parked_at=None, id__gte=0), name="webhook_delivery_waits_longest"
            ),
            models.Index(
                fields=["endpoint", "subject", "id"], condition=Q(delivered_at=None, parked_at=None), name="webhook_delivery_in_order"
            ),
            models.Index(fields=["endpoint", "-id"], name="webhook_delivery_newest_first"),
        ]

    def __str__(self) -> str:
        return f"{self.event_id} to {self.endpoint_id}"

    @property
    def state(self) -> DeliveryState:
        if self.parked_at is not None:
            return DeliveryState.PARKED
        return DeliveryState.WAITING if self.delivered_at is None else DeliveryState.DELIVERED
