"""``/staff/gateways`` and their stages: AWS accounts and Regions, how they do, and where tenants call."""

import uuid
from datetime import datetime
from typing import Any

import django_filters
from django.core.validators import RegexValidator, URLValidator
from django.db.models import F, QuerySet
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keys import staff_selectors
from keys.api.staff.base import LARGEST_INTEGER, GatewayRef, StaffListView, StaffView, gateway_ref
from keys.api.staff.examples import with_example
from keys.models import Gateway, Stage
from keys.models.gateway import AWS_KEY_CAP
from keys.services import gateways
from tenants.api.fields import Input, Nothing, Text, Whole, YesNo
from tenants.api.filters import YesNoFilter
from tenants.api.idempotency import idempotent
from tenants.models import Scope


class LeaseShape(serializers.Serializer[Any]):
    """Which worker speaks to a gateway."""

    owner = serializers.CharField()
    expires_at = serializers.DateTimeField()


class BreakerShape(serializers.Serializer[Any]):
    """The circuit breaker of a gateway: after failures it is left alone for a while."""

    open = serializers.BooleanField()
    failures = serializers.IntegerField(help_text="In a row.")
    resume_at = serializers.DateTimeField(allow_null=True, help_text="Until when it is left alone; null while closed.")


@with_example
class StaffGatewayShape(serializers.Serializer[Any]):
    """API Gateway in one AWS account and Region. Its ETag stands for what PATCH changes."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    account_id = serializers.CharField()
    region = serializers.CharField()
    capacity = serializers.IntegerField(help_text="API keys that this account and Region may hold.")
    accepts_keys = serializers.BooleanField(help_text="Whether new gateway keys are made here.")
    propagation_seconds = serializers.IntegerField(help_text="Until a key that API Gateway holds is also answered by it.")
    created_at = serializers.DateTimeField()
    keys_held = serializers.IntegerField(help_text="Gateway keys that it holds or shall hold.")
    headroom = serializers.IntegerField(help_text="How many more it may hold.")
    usage_plans_pending = serializers.IntegerField(help_text="Not yet what they shall be.")
    gateway_keys_pending = serializers.IntegerField(help_text="Not yet what they shall be.")
    lease = LeaseShape(allow_null=True, help_text="Null while no worker speaks to it.")
    breaker = BreakerShape()
    last_seen_at = serializers.DateTimeField(allow_null=True, help_text="Its last answer.")
    last_error = serializers.CharField(allow_blank=True)
    last_error_at = serializers.DateTimeField(allow_null=True)
    reconcile_requested_at = serializers.DateTimeField(allow_null=True)
    last_reconciled_at = serializers.DateTimeField(allow_null=True)
    usage_read_at = serializers.DateTimeField(allow_null=True)


def gateway_shown(gateway: Any, now: datetime) -> dict[str, Any]:
    """``StaffGatewayShape``. Load it by ``staff_selectors.gateways_with_facts``."""
    leased = bool(gateway.lease_owner) and gateway.lease_expires_at is not None and gateway.lease_expires_at > now
    is_open = gateway.resume_at is not None and gateway.resume_at > now
    return {
        **gateway_version(gateway),
        "keys_held": gateway.held,
        "headroom": max(0, gateway.capacity - gateway.held),
        "usage_plans_pending": gateway.plans_pending,
        "gateway_keys_pending": gateway.keys_pending,
        "lease": {"owner": gateway.lease_owner, "expires_at": gateway.lease_expires_at} if leased else None,
        "breaker": {"open": is_open, "failures": gateway.failures, "resume_at": gateway.resume_at if is_open else None},
        "last_seen_at": gateway.last_seen_at,
        "last_error": gateway.last_error,
        "last_error_at": gateway.last_error_at,
        "reconcile_requested_at": gateway.reconcile_requested_at,
        "last_reconciled_at": gateway.last_reconciled_at,
        "usage_read_at": gateway.usage_read_at,
    }


def gateway_version(gateway: Gateway) -> dict[str, Any]:
    """The part of ``StaffGatewayShape`` that staff decide."""
    return {
        "id": gateway.pk,
        "name": gateway.name,
        "account_id": gateway.account_id,
        "region": gateway.region,
        "capacity": gateway.capacity,
        "accepts_keys": gateway.accepts_keys,
        "propagation_seconds": gateway.propagation_seconds,
        "created_at": gateway.created_at,
    }


@with_example
class StaffGatewayChange(Input):
    """What can be changed of a gateway."""

    name = Text(max_length=100, required=False)
    capacity = Whole(min_value=1, max_value=LARGEST_INTEGER, required=False)
    propagation_seconds = Whole(min_value=0, max_value=LARGEST_INTEGER, required=False)
    accepts_keys = YesNo(required=False, help_text="False: no new keys are made here; those it holds go on working.")


@with_example
class StaffGatewayInput(Input):
    """A gateway to register. Account and Region are chosen for good."""

    name = Text(max_length=100, help_text="How staff call it.")
    account_id = Text(max_length=12, validators=[RegexValidator(r"^[0-9]{12}$", gettext_lazy("An AWS account id has 12 digits."))])
    region = Text(max_length=32, validators=[RegexValidator(r"^[a-z]{2}(-[a-z]+)+-[0-9]$", gettext_lazy("Write a Region as us-east-1."))])
    capacity = Whole(min_value=1, max_value=LARGEST_INTEGER, default=AWS_KEY_CAP)
    propagation_seconds = Whole(min_value=0, max_value=LARGEST_INTEGER, default=60)


@with_example
class StageShape(serializers.Serializer[Any]):
    """A deployed stage of a REST API: where tenants call."""

    id = serializers.UUIDField()
    gateway = GatewayRef()
    rest_api_id = serializers.CharField()
    name = serializers.CharField()
    invoke_url = serializers.CharField()
    test_path = serializers.CharField()


def stage_shown(stage: Stage) -> dict[str, Any]:
    """``StageShape``. Select ``gateway`` with the row."""
    return {
        "id": stage.pk,
        "gateway": gateway_ref(stage.gateway),
        "rest_api_id": stage.rest_api_id,
        "name": stage.name,
        "invoke_url": stage.invoke_url,
        "test_path": stage.test_path,
    }


_URL = URLValidator(schemes=["https", "http"], message=gettext_lazy("Give a whole URL, with https://."))
_PATH = RegexValidator(r"^/", gettext_lazy("Begin the path with a slash, as /api."))


@with_example
class StageChange(Input):
    """What can be changed of a stage: the pages show it at once."""

    invoke_url = Text(max_length=300, validators=[_URL], required=False, help_text="What tenants call.")
    test_path = Text(max_length=200, validators=[_PATH], required=False, help_text="A GET that needs a key.")


@with_example
class StageInput(Input):
    """A stage to register. Nothing is sent to AWS; tiers can then serve it."""

    rest_api_id = Text(max_length=64)
    name = Text(max_length=128)
    invoke_url = Text(max_length=300, validators=[_URL], help_text="What tenants call.")
    test_path = Text(max_length=200, validators=[_PATH], default="/api", help_text="A GET that needs a key.")


class GatewayFilter(django_filters.FilterSet):  # type: ignore[misc]  # django-filter is untyped
    """Where, and whether they take keys."""

    account_id = django_filters.CharFilter(max_length=12, label=gettext_lazy("AWS account"))
    region = django_filters.CharFilter(max_length=32, label=gettext_lazy("As us-east-1"))
    accepts_keys = YesNoFilter(lambda rows, yes: rows.filter(accepts_keys=yes), label=gettext_lazy("Takes new keys"))

    class Meta:
        model = Gateway
        fields: list[str] = []


class _Gateways(StaffView):
    refusals = {gateways.UnableToChangeGateway: "refused"}

    def answer(self, pk: uuid.UUID, **options: Any) -> Response:
        """The gateway as it is now."""
        now = timezone.now()
        gateway = get_object_or_404(staff_selectors.gateways_with_facts(Gateway.objects.all(), now), pk=pk)
        return self.versioned(gateway_shown(gateway, now), gateway_version(gateway), **options)


@extend_schema(tags=["Staff: gateways"])
class GatewayList(_Gateways, StaffListView):
    scopes = {"GET": Scope.STAFF_READ, "POST": Scope.STAFF_WRITE}
    permissions = {"GET": "keys.view_gateway", "POST": "keys.add_gateway"}
    serializer_class = StaffGatewayInput
    filterset_class = GatewayFilter

    def get_queryset(self) -> QuerySet[Any]:
        return staff_selectors.gateways_with_facts(Gateway.objects.all(), timezone.now())

    @extend_schema(operation_id="staff_list_gateways", summary="List gateways", responses=StaffGatewayShape(many=True))
    def get(self, request: Request) -> Response:
        """With their headroom, what is pending, who speaks to them, and what went wrong."""
        now = timezone.now()
        return self.get_paginated_response([gateway_shown(gateway, now) for gateway in self.page()])

    @extend_schema(
        operation_id="staff_register_gateway",
        summary="Register a gateway",
        request=StaffGatewayInput,
        responses={201: StaffGatewayShape},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Makes an AWS account and Region known. Nothing is sent there."""
        gateway = gateways.register_gateway(**self.valid(), actor=self.caller.actor())
        return self.answer(gateway.pk, status=201, headers={"Location": reverse("api:staff_gateway", args=[gateway.pk])})


