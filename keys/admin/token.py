"""Tokens for the REST API. Staff look, find and end them; a token itself cannot be shown, only its first characters are kept."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from keys.admin import cells
from keys.admin.base import ReadOnlyAdmin, moment_column
from keys.admin.verbs import Inputs, Verb, VerbAdmin
from tenants.audit import Actor
from tenants.models import Token
from tenants.services.tokens import revoke_token


class StandingFilter(admin.SimpleListFilter):
    """Whether they can be used."""

    title = gettext_lazy("standing")
    parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("usable", _("Can be used")), ("expired", _("Expired")), ("revoked", _("Revoked"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Token]) -> QuerySet[Token]:
        now = timezone.now()
        conditions = {
            "usable": Q(expires_at=None, revoked_at=None) | Q(expires_at__gt=now, revoked_at=None),
            "expired": Q(expires_at__lte=now, revoked_at=None),
            "revoked": Q(revoked_at__isnull=False),
        }
        return queryset.filter(conditions.get(self.value() or "", Q()))


class KindFilter(admin.SimpleListFilter):
    """For a tenant, or for staff."""

    title = gettext_lazy("for")
    parameter_name = "for"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("tenant", _("A tenant")), ("staff", _("Staff"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Token]) -> QuerySet[Token]:
        if self.value() in {"tenant", "staff"}:
            return queryset.filter(tenant__isnull=self.value() == "staff")
        return queryset


def _revoke(token: Token, _inputs: Inputs, actor: Actor) -> str:
    revoke_token(token=token, actor=actor)
    return _("%(token)s was revoked.") % {"token": token}


REVOKE: Verb[Token] = Verb(
    slug="revoke",
    word=gettext_lazy("Revoke this token"),
    act=_revoke,
    effect=lambda token: [
        _("Within seconds whatever uses %(token)s (%(prefix)s...) is answered 401 Unauthorized, for ever.")
        % {"token": token, "prefix": token.prefix},
        _("Its maker, %(maker)s, is not told; tell them.") % {"maker": token.user},
    ],
    offered=lambda token: token.revoked_at is None,
)


@admin.register(Token)
class TokenAdmin(VerbAdmin[Token], ReadOnlyAdmin[Token]):
    """Looked at; staff may revoke."""

    verbs = [REVOKE]
    change_form_template = "admin/keys/change_form.html"
    change_list_template = "admin/keys/change_list.html"
    list_display = ["known_as", "status", "whose", "user", "expires", "last_used", "may_do"]
    list_filter = [StandingFilter, KindFilter]
    search_fields = ["prefix__startswith", "name", "user__email", "tenant__name"]
    search_help_text = gettext_lazy("First characters, name, maker's e-mail address, or tenant. Never paste a whole token here.")
    ordering = ["-created_at"]
    fields = ["name", "begins_with", "whose", "user", "may_do", "status", "made", "expires", "revoked", "last_used"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Token]:
        return super().get_queryset(request).select_related("tenant", "user").defer("sha256")

    @admin.display(description=gettext_lazy("name"), ordering="name")
    def known_as(self, token: Token) -> SafeString:
        return cells.lines(token.name, self.begins_with(token))

    @admin.display(description=gettext_lazy("begins with"), ordering="prefix")
    def begins_with(self, token: Token) -> str:
        return f"{token.prefix}..."

    @admin.display(description=gettext_lazy("for"), ordering="tenant__name")
    def whose(self, token: Token) -> SafeString:
        return cells.link(token.tenant) if token.tenant else cells.badge(_("Staff"))

    @admin.display(description=gettext_lazy("may do"))
    def may_do(self, token: Token) -> str:
        return ", ".join(token.scopes)

    @admin.display(description=gettext_lazy("status"))
    def status(self, token: Token) -> SafeString:
        return cells.status(*_standing(token, timezone.now()))

    made = moment_column("created_at", gettext_lazy("made"))
    expires = moment_column("expires_at", gettext_lazy("expires"))
    revoked = moment_column("revoked_at", gettext_lazy("revoked"))
    last_used = moment_column("last_used_at", gettext_lazy("last used"))


def _standing(token: Token, now: datetime) -> tuple[str, str]:
    if token.revoked_at is not None:
        return "off", _("Revoked")
    return ("good", _("Can be used")) if token.is_usable(now) else ("off", _("Expired"))
