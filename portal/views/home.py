"""The start page."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from keys import selectors
from keys.views.people import tenant_of
from portal.views.docs import EXAMPLE_URL, first_call


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """``/``: what this is, and the tiers; who is signed in sees which they have."""
    tenant = tenant_of(request)
    context = {
        "tiers": selectors.tiers_for_sale(),
        "held": selectors.held_tiers(tenant) if tenant else set(),
        "first_call": first_call(EXAMPLE_URL),
    }
    return render(request, "portal/home.html", context)
