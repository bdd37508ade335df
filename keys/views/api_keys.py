"""A tenant's list of keys, and the page of one of them."""

import uuid

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from keys import selectors
from keys.views.details import detail_context
from keys.views.presenting import key_rows
from tenants.current import TenantRequest, tenant_required
from tenants.models import Role

PAGE_SIZE = 25
LONGEST_QUERY = 100


@require_safe
@tenant_required()
def key_list(request: TenantRequest) -> HttpResponse:
    """The tenant's API keys, newest first, with search."""
    # PostgreSQL takes no NUL in a text; no name holds one.
    query = request.GET.get("q", "").replace("\0", "").strip()[:LONGEST_QUERY]
    page = Paginator(selectors.api_keys_of(request.tenant, query), PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "page": page,
        "rows": key_rows(list(page), timezone.now()),
        "query": query,
        "may_change": request.membership.may(Role.MEMBER),
    }
    return render(request, "keys/list.html", context)


@require_safe
@never_cache
@tenant_required()
def key_row(request: TenantRequest, pk: uuid.UUID) -> HttpResponse:
    """The row of a key whose credential was being made, for htmx; 204 (nothing is swapped, the focus stays) while it still is."""
    api_key = selectors.api_key_of(request.tenant, pk)
    [row] = key_rows([api_key], timezone.now())
    if row.is_waiting:
        return HttpResponse(status=204)
    return render(request, "keys/_row.html", {"row": row, "news": True, "may_change": request.membership.may(Role.MEMBER)})


@require_safe
@tenant_required()
def key_detail(request: TenantRequest, pk: uuid.UUID) -> HttpResponse:
    """Everything about one API key except its credential, which ``reveal_key`` shows."""
    api_key = selectors.api_key_of(request.tenant, pk)
    return render(request, "keys/detail.html", detail_context(request, api_key))


@require_safe
@never_cache
@tenant_required()
def key_state(request: TenantRequest, pk: uuid.UUID) -> HttpResponse:
    """Status and actions of a key whose credential was being made, for htmx; 204 while it still is."""
    api_key = selectors.api_key_of(request.tenant, pk)
    context = detail_context(request, api_key)
    if context["row"].is_waiting:
        return HttpResponse(status=204)
    return render(request, "keys/_state_news.html", context)
