"""``/staff/pools``: the shared gateway keys of pooled tiers, and how evenly they are loaded."""

import uuid
from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keys import staff_selectors
from keys.api.staff.base import StaffListView, StaffView, TierRef, tier_ref
from keys.api.staff.examples import with_example
from keys.models import Isolation, Tier
from keys.services import pools
from tenants.api.fields import Input, Whole
from tenants.api.idempotency import idempotent
from tenants.api.problems import invalid
from tenants.models import Scope


@with_example
class PoolShape(serializers.Serializer[Any]):
    """A pooled tier's set of gateway keys. It goes by the id of its tier."""

    tier = TierRef()
    size = serializers.IntegerField(help_text="Gateway keys.")
    api_keys = serializers.IntegerField(help_text="Live API keys that stand on them.")
    load_min = serializers.IntegerField(help_text="API keys on the emptiest one.")
    load_max = serializers.IntegerField(help_text="API keys on the fullest one.")
    blast_radius = serializers.FloatField(
        allow_null=True, help_text="The largest share of the tier's API keys that one gateway key carries, 0 to 1; null while none is sold."
    )


class PoolKeyShape(serializers.Serializer[Any]):
    """One gateway key of a pool."""

    id = serializers.UUIDField()
    position = serializers.IntegerField()
    last_four = serializers.CharField()
    gateway = serializers.UUIDField(help_text="Id of the gateway that it is on.")
    in_service_at = serializers.DateTimeField(allow_null=True)
    load = serializers.IntegerField(help_text="API keys that stand on it.")


@with_example
class PoolDetailShape(PoolShape):
    """A pool with the load of each of its keys."""

    keys = PoolKeyShape(many=True, help_text="By position.")


@with_example
class PoolSize(Input):
    """How large a pool shall be."""

    size = Whole(min_value=1, max_value=pools.LARGEST_POOL)


@with_example
class ResizePreviewShape(serializers.Serializer[Any]):
    """What resizing a pool will do."""

    size = serializers.IntegerField()
    moved = serializers.IntegerField(help_text="API keys that get another credential, because theirs stand on keys that leave.")
    grace_seconds = serializers.IntegerField(help_text="How long the credential that they had goes on working.")


def pool_shown(tier: Any) -> dict[str, Any]:
    """``PoolShape``. Load the tier by ``staff_selectors.tiers_with_facts``."""
    return {
        "tier": tier_ref(tier),
        "size": tier.pool.size,
        "api_keys": tier.sold,
        "load_min": tier.load_min or 0,
        "load_max": tier.load_max or 0,
        "blast_radius": staff_selectors.largest_share(tier),
    }


def pool_detail_shown(tier: Any) -> dict[str, Any]:
    """``PoolDetailShape``; as ``pool_shown``, and one query more."""
    keys = [
        {
            "id": key.id,
            "position": key.position,
            "last_four": key.last_four,
            "gateway": key.gateway_id,
            "in_service_at": key.in_service_at,
            "load": key.load,
        }
        for key in staff_selectors.pool_keys_of(tier)
    ]
    return {**pool_shown(tier), "keys": keys}


def _size(request: Request) -> int:
    text = request.query_params.get("size", "")
    if not text.isascii() or not text.isdigit() or len(text) > 4 or not 1 <= int(text) <= pools.LARGEST_POOL:
        raise invalid("size", _("Give a whole number from 1 to %(largest)d.") % {"largest": pools.LARGEST_POOL})
    return int(text)


def _pooled() -> QuerySet[Any]:
    return staff_selectors.tiers_with_facts(Tier.objects.filter(isolation=Isolation.POOLED))


@extend_schema(tags=["Staff: pools"])
class PoolList(StaffListView):
    scopes = {"GET": Scope.STAFF_READ}
    permissions = {"GET": "keys.view_tier"}
    serializer_class = PoolShape

    def get_queryset(self) -> QuerySet[Any]:
        return _pooled()

    @extend_schema(operation_id="staff_list_pools", summary="List pools", responses=PoolShape(many=True))
    def get(self, request: Request) -> Response:
        """One a pooled tier, newest tier first."""
        return self.get_paginated_response([pool_shown(tier) for tier in self.page()])


@extend_schema(tags=["Staff: pools"])
class PoolDetail(StaffView):
    scopes = {"GET": Scope.STAFF_READ}
    permissions = {"GET": "keys.view_tier"}
    serializer_class = PoolDetailShape

    @extend_schema(operation_id="staff_get_pool", summary="Look at a pool", responses=PoolDetailShape)
    def get(self, request: Request, pk: uuid.UUID) -> Response:
        """The load of each of its keys. `pk` is the id of the tier."""
        return self.shown(pool_detail_shown(get_object_or_404(_pooled(), pk=pk)))


@extend_schema(tags=["Staff: pools"])
class PoolResize(StaffView):
    scopes = {"POST": Scope.STAFF_WRITE}
    permissions = {"POST": "keys.change_tier"}
    refusals = {pools.UnableToChangePool: "refused"}
    serializer_class = PoolSize

    @extend_schema(operation_id="staff_resize_pool", summary="Resize a pool", request=PoolSize, responses=PoolDetailShape)
    @idempotent
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """A larger pool makes keys at API Gateway and moves nobody. A smaller one moves the tenants of the leaving keys; the
        credential that they had works for a week more."""
        tier = get_object_or_404(_pooled(), pk=pk)
        pools.resize_pool(tier=tier, size=self.valid()["size"], actor=self.caller.actor())
        return Response(pool_detail_shown(_pooled().get(pk=pk)))


@extend_schema(tags=["Staff: pools"])
class PoolPreview(StaffView):
    scopes = {"GET": Scope.STAFF_READ}
    permissions = {"GET": "keys.view_tier"}
    parameters = frozenset({"size"})
    serializer_class = ResizePreviewShape

    @extend_schema(
        operation_id="staff_preview_pool",
        summary="Preview another size",
        parameters=[
            OpenApiParameter(
                "size", {"type": "integer", "minimum": 1, "maximum": pools.LARGEST_POOL}, required=True, description="Gateway keys."
            )
        ],
        responses=ResizePreviewShape,
    )
    def get(self, request: Request, pk: uuid.UUID) -> Response:
        """How many API keys a pool of this size would move. Nothing is changed."""
        tier = get_object_or_404(_pooled(), pk=pk)
        size = _size(request)
        moved = sum(key.load for key in staff_selectors.pool_keys_of(tier) if key.position >= size)
        return Response({"size": size, "moved": moved, "grace_seconds": int(pools.MOVE_GRACE.total_seconds())})
