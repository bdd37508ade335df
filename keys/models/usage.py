"""What was called."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from keys.models.gateway_key import GatewayKey


class UsageDay(models.Model):
    """What API Gateway's GetUsage said of one gateway key and UTC day: requests used, and what then remained of the quota.

    Late by tens of minutes on AWS; ``read_at`` says when it was read. Reading again overwrites.
    """

    gateway_key = models.ForeignKey(GatewayKey, on_delete=models.CASCADE, related_name="usage_days", verbose_name=_("gateway key"))
    date = models.DateField(_("day"))
    used = models.PositiveBigIntegerField(_("requests used"))
    remaining = models.BigIntegerField(_("quota left"), null=True)
    read_at = models.DateTimeField(_("read"))

    class Meta:
        verbose_name = _("usage")
        verbose_name_plural = _("usage")
        constraints = [models.UniqueConstraint(fields=["gateway_key", "date"], name="usage_once_a_gateway_key_and_day")]

    def __str__(self) -> str:
        return f"{self.used} on {self.date}"
