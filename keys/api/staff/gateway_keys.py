"""``/staff/gateway-keys``: what exists, or shall exist, in API Gateway. Values are never shown here."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import django_filters
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keys import staff_selectors
from keys.api.staff.base import GatewayRef, StaffListView, StaffView, TierRef, TierSlugFilter, gateway_ref, tier_ref
from keys.api.staff.examples import with_example
from keys.models import GatewayKey, KeyRole
from keys.services import pools
from tenants.api.fields import Input, Whole
from tenants.api.filters import ChoiceFilter, StateFilter
from tenants.api.idempotency import idempotent
from tenants.models import Scope

DEFAULT_GRACE = timedelta(days=1)
LONGEST_GRACE = timedelta(days=30)
STATES = [
    ("service", gettext_lazy("In service")),
    ("pending", gettext_lazy("Not yet what it shall be")),
    ("failing", gettext_lazy("Pending, and the last try failed")),
    ("person", gettext_lazy("Pending, and no further try will mend it")),
    ("ending", gettext_lazy("Shall be gone, and is still there")),
    ("gone", gettext_lazy("Gone")),
]


@with_example
class GatewayKeyShape(serializers.Serializer[Any]):
    """One key of API Gateway, without its value."""

    id = serializers.UUIDField()
    role = serializers.ChoiceField(choices=KeyRole.values)
    last_four = serializers.CharField(help_text="The end of its value: all of it that is shown.")
    tier = TierRef()
    gateway = GatewayRef()
    position = serializers.IntegerField(allow_null=True, help_text="In its pool; null for others.")
    load = serializers.IntegerField(help_text="Live API keys that stand on it.")
    former_holders = serializers.IntegerField(
        help_text="Of a pool key: API keys that were revoked while they stood on it. Their tenants may still know its value."
    )
    created_at = serializers.DateTimeField()
    enabled = serializers.BooleanField(help_text="Desired: whether it shall be enabled.")
    ends_at = serializers.DateTimeField(allow_null=True, help_text="Desired: from when it shall be gone.")
    changed_at = serializers.DateTimeField(help_text="Wanted so since.")
    pending = serializers.BooleanField(help_text="Not yet what it shall be.")
    needs_person = serializers.BooleanField(help_text="Pending, and no further try will mend it.")
    in_service_at = serializers.DateTimeField(allow_null=True, help_text="Observed: since when, or from when, calls with it are answered.")
    removed_at = serializers.DateTimeField(allow_null=True, help_text="Observed: gone since.")
    synced_at = serializers.DateTimeField(allow_null=True, help_text="In step since.")
    name = serializers.CharField(allow_blank=True, help_text="At API Gateway.")
    remote_id = serializers.CharField(allow_blank=True, help_text="At API Gateway.")
    attempts = serializers.IntegerField(help_text="Failed ones in a row.")
    next_try_at = serializers.DateTimeField(allow_null=True)
    last_error = serializers.CharField(allow_blank=True)


def gateway_keys_shown(gateway_keys: Sequence[GatewayKey], now: datetime) -> list[dict[str, Any]]:
    """``GatewayKeyShape`` of each, with two queries. Load them by ``_gateway_keys``."""
    loads, former = staff_selectors.loads_of(gateway_keys), staff_selectors.former_holders_of(gateway_keys)
    return [_shown(key, now, load=loads.get(key.pk, 0), former=former.get(key.pk, 0)) for key in gateway_keys]


def _shown(key: GatewayKey, now: datetime, *, load: int, former: int) -> dict[str, Any]:
    pending = key.removed_at is None and (key.is_pending or (key.ends_at is not None and key.ends_at <= now))
    return {
        "id": key.pk,
        "role": key.role,
        "last_four": key.last_four,
        "tier": tier_ref(key.usage_plan.tier),
        "gateway": gateway_ref(key.gateway),
        "position": key.position,
        "load": load,
        "former_holders": former,
        "created_at": key.created_at,
        "enabled": key.enabled,
        "ends_at": key.ends_at,
        "changed_at": key.changed_at,
        "pending": pending,
        "needs_person": pending and key.permanent,
        "in_service_at": key.in_service_at,
        "removed_at": key.removed_at,
        "synced_at": key.synced_at,
        "name": key.name,
        "remote_id": key.remote_id,
        "attempts": key.attempts,
        "next_try_at": key.next_try_at,
        "last_error": key.last_error,
    }


@with_example
class Replacement(Input):
    """How to replace a pool key."""

    grace_seconds = Whole(
        min_value=0,
        max_value=int(LONGEST_GRACE.total_seconds()),
        default=int(DEFAULT_GRACE.total_seconds()),
        help_text="How long the old value goes on working.",
    )


class GatewayKeyFilter(django_filters.FilterSet):  # type: ignore[misc]  # django-filter is untyped
    """Where, of which tier, for what, and how they stand."""

    gateway = django_filters.UUIDFilter(field_name="gateway_id", label=gettext_lazy("Id of the gateway"))
    tier = TierSlugFilter("usage_plan__tier_id")
    role = ChoiceFilter(choices=KeyRole.choices, label=gettext_lazy("What it is for"))
    state = StateFilter(
        lambda rows, state: staff_selectors.gateway_keys_in_state(rows, state, timezone.now()),
        choices=STATES,
        label=gettext_lazy("How it stands"),
    )
    last_four = django_filters.CharFilter(max_length=4, label=gettext_lazy("The end of its value"))
    remote_id = django_filters.CharFilter(max_length=64, label=gettext_lazy("Its id at API Gateway"))

    class Meta:
        model = GatewayKey
        fields: list[str] = []


def _gateway_keys() -> QuerySet[GatewayKey]:
    return GatewayKey.objects.select_related("usage_plan__tier", "gateway").defer("value_encrypted", "value_sha256")


@extend_schema(tags=["Staff: gateway keys"])
class GatewayKeyList(StaffListView):
    scopes = {"GET": Scope.STAFF_READ}
    permissions = {"GET": "keys.view_gatewaykey"}
    serializer_class = GatewayKeyShape
    filterset_class = GatewayKeyFilter

    def get_queryset(self) -> QuerySet[GatewayKey]:
        return _gateway_keys()

    @extend_schema(operation_id="staff_list_gateway_keys", summary="List gateway keys", responses=GatewayKeyShape(many=True))
    def get(self, request: Request) -> Response:
        """What exists, or shall exist, in API Gateway, newest first."""
        return self.get_paginated_response(gateway_keys_shown(self.page(), timezone.now()))


@extend_schema(tags=["Staff: gateway keys"])
class GatewayKeyDetail(StaffView):
    scopes = {"GET": Scope.STAFF_READ}
    permissions = {"GET": "keys.view_gatewaykey"}
    serializer_class = GatewayKeyShape

    @extend_schema(operation_id="staff_get_gateway_key", summary="Look at a gateway key", responses=GatewayKeyShape)
    def get(self, request: Request, pk: uuid.UUID) -> Response:
        """What it shall be, and what API Gateway last showed. `/staff/keys?gateway_key=` lists the API keys on it."""
        [shown] = gateway_keys_shown([get_object_or_404(_gateway_keys(), pk=pk)], timezone.now())
        return self.shown(shown)


@extend_schema(tags=["Staff: gateway keys"])
class GatewayKeyReplace(StaffView):
    scopes = {"POST": Scope.STAFF_WRITE}
    permissions = {"POST": "keys.change_gatewaykey"}
    refusals = {pools.UnableToChangePool: "refused"}
    serializer_class = Replacement

    @extend_schema(
        operation_id="staff_replace_gateway_key", summary="Replace a pool key", request=Replacement, responses={201: GatewayKeyShape}
    )
    @idempotent
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """Gives all tenants of a pool key a new credential at once, and ends the old value after its grace. Answers with the new key.

        The one way to cut off somebody who knows a pooled credential. Tell the tenants: they find the new one on their pages.
        """
        old = get_object_or_404(GatewayKey.objects.select_related("pool__tier"), pk=pk)
        grace = timedelta(seconds=self.valid()["grace_seconds"])
        new = pools.replace_pool_key(gateway_key=old, grace=grace, actor=self.caller.actor())
        [shown] = gateway_keys_shown([_gateway_keys().get(pk=new.pk)], timezone.now())
        return Response(shown, status=201, headers={"Location": reverse("api:staff_gateway_key", args=[new.pk])})
