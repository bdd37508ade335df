"""``/staff/gateways/{id}/drain``: emptying a gateway, and how far that is."""

import uuid
from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keys.api.staff.base import StaffView
from keys.api.staff.examples import with_example
from keys.drains import drain_of
from keys.models import Gateway
from keys.services import draining, gateways
from tenants.api.fields import Input, Nothing, YesNo
from tenants.api.idempotency import idempotent
from tenants.models import Scope


@with_example
class DrainShape(serializers.Serializer[Any]):
    """What still is on a gateway, in gateway keys."""

    draining_since = serializers.DateTimeField(allow_null=True, help_text="Null unless it is drained.")
    keys_held = serializers.IntegerField(help_text="Altogether. The gateway is empty at 0.")
    pool_keys = serializers.IntegerField(help_text="Their tenants move to the tiers' other gateways by themselves.")
    stuck = serializers.IntegerField(help_text="Pool keys of tiers that no other gateway that can take keys now serves.")
    siloed = serializers.IntegerField(help_text="Gateway keys of siloed API keys. They stay until `moves_siloed_since`.")
    siloed_stuck = serializers.IntegerField(
        help_text="Of these, those that cannot move for now: disabled, suspended, being prepared, in a rotation's grace, or without a "
        "gateway to go to."
    )
    spares = serializers.IntegerField()
    canaries = serializers.IntegerField()
    leaving = serializers.IntegerField(help_text="Replaced already, and removed when their grace is over.")
    leaves_by = serializers.DateTimeField(allow_null=True, help_text="When the last of these is removed.")
    moves_siloed_since = serializers.DateTimeField(
        allow_null=True,
        help_text="From when the workers move siloed API keys to their tiers' other gateways, too, in parts. Null: they stay.",
    )


def drain_shown(gateway: Gateway) -> dict[str, Any]:
    """``DrainShape``."""
    drain = drain_of(gateway)
    return {
        "draining_since": drain.since,
        "keys_held": drain.held,
        "pool_keys": drain.pool_keys,
        "stuck": drain.stuck,
        "siloed": drain.siloed,
        "siloed_stuck": drain.siloed_stuck,
        "spares": drain.spares,
        "canaries": drain.canaries,
        "leaving": drain.leaving,
        "leaves_by": drain.leaves_by,
        "moves_siloed_since": drain.moves_siloed_since,
    }


@with_example
class DrainInput(Input):
    """How a gateway is drained."""

    move_siloed = YesNo(
        default=False,
        help_text="True: let siloed API keys move, too. Their tenants get another credential and URL, and have 7 days to act. False leaves "
        "this as it is.",
    )


@extend_schema(tags=["Staff: gateways"])
class GatewayDrain(StaffView):
    scopes = {"GET": Scope.STAFF_READ, "POST": Scope.STAFF_WRITE}
    permissions = {"GET": "keys.view_gateway", "POST": "keys.change_gateway"}
    refusals = {gateways.UnableToChangeGateway: "refused"}
    serializer_class = DrainInput

    @extend_schema(operation_id="staff_get_drain", summary="See what is left on a gateway", responses=DrainShape)
    def get(self, request: Request, pk: uuid.UUID) -> Response:
        """Drained or not."""
        return Response(drain_shown(get_object_or_404(Gateway, pk=pk)))

    @extend_schema(operation_id="staff_drain_gateway", summary="Drain a gateway", request=DrainInput, responses={202: DrainShape})
    @idempotent
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """No new keys are made there, its spares end, and its pools move to their tiers' other gateways; siloed API keys if you say so.

        Who is moved gets another credential and URL; the old ones work for 7 days. Webhooks tell of it; tenants without one read it on
        their key's page alone.
        """
        data = self.valid()
        gateway = draining.drain(gateway=get_object_or_404(Gateway, pk=pk), actor=self.caller.actor())
        if data["move_siloed"]:
            gateway = draining.move_siloed(gateway=gateway, actor=self.caller.actor())
        return Response(drain_shown(gateway), status=202)


@extend_schema(tags=["Staff: gateways"])
class GatewayUndrain(StaffView):
    scopes = {"POST": Scope.STAFF_WRITE}
    permissions = {"POST": "keys.change_gateway"}
    serializer_class = Nothing

    @extend_schema(operation_id="staff_undrain_gateway", summary="End a drain", request=Nothing, responses=DrainShape)
    @idempotent
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """The gateway takes new keys again, and nothing moves any more. What left it stays where it is."""
        self.valid()
        gateway = draining.undrain(gateway=get_object_or_404(Gateway, pk=pk), actor=self.caller.actor())
        return Response(drain_shown(gateway))
