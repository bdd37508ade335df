"""What was asked of API Gateway."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from keys.models.gateway import Gateway


class CallCount(models.Model):
    """Calls of one operation at a gateway in one hour (UTC): the account's rates are a budget, and this is how it was spent."""

    gateway = models.ForeignKey(Gateway, on_delete=models.CASCADE, related_name="call_counts", verbose_name=_("gateway"))
    operation = models.CharField(_("operation"), max_length=40)
    hour = models.DateTimeField(_("hour"))
    calls = models.PositiveIntegerField(_("calls"), default=0)
    throttled = models.PositiveIntegerField(_("answered 429"), default=0)
    failed = models.PositiveIntegerField(_("failed otherwise"), default=0)

    class Meta:
        verbose_name = _("calls")
        verbose_name_plural = _("calls")
        constraints = [models.UniqueConstraint(fields=["gateway", "operation", "hour"], name="call_count_once_an_operation_and_hour")]

    def __str__(self) -> str:
        return f"{self.calls} {self.operation}"
