"""Tokens: secrets with which scripts use the REST API."""

import uuid
from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tenants.models.tenant import Tenant


class Scope(models.TextChoices):
    """What a token may do. A scope to write does not include the one to read."""

    KEYS_READ = "keys:read", _("List keys, tiers and what became of keys; without credentials")
    KEYS_WRITE = "keys:write", _("Buy, rename, rotate, enable, disable and revoke keys")
    KEYS_REVEAL = "keys:reveal", _("Read the credentials of keys")
    USAGE_READ = "usage:read", _("Read how much was called")
    TENANT_READ = "tenant:read", _("Read the organisation, its members, tokens, webhooks and audit trail")
    TENANT_WRITE = "tenant:write", _("Change the organisation, and make and end its tokens and webhooks")
    STAFF_READ = "staff:read", _("Read everything that the staff pages show")
    STAFF_WRITE = "staff:write", _("Do what its maker may do on the staff pages")


class TokenQuerySet(models.QuerySet["Token"]):
    def usable(self, now: datetime) -> "TokenQuerySet":
        """Neither revoked nor expired. Whether their makers still have their rights is asked when they are used."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None)


class Token(models.Model):
    """A secret for the REST API, of one person (its maker) in one tenant; of no tenant when it is for staff.

    Only its SHA-256 is kept, beside the first characters, by which it is found and recognised. It never carries more rights than its
    maker has at the moment of use.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, null=True, blank=True, related_name="tokens", verbose_name=_("tenant"))
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="tokens", verbose_name=_("made by"))
    name = models.CharField(_("name"), max_length=100)
    prefix = models.CharField(_("begins with"), max_length=12, unique=True, editable=False)
    sha256 = models.CharField(max_length=64, editable=False)
    scopes = models.JSONField(_("scopes"))
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True, help_text=_("Empty: it works until it is revoked."))
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)
    # Written at most once a minute: good enough to find tokens that nobody uses.
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)

    objects = TokenQuerySet.as_manager()

    class Meta:
        verbose_name = _("token")
        verbose_name_plural = _("tokens")
        constraints = [
            models.CheckConstraint(condition=~Q(name=""), name="token_has_a_name"),
            models.CheckConstraint(
                condition=Q(expires_at=None) | Q(expires_at__gte=F("created_at")), name="token_expires_after_it_was_made"
            ),
        ]
        indexes = [models.Index(fields=["tenant", "-created_at"], name="token_list_of_a_tenant")]

    def __str__(self) -> str:
        return self.name

    def is_usable(self, now: datetime) -> bool:
        """Neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)
