"""The public comparison of tiers."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from keys import selectors
from keys.views.people import tenant_of


@require_safe
def tier_list(request: HttpRequest) -> HttpResponse:
    """What each tier costs and allows; who is signed in sees which they have."""
    tenant = tenant_of(request)
    held = selectors.held_tiers(tenant) if tenant else set()
    suspended = tenant is not None and tenant.suspended_at is not None
    return render(request, "keys/tiers.html", {"tiers": selectors.tiers_for_sale(), "held": held, "suspended": suspended})
