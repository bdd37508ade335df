"""Tokens: those of a tenant, and those for staff. The two differ in whose they are and in what they may do."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from tenants import selectors
from tenants.audit import Actor
from tenants.clock import database_now
from tenants.current import StaffRequest, TenantRequest, staff_required, tenant_required
from tenants.forms import TokenForm
from tenants.models import Role, Scope, Tenant, Token, User
from tenants.ratelimits import limited
from tenants.reauth import reauthentication_required
from tenants.rights import STAFF_SCOPES, scopes_in_tenant
from tenants.services.tokens import TokenAlreadyMade, UnableToMakeToken, make_token, revoke_token
from tenants.views.presenting import token_rows

ENDED_SHOWN = 25
page_and_action = require_http_methods(["GET", "HEAD", "POST"])

# What a new token can try first: a scope, and an endpoint that needs it and changes nothing.
_FIRST_CALLS = [
    (Scope.KEYS_READ, "/keys"),
    (Scope.TENANT_READ, "/tenant"),
    (Scope.USAGE_READ, "/usage"),
    (Scope.STAFF_READ, "/staff/tenants"),
]


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Whose tokens a page is about: a tenant's (``name`` "token"), or one person's for staff ("staff_token")."""

    name: str
    user: User
    tenant: Tenant | None
    scopes: Collection[Scope]
    may_change: bool = True

    @property
    def tokens(self) -> QuerySet[Token]:
        return selectors.tokens_of(self.tenant) if self.tenant else selectors.staff_tokens_of(self.user)

    @property
    def roles(self) -> dict[uuid.UUID, str]:
        return dict(selectors.members_of(self.tenant).values_list("user_id", "role")) if self.tenant else {}

    def url(self, action: str, *arguments: object) -> str:
        return reverse(f"tenants:{self.name}_{action}", args=arguments)

    @property
    def list_url(self) -> str:
        return self.url("list")

    @property
    def make_url(self) -> str:
        return self.url("make")


def _tenant_desk(request: TenantRequest) -> Desk:
    membership = request.membership
    scopes = scopes_in_tenant(membership.role)
    return Desk(name="token", user=request.user, tenant=request.tenant, scopes=scopes, may_change=membership.may(Role.ADMIN))


def _staff_desk(request: StaffRequest) -> Desk:
    return Desk(name="staff_token", user=request.user, tenant=None, scopes=STAFF_SCOPES)


@require_safe
@tenant_required()
def token_list(request: TenantRequest) -> HttpResponse:
    """The tenant's tokens; every member may look."""
    return _list(request, _tenant_desk(request))


@never_cache
@page_and_action
@tenant_required(role=Role.ADMIN)
@limited(group="token", rate="10/m", key="user", method="POST")
@reauthentication_required
def make(request: TenantRequest) -> HttpResponse:
    """A token of the tenant."""
    return _make(request, _tenant_desk(request))


@page_and_action
@tenant_required(role=Role.ADMIN)
def revoke(request: TenantRequest, pk: uuid.UUID) -> HttpResponse:
    """End a token of the tenant."""
    return _revoke(request, _tenant_desk(request), pk)


@require_safe
@staff_required
def staff_token_list(request: StaffRequest) -> HttpResponse:
    """The tokens for staff of whoever looks."""
    return _list(request, _staff_desk(request))


@never_cache
@page_and_action
@staff_required
@limited(group="token", rate="10/m", key="user", method="POST")
@reauthentication_required
def make_staff_token(request: StaffRequest) -> HttpResponse:
    """A token for staff."""
    return _make(request, _staff_desk(request))


@page_and_action
@staff_required
def revoke_staff_token(request: StaffRequest, pk: uuid.UUID) -> HttpResponse:
    """End a token for staff."""
    return _revoke(request, _staff_desk(request), pk)


def _list(request: HttpRequest, desk: Desk) -> HttpResponse:
    """All that can be used (there is a most), and those that were made last of the ended ones."""
    now, roles = timezone.now(), desk.roles
    usable = desk.tokens.filter(pk__in=Token.objects.usable(now).values("pk"))
    ended = desk.tokens.exclude(pk__in=Token.objects.usable(now).values("pk"))[: ENDED_SHOWN + 1]
    context = {
        "desk": desk,
        "rows": token_rows(list(usable), roles, now),
        "ended": token_rows(list(ended[:ENDED_SHOWN]), roles, now),
    }
    return render(request, "tenants/tokens.html", context)


def _make(request: HttpRequest, desk: Desk) -> HttpResponse:
    """The secret is in the answer to the POST and nowhere else; the same form sent again is told that it was sent."""
    form = TokenForm(request.POST if request.method == "POST" else None, within=desk.scopes)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            token, secret = make_token(
                user=desk.user,
                tenant=desk.tenant,
                name=data["name"],
                scopes=data["scopes"],
                expires_at=database_now() + data["lifetime"] if data["lifetime"] else None,
                within=desk.scopes,
                actor=Actor.of(request),
                token_id=data["new_id"],
            )
        except TokenAlreadyMade:
            text = _("This form was sent before, and made its token then. If you did not keep its secret, revoke it and make another.")
            messages.warning(request, text)
            return redirect(desk.list_url)
        except UnableToMakeToken as refusal:
            form.add_error(refusal.field if refusal.field in form.fields else None, str(refusal))
        else:
            return render(request, "tenants/token_made.html", {"desk": desk, **_made(token, secret)})
    return render(request, "tenants/token_make.html", {"desk": desk, "form": form})


def _made(token: Token, secret: str) -> dict[str, Any]:
    path = next((path for scope, path in _FIRST_CALLS if scope in token.scopes), None)
    call = f'curl -H "Authorization: Bearer $TOLLGATE_TOKEN" \\\n  {settings.PORTAL_URL}/api/v1{path}' if path else ""
    return {"token": token, "secret": secret, "call": call}


def _revoke(request: HttpRequest, desk: Desk, pk: uuid.UUID) -> HttpResponse:
    token = get_object_or_404(desk.tokens, pk=pk)
    if request.method != "POST":
        return render(request, "tenants/confirm.html", _revoke_question(desk, token))
    revoke_token(token=token, actor=Actor.of(request))
    messages.success(request, _("The token “%(name)s” was revoked.") % {"name": token.name})
    return redirect(desk.list_url)


def _revoke_question(desk: Desk, token: Token) -> dict[str, object]:
    return {
        "title": _("Revoke “%(name)s” for ever?") % {"name": token.name},
        "effect": _("Within seconds whatever uses it (%(prefix)s...) is answered 401 Unauthorized. A revoked token cannot come back.")
        % {"prefix": token.prefix},
        "verb": _("Revoke this token"),
        "tone": "danger",
        "cancel_url": desk.list_url,
    }