@extend_schema(tags=["Staff: gateways"])
class GatewayDetail(_Gateways):
    scopes = {"GET": Scope.STAFF_READ, "PATCH": Scope.STAFF_WRITE}
    permissions = {"GET": "keys.view_gateway", "PATCH": "keys.change_gateway"}
    serializer_class = StaffGatewayChange

    @extend_schema(operation_id="staff_get_gateway", summary="Look at a gateway", responses=StaffGatewayShape)
    def get(self, request: Request, pk: uuid.UUID) -> Response:
        """With its headroom, what is pending, who speaks to it, and what went wrong."""
        return self.answer(pk)

    @extend_schema(operation_id="staff_change_gateway", summary="Change a gateway", request=StaffGatewayChange, responses=StaffGatewayShape)
    def patch(self, request: Request, pk: uuid.UUID) -> Response:
        """What is left out stays as it is. Nothing is sent to AWS; purchases follow it at once."""
        data = self.valid()
        with self.if_match(Gateway.objects.filter(pk=pk), gateway_version) as found:
            fields = ("name", "propagation_seconds", "capacity", "accepts_keys")
            values = {field: data.get(field, getattr(found, field)) for field in fields}
            gateways.change_gateway(gateway=found, **values, actor=self.caller.actor())
        return self.answer(pk)


