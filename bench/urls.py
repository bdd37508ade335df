"""The portal's URLs plus what its pages are compared with: an empty page of a signed-in person, and the same things written plainly."""

import uuid

from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Count, Q
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import include, path
from django.utils import timezone

from keys.models import ApiKey, GatewayKey, Tier
from keys.views.presenting import key_rows
from tenants.current import TenantRequest, tenant_required


@tenant_required()
def empty(request: TenantRequest) -> HttpResponse:
    return HttpResponse("ok")


@tenant_required()
def plain_list(request: TenantRequest) -> HttpResponse:
    """The list of keys as one would first write it: queries for tier, gateway key and usage of every row."""
    now = timezone.now()
    page = Paginator(ApiKey.objects.filter(tenant=request.tenant).order_by("-created_at"), 25).get_page(1)
    rows = [row for api_key in page for row in key_rows([api_key], now)]
    return render(request, "keys/list.html", {"page": page, "rows": rows, "query": "", "may_change": True})


@tenant_required()
def naive_buy(request: TenantRequest) -> HttpResponse:
    """A purchase as one would first write it: count the tenants of every key, take the least."""
    tier = Tier.objects.get(slug="bench")
    with transaction.atomic():
        load = Count("api_keys", filter=Q(api_keys__slot__isnull=False))
        key = GatewayKey.objects.filter(usage_plan__tier=tier, ends_at=None).annotate(load=load).order_by("load").first()
        bought = ApiKey.objects.create(
            tenant=request.tenant, tier=tier, gateway_key=key, slot=uuid.uuid4().int >> 68, name=request.POST["name"]
        )
    return redirect("keys:detail", pk=bought.pk)


urlpatterns = [
    path("bench/empty/", empty),
    path("bench/list/", plain_list),
    path("bench/buy/", naive_buy),
    path("bench/api/", include("bench.plain_api")),
    path("", include("portal.urls")),
]
