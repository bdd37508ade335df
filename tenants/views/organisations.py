"""Pages about the organisation that a person acts for."""

import uuid

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from tenants import current, selectors
from tenants.audit import Actor
from tenants.current import TenantRequest, tenant_required
from tenants.forms import RenameForm
from tenants.models import Role
from tenants.services.tenants import UnableToRenameTenant, rename_tenant
from tenants.views.presenting import history_lines

EVENTS_SHOWN = 10


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


@require_safe
@tenant_required()
def organisation(request: TenantRequest) -> HttpResponse:
    """Its name, its people and what they may do."""
    tenant = request.tenant
    context = {
        "tenant": tenant,
        "members": selectors.members_of(tenant).order_by("created_at", "pk"),
        "membership": request.membership,
        "history": history_lines(selectors.history_of(tenant)[:EVENTS_SHOWN]),
        "may_change": request.membership.may(Role.ADMIN),
    }
    return render(request, "tenants/organisation.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@tenant_required(role=Role.ADMIN)
def rename(request: TenantRequest) -> HttpResponse:
    """Another name for the organisation."""
    form = RenameForm(request.POST if request.method == "POST" else None, initial={"name": request.tenant.name})
    if request.method == "POST" and form.is_valid():
        try:
            rename_tenant(tenant=request.tenant, name=form.cleaned_data["name"], actor=Actor.of(request))
        except UnableToRenameTenant as refusal:
            form.add_error("name", str(refusal))
        else:
            messages.success(request, _("The organisation was renamed."))
            return redirect("tenants:organisation")
    return render(request, "tenants/rename.html", {"form": form})
