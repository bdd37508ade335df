"""``/tiers``: what can be bought."""

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from keys.api.filters import TierFilter
from keys.api.shapes import TierShape, tier_shown
from keys.models import Tier
from tenants.api.views import ApiView, ListView
from tenants.models import Scope


@extend_schema(tags=["Tiers"])
class TierList(ListView):
    scopes = {"GET": Scope.KEYS_READ}
    serializer_class = TierShape
    filterset_class = TierFilter

    def get_queryset(self) -> QuerySet[Tier]:
        return Tier.objects.all() if "retired" in self.request.query_params else Tier.objects.filter(retired_at=None)

    @extend_schema(operation_id="list_tiers", summary="List tiers", responses=TierShape(many=True))
    def get(self, request: Request) -> Response:
        """What is sold, newest first; `position` is the place on the price page."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response([tier_shown(tier) for tier in page or []])


@extend_schema(tags=["Tiers"])
class TierDetail(ApiView):
    scopes = {"GET": Scope.KEYS_READ}
    serializer_class = TierShape

    @extend_schema(operation_id="get_tier", summary="Look at a tier", responses=TierShape)
    def get(self, request: Request, slug: str) -> Response:
        """Limits and price of a tier, also of one that is no longer sold: keys of it go on working."""
        return self.shown(tier_shown(get_object_or_404(Tier, slug=slug)))
