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
    calls = models.PositiveIntegerField(_("calls"), default=0)
    dry_run = models.BooleanField(_("only looked"), default=False)
    stopped = models.TextField(_("stopped"), blank=True, help_text=_("Why nothing was disabled or deleted, though there was something."))
    error = models.TextField(_("error"), blank=True)

    class Meta:
        verbose_name = _("reconcile run")
        verbose_name_plural = _("reconcile runs")
        indexes = [models.Index(fields=["gateway", "-started_at"], name="reconcile_run_newest_first")]

    def __str__(self) -> str:
        return f"reconcile run of {self.started_at:%Y-%m-%d %H:%M} UTC"


class FindingKind(models.TextChoices):
    """The ways in which a gateway and the database can differ."""

    MISSING = "missing", _("Missing at the gateway")
    EXTRA = "extra", _("Extra at the gateway, with our mark")
    FOREIGN = "foreign", _("Somebody else's")
    DETACHED = "detached", _("Not in its usage plan")
    WRONG_PLAN = "wrong_plan", _("In a usage plan that it shall not be in")
    WRONG_ENABLED = "wrong_enabled", _("Enabled or disabled against its row")
    WRONG_LIMITS = "wrong_limits", _("Other limits than the tier's")
    WRONG_STAGE = "wrong_stage", _("Other stages than the tier's")
    DUPLICATE = "duplicate", _("Held twice")
    STALE_NAME = "stale_name", _("Under another name")


class FindingState(models.TextChoices):
    """What has become of a finding. Derived, never stored."""

    OPEN = "open", _("Open")
    REPAIRING = "repairing", _("Being repaired")
    QUARANTINE = "quarantine", _("In quarantine")
    RESOLVED = "resolved", _("Resolved")


class Finding(models.Model):
    """One difference. An extra key is quarantined (disabled), kept for a while, then deleted; the times say when.

    ``row_id``: of the usage plan or gateway key that was thrown out of step to repair it; the finding is over once that row is in step
    again, and ``trouble`` says why it is not yet. Null where nothing is repaired that way.
    """

    run = models.ForeignKey(ReconcileRun, on_delete=models.CASCADE, related_name="findings", verbose_name=_("run"))
    gateway = models.ForeignKey(Gateway, on_delete=models.CASCADE, related_name="findings", verbose_name=_("gateway"))
    kind = models.CharField(_("kind"), max_length=20, choices=FindingKind.choices)
    subject = models.CharField(_("what"), max_length=20, help_text=_("usage plan or gateway key"))
    remote_id = models.CharField(_("id at API Gateway"), max_length=64, blank=True)
    label = models.CharField(_("name"), max_length=1024, blank=True)
    before = models.CharField(_("as it was"), max_length=500, blank=True)
    after = models.CharField(_("as it shall be"), max_length=500, blank=True)
    detail = models.CharField(_("difference"), max_length=500)
    action = models.CharField(_("what is done"), max_length=200)
    row_id = models.UUIDField(null=True, editable=False)
    trouble = models.CharField(_("why the repair failed"), max_length=500, blank=True, editable=False)
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
            models.Index(fields=["gateway"], condition=Q(row_id__isnull=False, resolved_at=None), name="finding_under_repair"),
            models.Index(fields=["gateway", "kind"], condition=Q(resolved_at=None), name="finding_open"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject} {self.label}"

    @property
    def state(self) -> FindingState:
        """What has become of it."""
        if self.resolved_at is not None:
            return FindingState.RESOLVED
        if self.quarantined_at is not None:
            return FindingState.QUARANTINE
        return FindingState.OPEN if self.row_id is None or self.trouble else FindingState.REPAIRING
