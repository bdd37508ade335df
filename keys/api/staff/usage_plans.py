"""``/staff/usage-plans``: whether what API Gateway enforces is what the tiers say."""

from typing import Any

import django_filters
from django.db.models import F, Q, QuerySet
from django.utils.translation import gettext_lazy
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keys import staff_selectors
from keys.api.staff.base import GatewayRef, StaffListView, TierRef, TierSlugFilter, gateway_ref, tier_ref
from keys.api.staff.examples import with_example
from keys.models import UsagePlan
from tenants.api.filters import StateFilter
from tenants.models import Scope

STATES = [
    ("pending", gettext_lazy("Not yet what its tier says")),
    ("failing", gettext_lazy("Pending, and the last try failed")),
    ("person", gettext_lazy("Pending, and no further try will mend it")),
]


class CanaryShape(serializers.Serializer[Any]):
    """A gateway key of ours in the usage plan, called as tenants call."""

    checked_at = serializers.DateTimeField(allow_null=True, help_text="When it was called last; null: it was not yet.")
    status = serializers.IntegerField(allow_null=True, help_text="HTTP status; null: no answer.")
    failures = serializers.IntegerField(help_text="Checks in a row that got no 200.")
    error = serializers.CharField(allow_blank=True)


@with_example
class UsagePlanShape(serializers.Serializer[Any]):
    """A tier on one gateway."""

    id = serializers.UUIDField()
    tier = TierRef()
    gateway = GatewayRef()
    remote_id = serializers.CharField(allow_blank=True, help_text="Its id at API Gateway; empty while it is not there yet.")
    pending = serializers.BooleanField(help_text="Not yet what its tier says.")
    needs_person = serializers.BooleanField(help_text="The last error is one that repeating cannot mend.")
    differences = serializers.ListField(
        child=serializers.CharField(), help_text="How the plan that API Gateway last showed differs from its tier, in sentences."
    )
    canary = CanaryShape()
    last_error = serializers.CharField(allow_blank=True)
    attempts = serializers.IntegerField(help_text="Failed ones in a row.")
    next_try_at = serializers.DateTimeField(allow_null=True)
    changed_at = serializers.DateTimeField(help_text="Wanted so since.")
    synced_at = serializers.DateTimeField(allow_null=True, help_text="In step since.")
    created_at = serializers.DateTimeField()


def usage_plan_shown(plan: UsagePlan) -> dict[str, Any]:
    """``UsagePlanShape``. Load it by ``staff_selectors.plans_to_compare``."""
    return {
        "id": plan.pk,
        "tier": tier_ref(plan.tier),
        "gateway": gateway_ref(plan.gateway),
        "remote_id": plan.remote_id,
        "pending": plan.is_pending,
        "needs_person": plan.is_pending and plan.permanent,
        "differences": staff_selectors.differences_of(plan) if plan.observed else [],
        "canary": {
            "checked_at": plan.canary_checked_at,
            "status": plan.canary_status,
            "failures": plan.canary_failures,
            "error": plan.canary_error,
        },
        "last_error": plan.last_error,
        "attempts": plan.attempts,
        "next_try_at": plan.next_try_at,
        "changed_at": plan.changed_at,
        "synced_at": plan.synced_at,
        "created_at": plan.created_at,
    }


def _in_state(plans: QuerySet[UsagePlan], state: str) -> QuerySet[UsagePlan]:
    pending = plans.filter(synced_revision__lt=F("revision"))
    return pending.filter({"pending": Q(), "failing": ~Q(last_error=""), "person": Q(permanent=True)}[state])


class UsagePlanFilter(django_filters.FilterSet):  # type: ignore[misc]  # django-filter is untyped
    """Of which tier, where, and how they stand."""

    tier = TierSlugFilter("tier_id")
    gateway = django_filters.UUIDFilter(field_name="gateway_id", label=gettext_lazy("Id of the gateway"))
    state = StateFilter(_in_state, choices=STATES, label=gettext_lazy("How it stands"))

    class Meta:
        model = UsagePlan
        fields: list[str] = []


@extend_schema(tags=["Staff: tiers"])
class UsagePlanList(StaffListView):
    scopes = {"GET": Scope.STAFF_READ}
    permissions = {"GET": "keys.view_tier"}
    serializer_class = UsagePlanShape
    filterset_class = UsagePlanFilter

    def get_queryset(self) -> QuerySet[UsagePlan]:
        return staff_selectors.plans_to_compare()

    @extend_schema(operation_id="staff_list_usage_plans", summary="List usage plans", responses=UsagePlanShape(many=True))
    def get(self, request: Request) -> Response:
        """Each tier on each of its gateways, newest first: wait here for a change of limits to be done."""
        return self.get_paginated_response([usage_plan_shown(plan) for plan in self.page()])