@extend_schema(tags=["Staff: gateways"])
class GatewayReconcile(_Gateways):
    scopes = {"POST": Scope.STAFF_WRITE}
    permissions = {"POST": "keys.change_gateway"}
    serializer_class = Nothing

    @extend_schema(
        operation_id="staff_reconcile_gateway", summary="Reconcile a gateway", request=Nothing, responses={202: StaffGatewayShape}
    )
    @idempotent
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """Asks its worker to compare everything and repair it; the run appears at /staff/reconcile-runs."""
        self.valid()
        gateways.request_reconcile(gateway=get_object_or_404(Gateway, pk=pk), actor=self.caller.actor())
        return self.answer(pk, status=202)


@extend_schema(tags=["Staff: gateways"])
class GatewayTryAgain(_Gateways):
    scopes = {"POST": Scope.STAFF_WRITE}
    permissions = {"POST": "keys.change_gateway"}
    serializer_class = Nothing

    @extend_schema(
        operation_id="staff_try_gateway_again", summary="Try failed rows again", request=Nothing, responses={202: StaffGatewayShape}
    )
    @idempotent
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """Asks its worker to try all rows again that have failed: for when the cause was mended."""
        self.valid()
        gateways.try_again(gateway=get_object_or_404(Gateway, pk=pk), actor=self.caller.actor())
        return self.answer(pk, status=202)


@extend_schema(tags=["Staff: gateways"])
class StageList(StaffListView):
    scopes = {"GET": Scope.STAFF_READ, "POST": Scope.STAFF_WRITE}
    permissions = {"GET": "keys.view_stage", "POST": "keys.add_stage"}
    refusals = {gateways.UnableToChangeGateway: "refused"}
    serializer_class = StageInput
    # Stages do not say when they were registered: among those of one gateway the id alone gives the order.
    keyset_time_field = "since"

    def get_queryset(self) -> QuerySet[Stage]:
        gateway = get_object_or_404(Gateway, pk=self.kwargs["pk"])
        return Stage.objects.filter(gateway=gateway).select_related("gateway").annotate(since=F("gateway__created_at"))

    @extend_schema(operation_id="staff_list_stages", summary="List stages of a gateway", responses=StageShape(many=True))
    def get(self, request: Request, pk: uuid.UUID) -> Response:
        """Where tenants call. A tier names the stages that it serves by their ids."""
        return self.get_paginated_response([stage_shown(stage) for stage in self.page()])

    @extend_schema(operation_id="staff_register_stage", summary="Register a stage", request=StageInput, responses={201: StageShape})
    @idempotent
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """Makes a deployed stage known. Nothing is sent to AWS; tiers can then serve it."""
        self.need("keys.change_gateway")
        gateway = get_object_or_404(Gateway, pk=pk)
        stage = gateways.register_stage(gateway=gateway, **self.valid(), actor=self.caller.actor())
        location = reverse("api:staff_stage", args=[stage.pk])
        return self.versioned(stage_shown(stage), stage_shown(stage), status=201, headers={"Location": location})


@extend_schema(tags=["Staff: gateways"])
class StageDetail(StaffView):
    scopes = {"GET": Scope.STAFF_READ, "PATCH": Scope.STAFF_WRITE}
    permissions = {"GET": "keys.view_stage", "PATCH": "keys.change_stage"}
    refusals = {gateways.UnableToChangeGateway: "refused"}
    serializer_class = StageChange

    @extend_schema(operation_id="staff_get_stage", summary="Look at a stage", responses=StageShape)
    def get(self, request: Request, pk: uuid.UUID) -> Response:
        """Where tenants call."""
        return self.shown(stage_shown(get_object_or_404(Stage.objects.select_related("gateway"), pk=pk)))

    @extend_schema(operation_id="staff_change_stage", summary="Change a stage", request=StageChange, responses=StageShape)
    def patch(self, request: Request, pk: uuid.UUID) -> Response:
        """Changes what tenants call: their pages show it at once."""
        self.need("keys.change_gateway")
        data = self.valid()
        with self.if_match(Stage.objects.filter(pk=pk).select_related("gateway"), stage_shown) as found:
            values = {field: data.get(field, getattr(found, field)) for field in ("invoke_url", "test_path")}
            stage = gateways.change_stage(stage=found, **values, actor=self.caller.actor())
        return self.shown(stage_shown(stage))
