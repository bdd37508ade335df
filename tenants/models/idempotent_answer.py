"""First answers of POST requests that bore an Idempotency-Key."""

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class IdempotentAnswer(models.Model):
    """What the first request with an Idempotency-Key was answered; the same key again gets the same answer.

    ``caller`` is whose keys these are (``tenant:ID`` or ``staff:ID``), so that tenants cannot meet in one key. ``body`` is encrypted:
    it may hold a credential. The row is written in the transaction of the work itself, so there is never one without the other.
    """

    caller = models.CharField(max_length=50)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, help_text=_("SHA-256 of method, path and body."))
    status = models.PositiveSmallIntegerField(default=0)
    headers = models.JSONField(default=dict)
    body = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = _("idempotent answer")
        verbose_name_plural = _("idempotent answers")
        constraints = [models.UniqueConstraint(fields=["caller", "key"], name="idempotent_answer_once_a_caller_and_key")]
        indexes = [models.Index(fields=["created_at"], name="idempotent_answer_oldest_first")]

    def __str__(self) -> str:
        return f"{self.caller} {self.key}"
