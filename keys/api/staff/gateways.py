"""``/staff/gateways``: AWS accounts and Regions, registered, looked at and changed."""

import uuid
from typing import Any

import django_filters
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from keys import staff_selectors
from keys.api.staff.base import StaffListView, StaffView
from keys.api.staff.gateway_shapes import StaffGatewayChange, StaffGatewayInput, StaffGatewayShape, gateway_shown, gateway_version
from keys.models import Gateway
from keys.queues import backlogs_of
from keys.services import gateways
from tenants.api.filters import YesNoFilter
from tenants.api.idempotency import idempotent
from tenants.models import Scope


class GatewayFilter(django_filters.FilterSet):  # type: ignore[misc]  # django-filter is untyped
    """Where, and whether they take keys."""

    account_id = django_filters.CharFilter(max_length=12, label=gettext_lazy("AWS account"))
    region = django_filters.CharFilter(max_length=32, label=gettext_lazy("As us-east-1"))
    accepts_keys = YesNoFilter(lambda rows, yes: rows.filter(accepts_keys=yes), label=gettext_lazy("Takes new keys"))

    class Meta:
        model = Gateway
        fields: list[str] = []


class GatewayView(StaffView):
    """A URL about one gateway, which answers with the gateway as it is then."""

    refusals = {gateways.UnableToChangeGateway: "refused"}

    def answer(self, pk: uuid.UUID, **options: Any) -> Response:
        """The gateway as it is now."""
        now = timezone.now()
        gateway = get_object_or_404(staff_selectors.gateways_with_facts(Gateway.objects.all(), now), pk=pk)
        backlog = backlogs_of([gateway], now)[gateway.pk]
        return self.versioned(gateway_shown(gateway, backlog, now), gateway_version(gateway), **options)


@extend_schema(tags=["Staff: gateways"])
class GatewayList(GatewayView, StaffListView):
    scopes = {"GET": Scope.STAFF_READ, "POST": Scope.STAFF_WRITE}
    permissions = {"GET": "keys.view_gateway", "POST": "keys.add_gateway"}
    serializer_class = StaffGatewayInput
    filterset_class = GatewayFilter

    def get_queryset(self) -> QuerySet[Any]:
        return staff_selectors.gateways_with_facts(Gateway.objects.all(), timezone.now())

    @extend_schema(operation_id="staff_list_gateways", summary="List gateways", responses=StaffGatewayShape(many=True))
    def get(self, request: Request) -> Response:
        """With their headroom, what is pending, who speaks to them, and what went wrong."""
        now, page = timezone.now(), self.page()
        backlogs = backlogs_of(page, now)
        return self.get_paginated_response([gateway_shown(gateway, backlogs[gateway.pk], now) for gateway in page])

    @extend_schema(
        operation_id="staff_register_gateway",
        summary="Register a gateway",
        request=StaffGatewayInput,
        responses={201: StaffGatewayShape},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Makes an AWS account and Region known. Nothing is sent there; ask for a check of the permissions next."""
        gateway = gateways.register_gateway(**self.valid(), actor=self.caller.actor())
        return self.answer(gateway.pk, status=201, headers={"Location": reverse("api:staff_gateway", args=[gateway.pk])})


@extend_schema(tags=["Staff: gateways"])
class GatewayDetail(GatewayView):
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
            gateways.change_gateway(gateway=found, **data, actor=self.caller.actor())
        return self.answer(pk)
