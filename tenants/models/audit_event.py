"""Who did what, and when: append-only."""

import uuid
from typing import Any, NoReturn

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tenants.models.tenant import Tenant


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    def update(self, **kwargs: Any) -> NoReturn:
        raise PermissionDenied("Audit events are append-only.")

    def delete(self) -> NoReturn:
        raise PermissionDenied("Audit events are append-only.")


class AuditEvent(models.Model):
    """One thing that someone did. Written in the transaction of the change it tells of; never changed, never deleted.

    ``data`` holds what changed, before and after; never a credential or any other secret. On PostgreSQL a trigger refuses UPDATE
    and DELETE as well.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    created_at = models.DateTimeField(_("when"), default=timezone.now, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("tenant"))
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("who"))
    actor_label = models.CharField(_("who, as text"), max_length=254)
    action = models.CharField(_("action"), max_length=60)
    target_type = models.CharField(_("on what"), max_length=40)
    target_id = models.CharField(_("its id"), max_length=40)
    target_label = models.CharField(_("its name"), max_length=200, blank=True)
    data = models.JSONField(_("details"), default=dict, blank=True, encoder=DjangoJSONEncoder)
    request_id = models.CharField(_("request id"), max_length=64, blank=True)

    objects = AuditEventQuerySet.as_manager()

    class Meta:
        verbose_name = _("audit event")
        verbose_name_plural = _("audit trail")
        indexes = [
            models.Index(fields=["target_type", "target_id", "-created_at"], name="audit_history_of_one_thing"),
            models.Index(fields=["tenant", "-created_at"], name="audit_trail_of_one_tenant"),
            models.Index(fields=["-created_at"], name="audit_newest_first"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.target_label} by {self.actor_label}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise PermissionDenied("Audit events are append-only.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise PermissionDenied("Audit events are append-only.")
