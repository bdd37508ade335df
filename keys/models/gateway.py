"""API Gateway in one AWS account and Region."""

import uuid

from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

# API keys an account and Region holds; AWS does not raise it (developer guide, "Amazon API Gateway quotas").
AWS_KEY_CAP = 10_000


class Gateway(models.Model):
    """Where usage plans and gateway keys live; has AWS's limits, and the lease that lets one worker at a time speak to it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(_("name"), max_length=100, unique=True)
    account_id = models.CharField(
        _("AWS account"), max_length=12, validators=[RegexValidator(r"^\d{12}$", _("An AWS account id has 12 digits."))]
    )
    region = models.CharField(
        _("Region"), max_length=32, validators=[RegexValidator(r"^[a-z]{2}(-[a-z]+)+-\d$", _("Write a Region as us-east-1."))]
    )
    capacity = models.PositiveIntegerField(_("key cap"), default=AWS_KEY_CAP, help_text=_("API keys this account and Region may hold."))
    accepts_keys = models.BooleanField(_("accepts new keys"), default=True)
    propagation_seconds = models.PositiveIntegerField(
        _("propagation time"),
        default=60,
        help_text=_("Seconds until a key that API Gateway holds is also answered by it. On AWS up to minutes."),
    )
    created_at = models.DateTimeField(_("registered"), default=timezone.now, editable=False)
    # Desired
    reconcile_requested_at = models.DateTimeField(_("reconcile asked for"), null=True, editable=False)
    # Observed: written by sync alone
    lease_owner = models.CharField(_("lease holder"), max_length=100, blank=True, editable=False)
    lease_expires_at = models.DateTimeField(_("lease until"), null=True, editable=False)
    last_seen_at = models.DateTimeField(_("last answer"), null=True, editable=False)
    last_reconciled_at = models.DateTimeField(_("last reconciled"), null=True, editable=False)
    usage_read_at = models.DateTimeField(_("usage read"), null=True, editable=False)
    observed_keys = models.PositiveIntegerField(_("keys held when last listed"), null=True, editable=False)
    failures = models.PositiveIntegerField(_("failures in a row"), default=0, editable=False)
    resume_at = models.DateTimeField(_("left alone until"), null=True, editable=False, help_text=_("The circuit breaker's end."))
    last_error = models.TextField(_("last error"), blank=True, editable=False)
    last_error_at = models.DateTimeField(_("at"), null=True, editable=False)

    class Meta:
        verbose_name = _("gateway")
        verbose_name_plural = _("gateways")
        constraints = [
            models.UniqueConstraint(fields=["account_id", "region"], name="gateway_once_an_account_and_region"),
            models.CheckConstraint(condition=models.Q(capacity__gte=1), name="gateway_has_room_for_a_key"),
        ]

    def __str__(self) -> str:
        return self.name
