"""A tier on one gateway."""

import uuid

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from keys.models.gateway import Gateway
from keys.models.synced import Synced
from keys.models.tier import Tier


class UsagePlan(Synced):
    """The API Gateway resource that enforces one tier on one gateway. Its limits are the tier's: ``revision`` grows when those change."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tier = models.ForeignKey(Tier, on_delete=models.PROTECT, related_name="usage_plans", verbose_name=_("tier"))
    gateway = models.ForeignKey(Gateway, on_delete=models.PROTECT, related_name="usage_plans", verbose_name=_("gateway"))
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    # Observed
    observed = models.JSONField(
        _("limits and stages seen at API Gateway"),
        default=dict,
        blank=True,
        editable=False,
        help_text=_("The plan as the gateway last showed it."),
    )
    usage_read_at = models.DateTimeField(_("usage read"), null=True, editable=False)

    canary_checked_at = models.DateTimeField(_("canary called"), null=True, editable=False)
    canary_status = models.PositiveSmallIntegerField(
        _("canary's answer"), null=True, editable=False, help_text=_("The HTTP status; empty when there was no answer.")
    )
    canary_failures = models.PositiveIntegerField(_("canary's failures in a row"), default=0, editable=False)
    canary_error = models.CharField(_("canary's error"), max_length=300, blank=True, editable=False)

    class Meta:
        verbose_name = _("usage plan")
        verbose_name_plural = _("usage plans")
        constraints = [
            models.UniqueConstraint(fields=["tier", "gateway"], name="usage_plan_once_a_tier_and_gateway"),
            models.UniqueConstraint(
                fields=["gateway", "remote_id"], condition=~Q(remote_id=""), name="usage_plan_remote_id_unique_a_gateway"
            ),
        ]
        indexes = [
            models.Index(fields=["gateway"], condition=Q(synced_revision__lt=F("revision")), name="usage_plan_pending_a_gateway"),
        ]

    def __str__(self) -> str:
        return f"{self.tier} on {self.gateway}"

    @property
    def remote_name(self) -> str:
        """The plan's unique name at API Gateway: our mark, the tier for a reader, and the row's id."""
        return f"tollgate-{self.tier.slug}-{self.pk.hex}"
