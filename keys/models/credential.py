"""The secret a tenant sends."""

import uuid

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from keys.models.api_key import ApiKey
from keys.models.gateway_key import GatewayKey


class Credential(models.Model):
    """A secret with which calls of one API key are made, and from when to when.

    Today the secret is the value of the gateway key it stands on. It is a row of its own, apart from API key and gateway key, so
    that a rotation can have two of them alive, and so that each tenant of a pooled tier can get a secret of its own.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    api_key = models.ForeignKey(ApiKey, on_delete=models.PROTECT, related_name="credentials", verbose_name=_("API key"))
    gateway_key = models.ForeignKey(GatewayKey, on_delete=models.PROTECT, related_name="credentials", verbose_name=_("gateway key"))
    created_at = models.DateTimeField(_("valid from"), default=timezone.now, editable=False)
    ends_at = models.DateTimeField(_("valid until"), null=True, blank=True, help_text=_("Empty for the current one."))

    class Meta:
        verbose_name = _("credential")
        verbose_name_plural = _("credentials")
        constraints = [
            models.UniqueConstraint(fields=["api_key"], condition=Q(ends_at=None), name="credential_one_current_an_api_key"),
            models.CheckConstraint(condition=Q(ends_at=None) | Q(ends_at__gte=F("created_at")), name="credential_ends_after_it_begins"),
        ]

    def __str__(self) -> str:
        return f"credential of {self.api_key_id}"
