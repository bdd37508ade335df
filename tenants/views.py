"""Pages about tenants."""

import uuid

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from tenants import current
from tenants.current import TenantRequest, tenant_required


@require_http_methods(["GET", "HEAD", "POST"])
@tenant_required()
def switch(request: TenantRequest) -> HttpResponse:
    """People who belong to several tenants choose the one that they act for."""
    if request.method != "POST":
        return render(request, "tenants/switch.html", {"memberships": request.memberships, "membership": request.membership})
    try:
        tenant_id = uuid.UUID(request.POST.get("tenant", ""))
    except ValueError as error:
        raise Http404 from error
    membership = current.switch_tenant(request, tenant_id)
    if membership is None:
        raise Http404
    messages.success(request, _("You see the keys of %(name)s now.") % {"name": membership.tenant.name})
    return redirect("keys:list")
