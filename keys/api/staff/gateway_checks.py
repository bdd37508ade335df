"""``/staff/gateways/{id}/reconcile``, ``try-again`` and ``check``: what a gateway's worker is asked to do."""

import uuid

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from keys.api.staff.examples import with_example
from keys.api.staff.gateway_shapes import StaffGatewayShape
from keys.api.staff.gateways import GatewayView
from keys.models import Gateway
from keys.services import gateways
from tenants.api.fields import Input, Nothing, YesNo
from tenants.api.idempotency import idempotent
from tenants.models import Scope


@with_example
class ReconcileInput(Input):
    """How a gateway is compared with the database."""

    dry_run = YesNo(default=False, help_text="True: only look, and change nothing.")


@extend_schema(tags=["Staff: gateways"])
class GatewayReconcile(GatewayView):
    scopes = {"POST": Scope.STAFF_WRITE}
    permissions = {"POST": "keys.change_gateway"}
    serializer_class = ReconcileInput

    @extend_schema(
        operation_id="staff_reconcile_gateway", summary="Reconcile a gateway", request=ReconcileInput, responses={202: StaffGatewayShape}
    )
    @idempotent
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """Asks its worker to compare everything and, unless it is a dry run, repair it; the run appears at /staff/reconcile-runs."""
        data = self.valid()
        gateways.request_reconcile(gateway=get_object_or_404(Gateway, pk=pk), dry_run=data["dry_run"], actor=self.caller.actor())
        return self.answer(pk, status=202)


@extend_schema(tags=["Staff: gateways"])
class GatewayTryAgain(GatewayView):
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
class GatewayCheck(GatewayView):
    scopes = {"POST": Scope.STAFF_WRITE}
    permissions = {"POST": "keys.change_gateway"}
    serializer_class = Nothing

    @extend_schema(
        operation_id="staff_check_gateway", summary="Check the workers' rights", request=Nothing, responses={202: StaffGatewayShape}
    )
    @idempotent
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """Asks its worker to try every right that is needed there, by calls that change nothing: `permissions` tells what lacks."""
        self.valid()
        gateways.request_check(gateway=get_object_or_404(Gateway, pk=pk), actor=self.caller.actor())
        return self.answer(pk, status=202)
