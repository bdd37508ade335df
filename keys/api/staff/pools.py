"""``/staff/pools``: the shared gateway keys of pooled tiers, and how evenly they are loaded."""

import uuid
from collections import Counter
from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keys import sales, staff_selectors
from keys.api.staff.base import StaffListView, StaffView, TierRef, tier_ref
from keys.api.staff.examples import with_example
from keys.models import Isolation, Tier
from keys.models.pool import LARGEST_POOL
from keys.moving import MOVE_GRACE
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
    api_keys = serializers.IntegerField(
        help_text=f"Live API keys that stand on them. Lists count up to {sales.MOST_COUNTED:,}; beyond, it is an estimate, "
        "and the loads are those of the first and the last key."
    )
    load_min = serializers.IntegerField(help_text="API keys on the emptiest one.")
    load_max = serializers.IntegerField(help_text="API keys on the fullest one.")
    blast_radius = serializers.FloatField(
        allow_null=True, help_text="The largest share of the tier's API keys that one gateway key carries, 0 to 1; null while none is sold."
    )


class LoadShape(serializers.Serializer[Any]):
    """How many gateway keys carry so many API keys."""

    load = serializers.IntegerField(help_text="API keys on one gateway key.")
    gateway_keys = serializers.IntegerField()


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

    free_slots = serializers.IntegerField(help_text="Places that are filled before any others: they level the pool.")
    loads = LoadShape(many=True, help_text="The histogram of its loads, the smallest first.")
    keys = PoolKeyShape(many=True, help_text="By position.")


@with_example
class PoolSize(Input):
    """How large a pool shall be."""

    size = Whole(min_value=1, max_value=LARGEST_POOL)


@with_example
class MovePreviewShape(serializers.Serializer[Any]):
    """What another size, or levelling, does to a pool."""

    size = serializers.IntegerField(help_text="Gateway keys then.")
    moved = serializers.IntegerField(help_text="API keys that get another credential.")
    new_url = serializers.IntegerField(help_text="Those of them whose URL changes too: their new gateway key is on another gateway.")
    load_min = serializers.IntegerField(help_text="API keys on the emptiest gateway key then.")
    load_max = serializers.IntegerField(help_text="API keys on the fullest gateway key then.")
    blast_radius_before = serializers.FloatField(allow_null=True, help_text="0 to 1; null while none is sold.")
    blast_radius = serializers.FloatField(allow_null=True, help_text="Then.")
    grace_seconds = serializers.IntegerField(help_text="How long the credential that they had goes on working.")


def pool_shown(tier: Any) -> dict[str, Any]:
    """``PoolShape``. Load the tier by ``sales.tiers_with_facts``."""
    sold = sales.sales_of(tier)
    return {
        "tier": tier_ref(tier),
        "size": tier.pool.size,
        "api_keys": sold.sold,
        "load_min": sold.load_min or 0,
        "load_max": sold.load_max or 0,
        "blast_radius": sold.largest_share,
    }


def pool_detail_shown(tier: Any) -> dict[str, Any]:
    """``PoolDetailShape``; as ``pool_shown``, and two queries more."""
    found = staff_selectors.pool_keys_of(tier)
    keys = [
        {
            "id": key.id,
            "position": key.position,
            "last_four": key.last_four,
            "gateway": key.gateway_id,
            "in_service_at": key.in_service_at,
            "load": key.load,
        }
        for key in found
    ]
    loads = sorted(Counter(key.load for key in found).items())
    exact = _shares([key.load for key in found]) if tier.counted > sales.MOST_COUNTED else {}
    facts = {**exact, "free_slots": tier.pool.free_slots.count(), "loads": [{"load": load, "gateway_keys": count} for load, count in loads]}
    return {**pool_shown(tier), **facts, "keys": keys}


def _shares(loads: list[int]) -> dict[str, Any]:
    """Of a pool whose keys were all counted."""
    most, total = max(loads, default=0), sum(loads)
    return {"api_keys": total, "load_min": min(loads, default=0), "load_max": most, "blast_radius": most / total if total else None}


