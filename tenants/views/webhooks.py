"""Webhooks of a tenant, and what was delivered to them. Every member may look; admins and owners change, and read the secret."""

import uuid
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from tenants import selectors as tenant_selectors
from tenants.audit import Actor
from tenants.current import TenantRequest, tenant_required
from tenants.forms import NewWebhookForm, WebhookForm
from tenants.models import Role, WebhookEndpoint
from tenants.ratelimits import limited
from tenants.reauth import reauthentication_required
from tenants.views.presenting import DeliveryRow, EndpointRow, history_lines
from tenants.webhooks import endpoints, selectors
from tenants.webhooks.endpoints import AlreadyRegistered, UnableToChangeWebhook

PAGE_SIZE = 25
EVENTS_SHOWN = 10
page_and_action = require_http_methods(["GET", "HEAD", "POST"])


@require_safe
@tenant_required()
def webhook_list(request: TenantRequest) -> HttpResponse:
    """The tenant's webhooks with their health; there are ten at most."""
    rows = list(selectors.endpoints_of(request.tenant))
    counts = selectors.counts_of(rows)
    context = {
        "rows": [EndpointRow(endpoint=each, counts=counts[each.pk]) for each in rows],
        "is_full": len(rows) >= endpoints.MOST_ENDPOINTS,
        "most": endpoints.MOST_ENDPOINTS,
        "may_change": request.membership.may(Role.ADMIN),
    }
    return render(request, "tenants/webhooks.html", context)


@page_and_action
@tenant_required(role=Role.ADMIN)
@limited(group="webhook", rate="20/m", key="user", method="POST")
def register(request: TenantRequest) -> HttpResponse:
    """A URL to be told."""
    form = NewWebhookForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        data = dict(form.cleaned_data)
        new_id = data.pop("new_id")
        try:
            endpoints.register(tenant=request.tenant, actor=Actor.of(request), endpoint_id=new_id, **data)
        except AlreadyRegistered:
            return redirect("tenants:webhook", pk=new_id)
        except UnableToChangeWebhook as refusal:
            _blame(form, refusal)
        else:
            messages.success(request, _("The webhook was registered. Put its secret into your program, then send a test."))
            return redirect("tenants:webhook", pk=new_id)
    return render(request, "tenants/webhook_form.html", {"form": form, "parent_url": reverse("tenants:webhook_list")})


@require_safe
@tenant_required()
def webhook(request: TenantRequest, pk: uuid.UUID) -> HttpResponse:
    """One webhook with its deliveries, newest first; ``?before=`` goes on from one of them."""
    endpoint = selectors.endpoint_of(request.tenant, pk)
    return render(request, "tenants/webhook.html", _context(request, endpoint))


def _context(request: TenantRequest, endpoint: WebhookEndpoint, secret: str = "") -> dict[str, Any]:
    """What tenants/webhook.html and its fragments need; ``secret`` in clear only in the answer to a reveal."""
    now = timezone.now()
    before = _whole(request.GET.get("before", ""))
    deliveries = selectors.deliveries_of(endpoint)
    shown = list((deliveries.filter(pk__lt=before) if before is not None else deliveries)[: PAGE_SIZE + 1])
    for each in shown:
        each.endpoint = endpoint
    return {
        "endpoint": endpoint,
        "row": EndpointRow(endpoint=endpoint, counts=selectors.counts_of([endpoint])[endpoint.pk]),
        "deliveries": [DeliveryRow(delivery=each, now=now) for each in shown[:PAGE_SIZE]],
        "older": shown[PAGE_SIZE - 1].pk if len(shown) > PAGE_SIZE else None,
        "is_first_page": before is None,
        "secret": secret,
        "in_grace": endpoint.is_secret_in_grace(now),
        "history": history_lines(tenant_selectors.history_of(endpoint)[:EVENTS_SHOWN]),
        "may_change": request.membership.may(Role.ADMIN),
    }


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


