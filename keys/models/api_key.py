"""What a tenant bought."""

import uuid
from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from keys.models.gateway_key import GatewayKey
from keys.models.tier import Tier
from tenants.models import Tenant


class Status(models.TextChoices):
    """What a page shows of an API key. Derived, never stored."""

    PREPARING = "preparing", _("Preparing")
    READY = "ready", _("Ready")
    DISABLED = "disabled", _("Disabled")
    REVOKED = "revoked", _("Revoked")


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def live(self) -> "ApiKeyQuerySet":
        """Not revoked."""
        return self.filter(revoked_at=None)

    def of(self, tenant: Tenant) -> "ApiKeyQuerySet":
        return self.filter(tenant=tenant)


class ApiKey(models.Model):
    """A tenant's purchase of one tier. It stands on a gateway key; on a pooled tier it holds one slot of it.

    ``slot`` is null on a siloed tier, and once the key is revoked.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # No index of tenant or tier alone: each of a million rows would pay for it, and where PostgreSQL's statistics are a minute old it
    # would read all keys of a tier to find a tenant's.
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, db_index=False, related_name="api_keys", verbose_name=_("tenant"))
    tier = models.ForeignKey(Tier, on_delete=models.PROTECT, db_index=False, related_name="api_keys", verbose_name=_("tier"))
    gateway_key = models.ForeignKey(GatewayKey, on_delete=models.PROTECT, related_name="api_keys", verbose_name=_("gateway key"))
    slot = models.BigIntegerField(_("slot"), null=True, blank=True)
    name = models.CharField(_("name"), max_length=100)
    description = models.CharField(_("description"), max_length=500, blank=True)
    disabled_at = models.DateTimeField(_("disabled"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)
    purchase_token = models.UUIDField(_("purchase token"), default=uuid.uuid4, editable=False)
    # Whether webhooks of the tenant are to be told once this API key is ready; see keys.services.events.
    awaits_ready = models.BooleanField(default=False, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("bought by")
    )
    created_at = models.DateTimeField(_("bought"), default=timezone.now, editable=False)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        constraints = [
            models.UniqueConstraint(fields=["tenant", "purchase_token"], name="api_key_bought_once_a_purchase_token"),
            models.UniqueConstraint(fields=["gateway_key", "slot"], condition=Q(slot__isnull=False), name="api_key_alone_on_its_slot"),
            models.UniqueConstraint(
                fields=["gateway_key"], condition=Q(slot=None, revoked_at=None), name="api_key_alone_on_its_siloed_gateway_key"
            ),
            models.CheckConstraint(condition=Q(slot=None) | Q(revoked_at=None), name="api_key_revoked_holds_no_slot"),
            models.CheckConstraint(condition=~Q(name=""), name="api_key_has_a_name"),
        ]
        indexes = [
            # With the id: lists go on from a row, also among thousands that one import made at the same moment.
            models.Index(fields=["tenant", "-created_at", "-id"], name="api_key_newest_of_a_tenant"),
            models.Index(fields=["-created_at", "-id"], name="api_key_newest_first"),
            models.Index(fields=["tenant", "tier"], condition=Q(revoked_at=None), name="api_key_live_of_tenant_tier"),
            models.Index(fields=["tier", "tenant"], condition=Q(revoked_at=None), name="api_key_live_of_a_tier"),
            models.Index(fields=["id"], condition=Q(awaits_ready=True), name="api_key_to_be_told_ready"),
        ]

    def __str__(self) -> str:
        return self.name

    def status(self, now: datetime, *, renewing: bool = False) -> Status:
        """What the page shows. Reads ``gateway_key`` and ``tenant``: select them with the row.

        ``renewing``: whether the credential before the current one is answered until that one is, as ``selectors.renewing_among`` says.
        Then the API key works. Without it the status is that of the current credential.
        """
        if self.revoked_at:
            return Status.REVOKED
        if self.disabled_at or self.tenant.suspended_at:
            return Status.DISABLED
        return Status.READY if renewing or self.gateway_key.is_in_service(now) else Status.PREPARING
