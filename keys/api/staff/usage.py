"""``/staff/usage``: how much was called, by tier and by tenant."""

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keys import staff_selectors
from keys.api.days import DAYS, days_of
from keys.api.staff.base import StaffListView, StaffView, TenantRef, TierRef, tenant_ref, tier_ref
from keys.api.staff.examples import with_example
from keys.models import Isolation, Tier
from keys.staff_selectors import TierUsage
from tenants.models import Scope, Tenant


class TierUsageShape(serializers.Serializer[Any]):
    """Requests of one tier."""

    tier = TierRef()
    isolation = serializers.ChoiceField(choices=Isolation.values)
    used = serializers.IntegerField(help_text="Requests.")
    read_at = serializers.DateTimeField(allow_null=True, help_text="When the latest of it was read: API Gateway is late by up to an hour.")


@with_example
class StaffUsageShape(serializers.Serializer[Any]):
    """Requests over some UTC days."""

    # "from" is a word of Python's, so the fields are given by get_fields.
    used = serializers.IntegerField(help_text="Requests of all tiers.")
    tiers = TierUsageShape(many=True, help_text="Each tier, retired ones too, in the order of the price page.")

    def get_fields(self) -> dict[str, Any]:
        """With the days in front."""
        first = serializers.DateField(help_text="First UTC day.")
        last = serializers.DateField(help_text="Last UTC day, which is in it.")
        return {"from": first, "to": last, **super().get_fields()}


class OwnUsageShape(serializers.Serializer[Any]):
    """Requests of one tenant on one tier."""

    tier = serializers.CharField(help_text="Its slug.")
    used = serializers.IntegerField(help_text="Requests.")
    read_at = serializers.DateTimeField(allow_null=True)


@with_example
class TenantUsageShape(serializers.Serializer[Any]):
    """Requests of one tenant."""

    tenant = TenantRef()
    used = serializers.IntegerField(help_text="Requests.")
    tiers = OwnUsageShape(many=True, help_text="Where there are any.")


def _tier_usage_shown(tier: Tier, usage: TierUsage | None) -> dict[str, Any]:
    return {
        "tier": tier_ref(tier),
        "isolation": tier.isolation,
        "used": usage.requests if usage else 0,
        "read_at": usage.read_at if usage else None,
    }


def _tenant_usage_shown(tenant: Tenant, usage: Mapping[str, TierUsage]) -> dict[str, Any]:
    tiers = [{"tier": slug, "used": each.requests, "read_at": each.read_at} for slug, each in sorted(usage.items())]
    return {"tenant": tenant_ref(tenant), "used": sum(each.requests for each in usage.values()), "tiers": tiers}


@extend_schema(tags=["Staff: usage"])
class UsageTotals(StaffView):
    scopes = {"GET": Scope.STAFF_READ}
    permissions = {"GET": "keys.view_usageday"}
    parameters = frozenset({"from", "to"})
    serializer_class = StaffUsageShape

    @extend_schema(operation_id="staff_get_usage", summary="Usage by tier", parameters=DAYS, responses=StaffUsageShape)
    def get(self, request: Request) -> Response:
        """Requests that API Gateway counted, tier by tier."""
        first, last = days_of(request)
        used = staff_selectors.usage_of_tiers(first, last)
        tiers = [_tier_usage_shown(tier, used.get(tier.pk)) for tier in Tier.objects.order_by("position", "name")]
        total = sum(each.requests for each in used.values())
        return Response({"from": first, "to": last, "used": total, "tiers": tiers})


@extend_schema(tags=["Staff: usage"])
class UsageOfTenants(StaffListView):
    scopes = {"GET": Scope.STAFF_READ}
    permissions = {"GET": "keys.view_usageday"}
    parameters = frozenset({"from", "to"})
    serializer_class = TenantUsageShape

    def get_queryset(self) -> QuerySet[Tenant]:
        return Tenant.objects.all()

    @extend_schema(
        operation_id="staff_list_usage_of_tenants", summary="Usage by tenant", parameters=DAYS, responses=TenantUsageShape(many=True)
    )
    def get(self, request: Request) -> Response:
        """Requests of each tenant with credentials of its own, newest tenant first.

        What comes through a pooled key cannot be told apart by tenant; it stands in the totals of its tier alone.
        """
        first, last = days_of(request)
        tenants = self.page()
        used = staff_selectors.usage_of_tenants(tenants, first, last)
        return self.get_paginated_response([_tenant_usage_shown(tenant, used.get(tenant.pk, {})) for tenant in tenants])