def preview_shown(preview: pools.Preview) -> dict[str, Any]:
    """``MovePreviewShape``."""
    return {
        "size": preview.size,
        "moved": preview.moved,
        "new_url": preview.new_url,
        "load_min": preview.emptiest,
        "load_max": preview.fullest,
        "blast_radius_before": preview.blast_radius_before,
        "blast_radius": preview.blast_radius,
        "grace_seconds": int(MOVE_GRACE.total_seconds()),
    }


def _size(request: Request) -> int:
    text = request.query_params.get("size", "")
    if not text.isascii() or not text.isdigit() or len(text) > 4 or not 1 <= int(text) <= LARGEST_POOL:
        raise invalid("size", _("Give a whole number from 1 to %(largest)d.") % {"largest": LARGEST_POOL})
    return int(text)


def _pooled() -> QuerySet[Any]:
    return sales.tiers_with_facts(Tier.objects.filter(isolation=Isolation.POOLED))


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
        credential that they had works for a week more. Where thousands move, the last of them do so within minutes."""
        tier = get_object_or_404(_pooled(), pk=pk)
        pools.resize_pool(tier=tier, size=self.valid()["size"], actor=self.caller.actor())
        return Response(pool_detail_shown(_pooled().get(pk=pk)))


@extend_schema(tags=["Staff: pools"])
class PoolPreview(StaffView):
    scopes = {"GET": Scope.STAFF_READ}
    permissions = {"GET": "keys.view_tier"}
    parameters = frozenset({"size"})
    serializer_class = MovePreviewShape

    @extend_schema(
        operation_id="staff_preview_pool",
        summary="Preview another size",
        parameters=[
            OpenApiParameter("size", {"type": "integer", "minimum": 1, "maximum": LARGEST_POOL}, required=True, description="Gateway keys.")
        ],
        responses=MovePreviewShape,
    )
    def get(self, request: Request, pk: uuid.UUID) -> Response:
        """How many API keys a pool of this size would move, and how they would be spread. Nothing is changed."""
        tier = get_object_or_404(_pooled(), pk=pk)
        return Response(preview_shown(pools.preview_resize(tier, _size(request))))


@with_example
class Rebalance(Input):
    """How many may move."""

    most = Whole(min_value=1, max_value=100_000, default=pools.MOST_MOVED, help_text="API keys to move at most.")


@with_example
class RebalancedShape(PoolDetailShape):
    """A pool after API keys were moved."""

    moved = serializers.IntegerField(help_text="API keys that were moved now; 0: it was level.")


@extend_schema(tags=["Staff: pools"])
class PoolRebalance(StaffView):
    scopes = {"GET": Scope.STAFF_READ, "POST": Scope.STAFF_WRITE}
    permissions = {"GET": "keys.view_tier", "POST": "keys.change_tier"}
    refusals = {pools.UnableToChangePool: "refused"}
    serializer_class = Rebalance

    @extend_schema(operation_id="staff_preview_rebalance", summary="Preview levelling a pool", responses=MovePreviewShape)
    def get(self, request: Request, pk: uuid.UUID) -> Response:
        """How many API keys would move to level the pool, up to what one call moves by default. Nothing is changed."""
        return Response(preview_shown(pools.preview_rebalance(get_object_or_404(_pooled(), pk=pk))))

    @extend_schema(operation_id="staff_rebalance_pool", summary="Level a pool", request=Rebalance, responses=RebalancedShape)
    @idempotent
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """Moves as few API keys as level it, from its fullest gateway keys to its emptiest. Their tenants get another credential and are
        told; the one that they had works for a week more. Repeat it until `moved` is 0."""
        tier = get_object_or_404(_pooled(), pk=pk)
        moved = pools.rebalance_pool(tier=tier, most=self.valid()["most"], actor=self.caller.actor())
        return Response({**pool_detail_shown(_pooled().get(pk=pk)), "moved": moved})
