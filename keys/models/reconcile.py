"""What comparing a gateway with the database found, and what was done about it."""

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from keys.models.gateway import Gateway


class ReconcileRun(models.Model):
    """One comparison of everything on a gateway."""

    gateway = models.ForeignKey(Gateway, on_delete=models.CASCADE, related_name="reconcile_runs", verbose_name=_("gateway"))
    started_at = models.DateTimeField(_("started"), default=timezone.now)
    ended_at = models.DateTimeField(_("ended"), null=True)
    keys_listed = models.PositiveIntegerField(_("keys listed"), default=0)
    plans_listed = models.PositiveIntegerField(_("plans listed"), default=0)
    error = models.TextField(_("error"), blank=True)

    class Meta:
        verbose_name = _("reconcile run")
        verbose_name_plural = _("reconcile runs")
        indexes = [models.Index(fields=["gateway", "-started_at"], name="reconcile_run_newest_first")]

    def __str__(self) -> str:
        return f"reconcile of {self.gateway_id} at {self.started_at:%Y-%m-%d %H:%M}"


class FindingKind(models.TextChoices):
    """The ways in which a gateway and the database can differ."""

    MISSING = "missing", _("Missing at the gateway")
    DIFFERS = "differs", _("Differs from what it shall be")
    EXTRA = "extra", _("Extra at the gateway, with our mark")


class Finding(models.Model):
    """One difference. An extra key is quarantined (disabled), kept for a while, then deleted; the times say when."""

    run = models.ForeignKey(ReconcileRun, on_delete=models.CASCADE, related_name="findings", verbose_name=_("run"))
    gateway = models.ForeignKey(Gateway, on_delete=models.CASCADE, related_name="findings", verbose_name=_("gateway"))
    kind = models.CharField(_("kind"), max_length=10, choices=FindingKind.choices)
    subject = models.CharField(_("what"), max_length=20, help_text=_("usage plan or gateway key"))
    remote_id = models.CharField(_("id at API Gateway"), max_length=64, blank=True)
    label = models.CharField(_("name"), max_length=1024, blank=True)
    detail = models.CharField(_("difference"), max_length=500)
    action = models.CharField(_("what was done"), max_length=200)
    found_at = models.DateTimeField(_("found"), default=timezone.now)
    quarantined_at = models.DateTimeField(_("quarantined"), null=True)
    resolved_at = models.DateTimeField(_("resolved"), null=True)

    class Meta:
        verbose_name = _("finding")
        verbose_name_plural = _("findings")
        indexes = [
            models.Index(
                fields=["gateway", "remote_id"],
                condition=Q(quarantined_at__isnull=False, resolved_at=None),
                name="finding_in_quarantine",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject} {self.label}"
