"""``/staff/tenants``: the organisations that buy."""

import uuid
from collections.abc import Sequence
from typing import Any

import django_filters
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext_lazy
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keys import staff_selectors
from keys.api.staff.base import StaffListView, StaffView
from keys.api.staff.examples import with_example
from keys.services import tenants
from tenants.api.fields import Input, Nothing, Text
from tenants.api.filters import YesNoFilter
from tenants.api.idempotency import idempotent
from tenants.models import Membership, Scope, Tenant
from tenants.selectors import member_counts
from tenants.services.tenants import LONGEST_NAME, UnableToRenameTenant, rename_tenant


@with_example
class StaffTenantShape(serializers.Serializer[Any]):
    """A tenant as staff see it. Its ETag stands for its name and `suspended_at`."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    created_at = serializers.DateTimeField()
    suspended_at = serializers.DateTimeField(allow_null=True, help_text="Why, its audit events tell.")
    members = serializers.IntegerField()
    own_keys = serializers.IntegerField(help_text="Live API keys that can be cut off for it alone.")
    shared_keys = serializers.IntegerField(
        help_text="Live API keys that share a value with other tenants: suspending does not cut them off."
    )


def tenants_shown(rows: Sequence[Tenant]) -> list[dict[str, Any]]:
    """``StaffTenantShape`` of each, with two queries."""
    members, keys = member_counts(rows), staff_selectors.own_and_shared_of(rows)
    return [
        {
            **tenant_version(tenant),
            "members": members.get(tenant.pk, 0),
            "own_keys": keys.get(tenant.pk, (0, 0))[0],
            "shared_keys": keys.get(tenant.pk, (0, 0))[1],
        }
        for tenant in rows
    ]


def tenant_version(tenant: Tenant) -> dict[str, Any]:
    """The part of ``StaffTenantShape`` that staff decide."""
    return {"id": tenant.pk, "name": tenant.name, "created_at": tenant.created_at, "suspended_at": tenant.suspended_at}


@with_example
class StaffTenantChange(Input):
    """What can be changed of a tenant."""

    name = Text(max_length=LONGEST_NAME, required=False)


@with_example
class SuspensionInput(Input):
    """Why a tenant is suspended."""

    reason = Text(max_length=tenants.LONGEST_REASON, help_text="For staff: it stands in the audit trail and is not shown to the tenant.")


def _named(rows: QuerySet[Tenant], _name: str, text: str) -> QuerySet[Tenant]:
    people = Membership.objects.filter(tenant=OuterRef("pk"), user__email__icontains=text)
    return rows.filter(Q(name__icontains=text) | Exists(people))


class TenantFilter(django_filters.FilterSet):  # type: ignore[misc]  # django-filter is untyped
    """By name or member, and whether they are suspended."""

    q = django_filters.CharFilter(method=_named, max_length=100, label=gettext_lazy("Part of its name or of a member's e-mail address"))
    suspended = YesNoFilter(lambda rows, yes: rows.filter(suspended_at__isnull=not yes), label=gettext_lazy("Suspended"))

    class Meta:
        model = Tenant
        fields: list[str] = []


class _Tenants(StaffView):
    refusals = {tenants.UnableToSuspend: "refused", UnableToRenameTenant: "refused"}

    def answer(self, pk: uuid.UUID) -> Response:
        """The tenant as it is now."""
        tenant = get_object_or_404(Tenant, pk=pk)
        [shown] = tenants_shown([tenant])
        return self.versioned(shown, tenant_version(tenant))


@extend_schema(tags=["Staff: tenants"])
class TenantList(StaffListView):
    scopes = {"GET": Scope.STAFF_READ}
    permissions = {"GET": "tenants.view_tenant"}
    serializer_class = StaffTenantShape
    filterset_class = TenantFilter

    def get_queryset(self) -> QuerySet[Tenant]:
        return Tenant.objects.all()

    @extend_schema(operation_id="staff_list_tenants", summary="List tenants", responses=StaffTenantShape(many=True))
    def get(self, request: Request) -> Response:
        """All organisations, newest first."""
        return self.get_paginated_response(tenants_shown(self.page()))


@extend_schema(tags=["Staff: tenants"])
class TenantDetail(_Tenants):
    scopes = {"GET": Scope.STAFF_READ, "PATCH": Scope.STAFF_WRITE}
    permissions = {"GET": "tenants.view_tenant", "PATCH": "tenants.change_tenant"}
    serializer_class = StaffTenantChange

    @extend_schema(operation_id="staff_get_tenant", summary="Look at a tenant", responses=StaffTenantShape)
    def get(self, request: Request, pk: uuid.UUID) -> Response:
        """With how many of its keys suspending would cut off, and how many not."""
        return self.answer(pk)

    @extend_schema(operation_id="staff_change_tenant", summary="Rename a tenant", request=StaffTenantChange, responses=StaffTenantShape)
    def patch(self, request: Request, pk: uuid.UUID) -> Response:
        """What is left out stays as it is."""
        data = self.valid()
        with self.if_match(Tenant.objects.filter(pk=pk), tenant_version) as found:
            rename_tenant(tenant=found, name=data.get("name", found.name), actor=self.caller.actor())
        return self.answer(pk)


@extend_schema(tags=["Staff: tenants"])
class TenantSuspend(_Tenants):
    scopes = {"POST": Scope.STAFF_WRITE}
    permissions = {"POST": "tenants.change_tenant"}
    serializer_class = SuspensionInput

    @extend_schema(operation_id="staff_suspend_tenant", summary="Suspend a tenant", request=SuspensionInput, responses=StaffTenantShape)
    @idempotent
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """Its own keys are refused within seconds up to minutes, and it can buy nothing. Nothing happens to a suspended one."""
        tenant = get_object_or_404(Tenant, pk=pk)
        tenants.suspend(tenant=tenant, reason=self.valid()["reason"], actor=self.caller.actor())
        return self.answer(pk)


@extend_schema(tags=["Staff: tenants"])
class TenantResume(_Tenants):
    scopes = {"POST": Scope.STAFF_WRITE}
    permissions = {"POST": "tenants.change_tenant"}
    serializer_class = Nothing

    @extend_schema(operation_id="staff_resume_tenant", summary="Resume a tenant", request=Nothing, responses=StaffTenantShape)
    @idempotent
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """What it has not disabled itself is answered again. Nothing happens to one that is not suspended."""
        self.valid()
        tenants.resume(tenant=get_object_or_404(Tenant, pk=pk), actor=self.caller.actor())
        return self.answer(pk)