@never_cache
@require_POST
@tenant_required(role=Role.ADMIN)
@limited(group="reveal", rate="30/m", key="user", method="POST")
@reauthentication_required
def reveal(request: TenantRequest, pk: uuid.UUID) -> HttpResponse:
    """The secret in clear: as JSON for copying, as a fragment for htmx, else as the webhook's page. Never cached."""
    endpoint = selectors.endpoint_of(request.tenant, pk)
    wants_json = request.headers.get("Accept") == "application/json"
    try:
        secret = endpoints.reveal_secret(endpoint=endpoint, actor=Actor.of(request))
    except UnableToChangeWebhook as refusal:
        if wants_json:
            return JsonResponse({"error": str(refusal)}, status=409)
        messages.error(request, str(refusal))
        return redirect("tenants:webhook", pk=pk)
    if wants_json:
        return JsonResponse({"value": secret})
    template = "tenants/_secret_revealed.html" if request.htmx else "tenants/webhook.html"
    return render(request, template, _context(request, endpoint, secret))


@page_and_action
@tenant_required(role=Role.ADMIN)
@limited(group="webhook", rate="20/m", key="user", method="POST")
def change(request: TenantRequest, pk: uuid.UUID) -> HttpResponse:
    """Another URL, description, or choice of events."""
    endpoint = selectors.endpoint_of(request.tenant, pk)
    initial = {"url": endpoint.url, "description": endpoint.description, "types": endpoint.types}
    form = WebhookForm(request.POST if request.method == "POST" else None, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            endpoints.change(endpoint=endpoint, actor=Actor.of(request), **form.cleaned_data)
        except UnableToChangeWebhook as refusal:
            _blame(form, refusal)
        else:
            messages.success(request, _("The webhook was changed."))
            return redirect("tenants:webhook", pk=pk)
    context = {"form": form, "endpoint": endpoint, "parent_url": reverse("tenants:webhook", args=[pk])}
    return render(request, "tenants/webhook_form.html", context)


@page_and_action
@tenant_required(role=Role.ADMIN)
@limited(group="rotate", rate="10/m", key="user", method="POST")
def rotate(request: TenantRequest, pk: uuid.UUID) -> HttpResponse:
    """A new secret; for a day the old one signs as well."""
    endpoint = selectors.endpoint_of(request.tenant, pk)
    if request.method != "POST":
        title = _("Rotate the secret?")
        effect = _("What is sent is signed with a new secret at once. For 24 hours the old one signs as well, so that nothing is lost.")
        return _confirm(request, endpoint, title=title, effect=effect, verb=_("Rotate the secret"), tone="calm")
    done = _("The secret was rotated. Put the new one into your program within 24 hours.")
    return _carry_out(request, endpoint, endpoints.rotate_secret, done)


@page_and_action
@tenant_required(role=Role.ADMIN)
@limited(group="webhook", rate="20/m", key="user", method="POST")
def disable(request: TenantRequest, pk: uuid.UUID) -> HttpResponse:
    """Send nothing there until it is enabled."""
    endpoint = selectors.endpoint_of(request.tenant, pk)
    if request.method != "POST":
        effect = _("Nothing is sent there until you enable it again, and what happens meanwhile is never told. What waits goes on waiting.")
        return _confirm(request, endpoint, title=_("Disable this webhook?"), effect=effect, verb=_("Disable this webhook"))
    return _carry_out(request, endpoint, endpoints.disable, _("The webhook was disabled."))


@page_and_action
@tenant_required(role=Role.ADMIN)
@limited(group="webhook", rate="20/m", key="user", method="POST")
def enable(request: TenantRequest, pk: uuid.UUID) -> HttpResponse:
    """Send there again."""
    endpoint = selectors.endpoint_of(request.tenant, pk)
    if request.method != "POST":
        effect = _("It is told what happens from now on, and gets what was waiting when it was disabled.")
        return _confirm(request, endpoint, title=_("Enable this webhook?"), effect=effect, verb=_("Enable this webhook"), tone="calm")
    return _carry_out(request, endpoint, endpoints.enable, _("The webhook was enabled."))


@page_and_action
@tenant_required(role=Role.ADMIN)
@limited(group="webhook", rate="20/m", key="user", method="POST")
def delete(request: TenantRequest, pk: uuid.UUID) -> HttpResponse:
    """End it for ever."""
    endpoint = selectors.endpoint_of(request.tenant, pk)
    if request.method != "POST":
        effect = _("Nothing more is sent there, what waits included. Its secret is erased and its deliveries can no longer be seen.")
        return _confirm(request, endpoint, title=_("Delete this webhook for ever?"), effect=effect, verb=_("Delete this webhook"))
    done = _("The webhook was deleted.")
    return _carry_out(request, endpoint, endpoints.delete, done, then=reverse("tenants:webhook_list"))


@require_POST
@tenant_required(role=Role.ADMIN)
@limited(group="webhook-test", rate="10/m", key="user", method="POST")
def send_test(request: TenantRequest, pk: uuid.UUID) -> HttpResponse:
    """Send a test, and show what becomes of it."""
    endpoint = selectors.endpoint_of(request.tenant, pk)
    try:
        sent = endpoints.send_test(endpoint=endpoint, actor=Actor.of(request))
    except UnableToChangeWebhook as refusal:
        messages.error(request, str(refusal))
        return redirect("tenants:webhook", pk=pk)
    return redirect("tenants:delivery", pk=pk, event=sent.event_id)


@require_safe
@never_cache
@tenant_required()
def delivery(request: TenantRequest, pk: uuid.UUID, event: uuid.UUID) -> HttpResponse:
    """One delivery with its payload; to htmx its state alone, which the page asks for while something is about to happen."""
    found = selectors.delivery_of(request.tenant, pk, event)
    context = {
        "row": DeliveryRow(delivery=found, now=timezone.now()),
        "delivery": found,
        "endpoint": found.endpoint,
        "may_change": request.membership.may(Role.ADMIN),
    }
    return render(request, "tenants/_delivery_state.html" if request.htmx else "tenants/delivery.html", {**context, "news": request.htmx})


@require_POST
@tenant_required(role=Role.ADMIN)
@limited(group="replay", rate="60/m", key="user", method="POST")
def replay(request: TenantRequest, pk: uuid.UUID, event: uuid.UUID) -> HttpResponse:
    """Send a delivery again, or try one that waits now."""
    found = selectors.delivery_of(request.tenant, pk, event)
    try:
        endpoints.replay(delivery=found, actor=Actor.of(request))
    except UnableToChangeWebhook as refusal:
        messages.error(request, str(refusal))
    return redirect("tenants:delivery", pk=pk, event=event)


def _confirm(request: HttpRequest, endpoint: WebhookEndpoint, **question: str) -> HttpResponse:
    """A page that says the effect, and names the URL it is about."""
    context = {"tone": "danger", "cancel_url": reverse("tenants:webhook", args=[endpoint.pk]), "about": endpoint.url, **question}
    return render(request, "tenants/confirm.html", context)


def _carry_out(
    request: HttpRequest,
    endpoint: WebhookEndpoint,
    act: Callable[..., object],
    done: str,
    then: str = "",
) -> HttpResponse:
    """One call of a service, its outcome as a message, and back to the webhook."""
    try:
        act(endpoint=endpoint, actor=Actor.of(request))
    except UnableToChangeWebhook as refusal:
        messages.error(request, str(refusal))
        return redirect("tenants:webhook", pk=endpoint.pk)
    messages.success(request, done)
    return redirect(then or reverse("tenants:webhook", args=[endpoint.pk]))


def _blame(form: WebhookForm, refusal: UnableToChangeWebhook) -> None:
    form.add_error(refusal.field if refusal.field in form.fields else None, str(refusal))
