"""What rows have in common that are kept equal to something at API Gateway."""

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class Synced(models.Model):
    """Desired columns with a ``revision`` (written by services) beside observed ones with a ``synced_revision`` (written by sync).

    Pending is ``synced_revision < revision``. ``next_try_at`` postpones a row that failed; ``last_error`` says why in words that a
    person can act on. ``permanent`` marks an error that repeating cannot mend: the row waits until its revision grows.
    """

    # Desired
    revision = models.PositiveIntegerField(_("revision"), default=1, editable=False)
    changed_at = models.DateTimeField(_("wanted since"), default=timezone.now, editable=False)
    # Observed
    remote_id = models.CharField(_("id at API Gateway"), max_length=64, blank=True, editable=False)
    synced_revision = models.PositiveIntegerField(_("synced revision"), default=0, editable=False)
    synced_at = models.DateTimeField(_("in step since"), null=True, editable=False)
    attempts = models.PositiveIntegerField(_("failed attempts"), default=0, editable=False)
    next_try_at = models.DateTimeField(_("next try"), null=True, editable=False)
    permanent = models.BooleanField(_("needs a person"), default=False, editable=False)
    last_error = models.TextField(_("last error"), blank=True, editable=False)

    class Meta:
        abstract = True

    @property
    def is_pending(self) -> bool:
        return self.synced_revision < self.revision
