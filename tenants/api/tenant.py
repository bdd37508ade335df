"""``/tenant``, ``/members`` and ``/audit-events``: the organisation that the caller acts for."""

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from tenants import selectors
from tenants.api.filters import AuditEventFilter
from tenants.api.shapes import (
    AuditEventShape,
    MemberShape,
    TenantInput,
    TenantShape,
    audit_event_shown,
    member_shown,
    tenant_shown,
)
from tenants.api.views import ApiView, ListView
from tenants.models import AuditEvent, Membership, Scope, Tenant
from tenants.services.tenants import rename_tenant


@extend_schema(tags=["Organisation"])
class TenantDetail(ApiView):
    scopes = {"GET": Scope.TENANT_READ, "PATCH": Scope.TENANT_WRITE}
    serializer_class = TenantInput

    @extend_schema(operation_id="get_tenant", summary="Look at the organisation", responses=TenantShape)
    def get(self, request: Request) -> Response:
        """The organisation that the token belongs to."""
        return self.shown(tenant_shown(self.tenant))

    @extend_schema(operation_id="change_tenant", summary="Rename the organisation", request=TenantInput, responses=TenantShape)
    def patch(self, request: Request) -> Response:
        """What is left out stays as it is."""
        data = self.valid()
        with self.if_match(Tenant.objects.filter(pk=self.tenant.pk), tenant_shown) as found:
            changed = rename_tenant(tenant=found, name=data.get("name", found.name), actor=self.caller.actor())
        return self.shown(tenant_shown(changed))


@extend_schema(tags=["Organisation"])
class MemberList(ListView):
    scopes = {"GET": Scope.TENANT_READ}
    serializer_class = MemberShape

    def get_queryset(self) -> QuerySet[Membership]:
        return selectors.members_of(self.tenant)

    @extend_schema(operation_id="list_members", summary="List the members", responses=MemberShape(many=True))
    def get(self, request: Request) -> Response:
        """People of the organisation, those who joined last first."""
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response([member_shown(membership) for membership in page or []])


@extend_schema(tags=["Organisation"])
class AuditEventList(ListView):
    scopes = {"GET": Scope.TENANT_READ}
    serializer_class = AuditEventShape
    filterset_class = AuditEventFilter

    def get_queryset(self) -> QuerySet[AuditEvent]:
        return selectors.audit_events_of(self.tenant)

    @extend_schema(operation_id="list_audit_events", summary="List what was done", responses=AuditEventShape(many=True))
    def get(self, request: Request) -> Response:
        """The audit trail of the organisation, newest first. It only ever grows."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response([audit_event_shown(event) for event in page or []])
