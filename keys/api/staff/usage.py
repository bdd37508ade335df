"""``/staff/usage``: how much was called, by tier and by tenant."""

import re
from collections.abc import Mapping
from datetime import UTC, date, timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keys import staff_selectors
from keys.api.staff.base import StaffListView, StaffView, TenantRef, TierRef, tenant_ref, tier_ref
from keys.models import Isolation, Tier
from keys.staff_selectors import TierUsage
from tenants.api.problems import invalid
from tenants.models import Scope, Tenant

MOST_DAYS = 366
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DAY_SCHEMA = {"type": "string", "format": "date"}
_DAYS = [
    OpenApiParameter("from", _DAY_SCHEMA, description="First UTC day; by default the first of the month of `to`."),
    OpenApiParameter("to", _DAY_SCHEMA, description=f"Last UTC day, which is in it; today by default. At most {MOST_DAYS} days."),
]


class TierUsageShape(serializers.Serializer[Any]):
    """Requests of one tier."""

    tier = TierRef()
    isolation = serializers.ChoiceField(choices=Isolation.values)
    requests = serializers.IntegerField()
    read_at = serializers.DateTimeField(allow_null=True, help_text="When the latest of it was read: API Gateway is late by up to an hour.")


class StaffUsageShape(serializers.Serializer[Any]):
    """Requests over some UTC days."""

    # "from" is a word of Python's, so the fields are given by get_fields.
    requests = serializers.IntegerField(help_text="Of all tiers.")
    tiers = TierUsageShape(many=True, help_text="Each tier, retired ones too, in the order of the price page.")

    def get_fields(self) -> dict[str, Any]:
        """With the days in front."""
        first = serializers.DateField(help_text="First UTC day.")
        last = serializers.DateField(help_text="Last UTC day, which is in it.")
        return {"from": first, "to": last, **super().get_fields()}


class OwnUsageShape(serializers.Serializer[Any]):
    """Requests of one tenant on one tier."""

    tier = serializers.CharField(help_text="Its slug.")
    requests = serializers.IntegerField()
    read_at = serializers.DateTimeField(allow_null=True)


class TenantUsageShape(serializers.Serializer[Any]):
    """Requests of one tenant."""

    tenant = TenantRef()
    requests = serializers.IntegerField()
    tiers = OwnUsageShape(many=True, help_text="Where there are any.")


def _tier_usage_shown(tier: Tier, usage: TierUsage | None) -> dict[str, Any]:
    return {
        "tier": tier_ref(tier),
        "isolation": tier.isolation,
        "requests": usage.requests if usage else 0,
        "read_at": usage.read_at if usage else None,
    }


def _tenant_usage_shown(tenant: Tenant, usage: Mapping[str, TierUsage]) -> dict[str, Any]:
    tiers = [{"tier": slug, "requests": each.requests, "read_at": each.read_at} for slug, each in sorted(usage.items())]
    return {"tenant": tenant_ref(tenant), "requests": sum(each.requests for each in usage.values()), "tiers": tiers}


def days_of(request: Request) -> tuple[date, date]:
    """``from`` and ``to`` of the request. Raises Problem."""
    today = timezone.now().astimezone(UTC).date()
    last = _day_of(request, "to", today)
    first = _day_of(request, "from", last.replace(day=1))
    if first > last:
        raise invalid("from", _("The first day comes after the last one."))
    if last - first >= timedelta(days=MOST_DAYS):
        raise invalid("from", _("Ask for at most %(most)d days.") % {"most": MOST_DAYS})
    return first, last


def _day_of(request: Request, name: str, default: date) -> date:
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        # The function alone reads 20261121 and 2026-W47-6 as well.
        day = date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None:
        raise invalid(name, _("Write a day as 2026-11-21."))
    return day


@extend_schema(tags=["Staff: usage"])
class UsageTotals(StaffView):
    scopes = {"GET": Scope.STAFF_READ}
    permissions = {"GET": "keys.view_usageday"}
    parameters = frozenset({"from", "to"})
    serializer_class = StaffUsageShape

    @extend_schema(operation_id="staff_get_usage", summary="Usage by tier", parameters=_DAYS, responses=StaffUsageShape)
    def get(self, request: Request) -> Response:
        """Requests that API Gateway counted, tier by tier."""
        first, last = days_of(request)
        used = staff_selectors.usage_of_tiers(first, last)
        tiers = [_tier_usage_shown(tier, used.get(tier.pk)) for tier in Tier.objects.order_by("position", "name")]
        total = sum(each.requests for each in used.values())
        return Response({"from": first, "to": last, "requests": total, "tiers": tiers})


@extend_schema(tags=["Staff: usage"])
class UsageOfTenants(StaffListView):
    scopes = {"GET": Scope.STAFF_READ}
    permissions = {"GET": "keys.view_usageday"}
    parameters = frozenset({"from", "to"})
    serializer_class = TenantUsageShape

    def get_queryset(self) -> QuerySet[Tenant]:
        return Tenant.objects.all()

    @extend_schema(
        operation_id="staff_list_usage_of_tenants", summary="Usage by tenant", parameters=_DAYS, responses=TenantUsageShape(many=True)
    )
    def get(self, request: Request) -> Response:
        """Requests of each tenant with credentials of its own, newest tenant first.

        What comes through a pooled key cannot be told apart by tenant; it stands in the totals of its tier alone.
        """
        first, last = days_of(request)
        tenants = self.page()
        used = staff_selectors.usage_of_tenants(tenants, first, last)
        return self.get_paginated_response([_tenant_usage_shown(tenant, used.get(tenant.pk, {})) for tenant in tenants])
