"""``/staff/gateways/{id}/stages`` and ``/staff/stages``: where tenants call."""

import uuid
from typing import Any

from django.core.validators import RegexValidator, URLValidator
from django.db.models import F, QuerySet
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext_lazy
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keys.api.staff.base import GatewayRef, StaffListView, StaffView, gateway_ref
from keys.api.staff.examples import with_example
from keys.models import Gateway, Stage
from keys.services import gateways
from tenants.api.fields import Input, Text
from tenants.api.idempotency import idempotent
from tenants.models import Scope


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
