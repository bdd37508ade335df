"""Buying a key."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from keys.forms import BuyForm
from keys.models import ApiKey, Status, Tier
from keys.services.purchases import UnableToBuyKey, buy
from tenants.audit import Actor
from tenants.current import TenantRequest, tenant_required
from tenants.models import Role
from tenants.ratelimits import limited


@require_http_methods(["GET", "HEAD", "POST"])
@tenant_required(role=Role.MEMBER)
@limited(group="buy", rate="20/m", key="user", method="POST")
def buy_key(request: TenantRequest, slug: str) -> HttpResponse:
    """Three fields and a purchase. A refusal is shown with the form, and nothing that was typed is lost."""
    tier = get_object_or_404(Tier, slug=slug)
    form = BuyForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            api_key = buy(tenant=request.tenant, tier=tier, actor=Actor.of(request), **form.cleaned_data)
        except UnableToBuyKey as refusal:
            form.add_error(None, str(refusal))
        else:
            messages.success(request, _bought_text(api_key))
            return redirect("keys:detail", pk=api_key.pk)
    return render(request, "keys/buy.html", {"form": form, "tier": tier, "suspended": request.tenant.suspended_at is not None})


def _bought_text(api_key: ApiKey) -> str:
    if api_key.status(timezone.now()) is Status.PREPARING:
        return _("The key “%(name)s” was bought. It is being prepared.") % {"name": api_key.name}
    return _("The key “%(name)s” was bought and is ready. Call the API with it, or open the console.") % {"name": api_key.name}
