"""``/staff/keys``: what tenants bought. Staff look, find, and cut off; they never see a credential."""

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import django_filters
from django.db.models import Q, QuerySet
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_variables
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keys import selectors, staff_selectors, values
from keys.api.staff.base import (
    GatewayRef,
    StaffListView,
    StaffView,
    TenantRef,
    TierRef,
    TierSlugFilter,
    gateway_ref,
    tenant_ref,
    tier_ref,
)
from keys.api.staff.examples import with_example
from keys.api.staff.gateway_keys import GatewayKeyShape, gateway_keys_shown
from keys.models import ApiKey, Isolation, Status
from keys.services import api_keys
from tenants.api.fields import Input, Nothing, Text
from tenants.api.filters import ChoiceFilter, StateFilter
from tenants.api.idempotency import idempotent
from tenants.api.problems import Problem, invalid
from tenants.models import Scope

HOLDERS_SHOWN = 100


@with_example
class StaffKeyShape(serializers.Serializer[Any]):
    """An API key as staff see it, without its credential."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    description = serializers.CharField(allow_blank=True)
    tenant = TenantRef()
    tier = TierRef()
    isolation = serializers.ChoiceField(
        choices=Isolation.values, help_text="Pooled: it shares its credential, so it can be neither disabled nor cut off alone."
    )
    status = serializers.ChoiceField(
        choices=Status.values,
        help_text="Disabled also while its tenant is suspended. Ready also while a new credential is being made and the present one works.",
    )
    last_four = serializers.CharField()
    gateway = GatewayRef()
    gateway_key = serializers.UUIDField(help_text="Id of the gateway key that it stands on.")
    slot = serializers.IntegerField(allow_null=True, help_text="Its place on a pool key.")
    bought_by = serializers.EmailField(allow_null=True)
    created_at = serializers.DateTimeField()
    disabled_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)


def staff_key_shown(api_key: ApiKey, now: datetime, *, renewing: bool) -> dict[str, Any]:
    """``StaffKeyShape``. Load it by ``_api_keys``; ``renewing``: as ``selectors.renewing_among`` says."""
    return {
        "id": api_key.pk,
        "name": api_key.name,
        "description": api_key.description,
        "tenant": tenant_ref(api_key.tenant),
        "tier": tier_ref(api_key.tier),
        "isolation": api_key.tier.isolation,
        "status": str(api_key.status(now, renewing=renewing)),
        "last_four": api_key.gateway_key.last_four,
        "gateway": gateway_ref(api_key.gateway_key.gateway),
        "gateway_key": api_key.gateway_key_id,
        "slot": api_key.slot,
        "bought_by": api_key.created_by.email if api_key.created_by else None,
        "created_at": api_key.created_at,
        "disabled_at": api_key.disabled_at,
        "revoked_at": api_key.revoked_at,
    }


@with_example
class CredentialInput(Input):
    """A credential as somebody sent it in."""

    credential = Text(max_length=200, help_text="Whole. It is hashed and looked up, and kept nowhere.")


@with_example
class FoundShape(serializers.Serializer[Any]):
    """What a credential belongs to."""

    gateway_key = GatewayKeyShape()
    keys = StaffKeyShape(many=True, help_text=f"API keys that have or had it, newest first, at most {HOLDERS_SHOWN}.")
    has_more = serializers.BooleanField(help_text="Whether there are more of them.")


def _named(rows: QuerySet[ApiKey], _name: str, text: str) -> QuerySet[ApiKey]:
    return rows.filter(Q(name__icontains=text) | Q(tenant__name__icontains=text))


class KeyFilter(django_filters.FilterSet):  # type: ignore[misc]  # django-filter is untyped
    """Whose, of what kind, how they stand, and where."""

    tenant = django_filters.UUIDFilter(field_name="tenant_id", label=gettext_lazy("Id of the tenant"))
    tier = TierSlugFilter("tier_id")
    isolation = ChoiceFilter(field_name="tier__isolation", choices=Isolation.choices, label=gettext_lazy("How its tier is kept"))
    status = StateFilter(
        lambda rows, status: staff_selectors.api_keys_with_status(rows, status, timezone.now()),
        choices=Status.choices,
        label=gettext_lazy("How it stands at this moment"),
    )
    last_four = django_filters.CharFilter(
        field_name="gateway_key__last_four", max_length=4, label=gettext_lazy("The end of its credential. A whole one goes to /find.")
    )
    gateway_key = django_filters.UUIDFilter(field_name="gateway_key_id", label=gettext_lazy("Id of the gateway key that it stands on"))
    q = django_filters.CharFilter(method=_named, max_length=100, label=gettext_lazy("Part of its name or of its tenant's"))

    class Meta:
        model = ApiKey
        fields: list[str] = []


def _api_keys(rows: QuerySet[ApiKey] | None = None) -> QuerySet[ApiKey]:
    found = ApiKey.objects.all() if rows is None else rows
    found = found.select_related("tenant", "tier", "gateway_key__gateway", "created_by")
    return found.defer("gateway_key__value_encrypted", "gateway_key__value_sha256")


def _all_shown(rows: Iterable[ApiKey]) -> list[dict[str, Any]]:
    now, rows = timezone.now(), list(rows)
    renewing = selectors.renewing_among(rows, now)
    return [staff_key_shown(api_key, now, renewing=api_key.pk in renewing) for api_key in rows]


class _Keys(StaffView):
    refusals = {api_keys.UnableToChangeKey: "refused"}

    def answer(self, pk: uuid.UUID) -> Response:
        """The API key as it is now."""
        [shown] = _all_shown([get_object_or_404(_api_keys(), pk=pk)])
        return self.shown(shown)


@extend_schema(tags=["Staff: keys"])
class KeyList(StaffListView):
    scopes = {"GET": Scope.STAFF_READ}
    permissions = {"GET": "keys.view_apikey"}
    serializer_class = StaffKeyShape
    filterset_class = KeyFilter

    def get_queryset(self) -> QuerySet[ApiKey]:
        return _api_keys()

    @extend_schema(operation_id="staff_list_keys", summary="List keys of all tenants", responses=StaffKeyShape(many=True))
    def get(self, request: Request) -> Response:
        """Newest first, revoked ones too."""
        return self.get_paginated_response(_all_shown(self.page()))


@extend_schema(tags=["Staff: keys"])
class KeyFind(StaffView):
    scopes = {"POST": Scope.STAFF_READ}
    permissions = {"POST": "keys.view_apikey"}
    serializer_class = CredentialInput

    @extend_schema(operation_id="staff_find_key", summary="Find keys by a credential", request=CredentialInput, responses=FoundShape)
    @idempotent
    @sensitive_variables("credential")
    def post(self, request: Request) -> Response:
        """Leads from a whole credential to what it belongs to. It stands in the body, so that it lands in no address and no log."""
        credential = self.valid()["credential"]
        gateway_key = staff_selectors.gateway_key_with_value(credential)
        if gateway_key is None and not values.has_valid_checksum(credential):
            raise invalid(
                "credential", _("This is no credential of ours, nor of a key that was adopted: look for a typo or a missing end.")
            )
        if gateway_key is None:
            raise Problem("not-found", _("No gateway key has or had this value."))
        holders = list(_api_keys(staff_selectors.holders_of(gateway_key))[: HOLDERS_SHOWN + 1])
        [shown] = gateway_keys_shown([gateway_key], timezone.now())
        return Response({"gateway_key": shown, "keys": _all_shown(holders[:HOLDERS_SHOWN]), "has_more": len(holders) > HOLDERS_SHOWN})


@extend_schema(tags=["Staff: keys"])
class KeyDetail(_Keys):
    scopes = {"GET": Scope.STAFF_READ}
    permissions = {"GET": "keys.view_apikey"}
    serializer_class = StaffKeyShape

    @extend_schema(operation_id="staff_get_key", summary="Look at a key of any tenant", responses=StaffKeyShape)
    def get(self, request: Request, pk: uuid.UUID) -> Response:
        """Without its credential."""
        return self.answer(pk)


class _KeyVerb(_Keys):
    permissions = {"POST": "keys.change_apikey"}
    serializer_class = Nothing

    def found(self, pk: uuid.UUID) -> ApiKey:
        """The API key to act on. Raises Http404; and Problem for a body with fields."""
        self.valid()
        return get_object_or_404(ApiKey, pk=pk)


@extend_schema(tags=["Staff: keys"])
class KeyEnable(_KeyVerb):
    scopes = {"POST": Scope.STAFF_WRITE}

    @extend_schema(operation_id="staff_enable_key", summary="Enable a key of any tenant", request=Nothing, responses=StaffKeyShape)
    @idempotent
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """API Gateway answers it again within seconds up to minutes. Repeating it changes nothing."""
        api_keys.enable(api_key=self.found(pk), actor=self.caller.actor())
        return self.answer(pk)


@extend_schema(tags=["Staff: keys"])
class KeyDisable(_KeyVerb):
    scopes = {"POST": Scope.STAFF_WRITE}

    @extend_schema(operation_id="staff_disable_key", summary="Disable a key of any tenant", request=Nothing, responses=StaffKeyShape)
    @idempotent
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """API Gateway refuses it within seconds up to minutes. Refused for a pooled key, whose credential others hold too."""
        api_keys.disable(api_key=self.found(pk), actor=self.caller.actor())
        return self.answer(pk)


@extend_schema(tags=["Staff: keys"])
class KeyRevoke(_KeyVerb):
    scopes = {"POST": Scope.STAFF_WRITE}

    @extend_schema(operation_id="staff_revoke_key", summary="Revoke a key of any tenant", request=Nothing, responses=StaffKeyShape)
    @idempotent
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """Ends it for ever. Copies of a pooled key's credential are answered until its gateway key is replaced."""
        api_keys.revoke(api_key=self.found(pk), actor=self.caller.actor())
        return self.answer(pk)
