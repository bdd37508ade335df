"""A customer organisation."""

import uuid

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class Tenant(models.Model):
    """The customer organisation that buys API keys. Its row is the lock that serialises its own purchases."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(_("name"), max_length=100)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    suspended_at = models.DateTimeField(
        _("suspended"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("While it is, its own keys are refused and nothing can be bought."),
    )

    class Meta:
        verbose_name = _("tenant")
        verbose_name_plural = _("tenants")
        constraints = [models.CheckConstraint(condition=~models.Q(name=""), name="tenant_has_a_name")]

    def __str__(self) -> str:
        return self.name
