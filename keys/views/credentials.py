"""The one view that hands out a credential."""

import uuid

from django.contrib import messages
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from keys import selectors
from keys.services import api_keys
from keys.services.api_keys import UnableToChangeKey
from keys.views.details import detail_context
from tenants.audit import Actor
from tenants.current import TenantRequest, tenant_required
from tenants.models import Role
from tenants.ratelimits import limited
from tenants.reauth import reauthentication_required


@never_cache
@require_POST
@tenant_required(role=Role.MEMBER)
@limited(group="reveal", rate="30/m", key="user", method="POST")
@reauthentication_required
def reveal_key(request: TenantRequest, pk: uuid.UUID) -> HttpResponse:
    """The credential in clear: as JSON for copying and the console, as a fragment for htmx, else as the key's page.

    Never cached, never redirected to: the value is in the body of this answer and nowhere else.
    """
    api_key = selectors.api_key_of(request.tenant, pk)
    wants_json = request.headers.get("Accept") == "application/json"
    try:
        credential = api_keys.reveal(api_key=api_key, actor=Actor.of(request))
    except UnableToChangeKey as refusal:
        if wants_json:
            return JsonResponse({"error": str(refusal)}, status=409)
        messages.error(request, str(refusal))
        return redirect("keys:detail", pk=pk)
    if wants_json:
        return JsonResponse({"value": credential})
    template = "keys/_revealed.html" if request.htmx else "keys/detail.html"
    return render(request, template, detail_context(request, api_key, credential))
