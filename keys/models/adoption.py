"""Taking over what an API has already."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from keys.models.gateway import Gateway


class AdoptionState(models.TextChoices):
    """How far an adoption is. Derived, never stored."""

    LOOKING = "looking", _("Looking")
    PROPOSED = "proposed", _("Waits for a decision")
    CONFIRMED = "confirmed", _("Being taken over")
    APPLIED = "applied", _("Taken over")
    WITHDRAWN = "withdrawn", _("Withdrawn")
    FAILED = "failed", _("Failed")


class Adoption(models.Model):
    """Usage plans and keys that somebody made by other means, and what shall become of them here.

    Asked for -> proposed (a worker listed what is there) -> confirmed with decisions -> applied. The times say how far it is; ``error``
    says why it went no further. Neither proposal nor decisions hold a credential.
    """

    gateway = models.ForeignKey(Gateway, on_delete=models.CASCADE, related_name="adoptions", verbose_name=_("gateway"))
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("asked for by")
    )
    asked_at = models.DateTimeField(_("asked for"), default=timezone.now, editable=False)
    decisions = models.JSONField(_("decisions"), default=dict, blank=True)
    confirmed_at = models.DateTimeField(_("confirmed"), null=True, editable=False)
    withdrawn_at = models.DateTimeField(_("withdrawn"), null=True, editable=False)
    # Observed
    proposal = models.JSONField(_("proposal"), default=dict, blank=True, editable=False)
    proposed_at = models.DateTimeField(_("proposed"), null=True, editable=False)
    applied_at = models.DateTimeField(_("applied"), null=True, editable=False)
    report = models.JSONField(_("what was taken over"), default=dict, blank=True, editable=False)
    next_try_at = models.DateTimeField(_("next try"), null=True, editable=False)
    error = models.TextField(_("error"), blank=True, editable=False)

    class Meta:
        verbose_name = _("adoption")
        verbose_name_plural = _("adoptions")
        constraints = [
            models.UniqueConstraint(
                fields=["gateway"], condition=Q(applied_at=None, withdrawn_at=None, error=""), name="adoption_one_at_work_a_gateway"
            ),
        ]
        indexes = [models.Index(fields=["gateway", "-asked_at"], name="adoption_newest_first")]

    def __str__(self) -> str:
        return f"adoption of {self.asked_at:%Y-%m-%d %H:%M} UTC"

    @property
    def state(self) -> AdoptionState:
        """How far it is."""
        if self.error:
            return AdoptionState.FAILED
        if self.withdrawn_at is not None:
            return AdoptionState.WITHDRAWN
        if self.applied_at is not None:
            return AdoptionState.APPLIED
        if self.confirmed_at is not None:
            return AdoptionState.CONFIRMED
        return AdoptionState.PROPOSED if self.proposed_at is not None else AdoptionState.LOOKING
