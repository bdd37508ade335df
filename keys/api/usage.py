"""``/usage`` and ``/keys/{id}/usage``: what was called. Usage is known by the UTC day, late by up to an hour."""

import uuid

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from keys import selectors
from keys.api.days import DAYS, days_of
from keys.api.filters import ApiKeyFilter
from keys.api.shapes import KeyUsageShape, UsageShape, period_shown
from keys.models import ApiKey
from tenants.api.problems import invalid
from tenants.api.views import ApiView, ListView
from tenants.models import Scope

_INTERVAL = OpenApiParameter("interval", {"type": "string", "enum": ["day"], "default": "day"}, description="Usage is known by the day.")


@extend_schema(tags=["Usage"])
class KeyUsage(ApiView):
    scopes = {"GET": Scope.USAGE_READ}
    parameters = frozenset({"from", "to", "interval"})
    serializer_class = KeyUsageShape

    @extend_schema(operation_id="get_key_usage", summary="Usage of a key", parameters=[*DAYS, _INTERVAL], responses=KeyUsageShape)
    def get(self, request: Request, pk: uuid.UUID) -> Response:
        """Requests day by day, of all credentials that the key has had, and how much of its quota is used."""
        first, last = days_of(request)
        interval = request.query_params.get("interval", "day")
        if interval != "day":
            raise invalid("interval", _("Usage is known by the day: give “day”, or leave it out."))
        api_key = selectors.api_key_of(self.tenant, pk)
        now = timezone.now()
        days = selectors.usage_between(api_key, first, last)
        return Response(
            {
                "from": first,
                "to": last,
                "key": api_key.pk,
                "interval": interval,
                "used": sum(used for _day, used in days),
                "days": [{"date": day, "used": used} for day, used in days],
                "period": period_shown(selectors.usage_of_period(api_key, now), now),
            }
        )


@extend_schema(tags=["Usage"])
class Usage(ListView):
    scopes = {"GET": Scope.USAGE_READ}
    parameters = frozenset({"from", "to"})
    serializer_class = UsageShape
    filterset_class = ApiKeyFilter

    def get_queryset(self) -> QuerySet[ApiKey]:
        return selectors.api_keys_of(self.tenant)

    @extend_schema(operation_id="list_usage", summary="Usage of all keys", parameters=DAYS, responses=UsageShape(many=True))
    def get(self, request: Request) -> Response:
        """Requests by key over some days: for one day, let `from` and `to` be the same. Newest key first, revoked ones too."""
        first, last = days_of(request)
        api_keys = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        now = timezone.now()
        used, periods = selectors.usage_totals(api_keys, first, last), selectors.usages_of_period(api_keys, now)
        return self.get_paginated_response(
            [
                {
                    "from": first,
                    "to": last,
                    "key": api_key.pk,
                    "name": api_key.name,
                    "tier": api_key.tier.slug,
                    "used": used[api_key.pk],
                    "period": period_shown(periods[api_key.pk], now),
                }
                for api_key in api_keys
            ]
        )
