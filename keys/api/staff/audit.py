"""``/staff/audit-events``: who did what, of all tenants and of the portal itself."""

from typing import Any

import django_filters
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keys.api.staff.base import StaffListView, TenantRef, tenant_ref
from keys.api.staff.examples import with_example
from tenants.api.filters import AuditEventFilter
from tenants.models import AuditEvent, Scope


@with_example
class StaffAuditEventShape(serializers.Serializer[Any]):
    """One thing that somebody did, with everything that is known of it."""

    id = serializers.UUIDField()
    created_at = serializers.DateTimeField()
    tenant = TenantRef(allow_null=True, help_text="Null for what concerns no tenant alone.")
    actor = serializers.CharField(help_text="An e-mail address (with the token they used), a command, or `system`.")
    actor_id = serializers.UUIDField(allow_null=True, help_text="The person's id.")
    action = serializers.CharField(help_text="Dotted, as `api_key.revoked`.")
    target_type = serializers.CharField()
    target_id = serializers.CharField()
    target_name = serializers.CharField(allow_blank=True)
    details = serializers.DictField(
        child=serializers.JSONField(allow_null=True), help_text="What changed, before and after. Depends on the action."
    )
    request_id = serializers.CharField(allow_blank=True)


def staff_audit_event_shown(event: AuditEvent) -> dict[str, Any]:
    """``StaffAuditEventShape``. Select ``tenant`` with the row."""
    return {
        "id": event.pk,
        "created_at": event.created_at,
        "tenant": tenant_ref(event.tenant) if event.tenant else None,
        "actor": event.actor_label,
        "actor_id": event.actor_id,
        "action": event.action,
        "target_type": event.target_type,
        "target_id": event.target_id,
        "target_name": event.target_label,
        "details": event.data,
        "request_id": event.request_id,
    }


class StaffAuditEventFilter(AuditEventFilter):
    """And by tenant, person, kind of target, and request."""

    tenant = django_filters.UUIDFilter(field_name="tenant_id", label=gettext_lazy("Id of the tenant"))
    actor_id = django_filters.UUIDFilter(label=gettext_lazy("Id of the person who did it"))
    target_type = django_filters.CharFilter(max_length=40, label=gettext_lazy("As apikey or tier"))
    request_id = django_filters.CharFilter(max_length=64, label=gettext_lazy("X-Request-Id of the request that did it"))


@extend_schema(tags=["Staff: audit trail"])
class StaffAuditEventList(StaffListView):
    scopes = {"GET": Scope.STAFF_READ}
    permissions = {"GET": "tenants.view_auditevent"}
    serializer_class = StaffAuditEventShape
    filterset_class = StaffAuditEventFilter

    def get_queryset(self) -> QuerySet[AuditEvent]:
        return AuditEvent.objects.select_related("tenant")

    @extend_schema(operation_id="staff_list_audit_events", summary="List what was done", responses=StaffAuditEventShape(many=True))
    def get(self, request: Request) -> Response:
        """The whole audit trail, newest first. It only ever grows."""
        return self.get_paginated_response([staff_audit_event_shown(event) for event in self.page()])
