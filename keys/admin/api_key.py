"""API keys: what tenants bought. Staff look, find, and cut off; they never see a credential."""

from typing import TYPE_CHECKING, Any, TypedDict

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_POST

from keys import selectors, values, words
from keys.admin import cells
from keys.admin.base import ReadOnlyAdmin, moment_column
from keys.admin.gateway_key import REPLACE
from keys.admin.verbs import Inputs, Verb, VerbAdmin
from keys.models import ApiKey, GatewayKey, Status
from keys.services import api_keys
from keys.staff_selectors import api_keys_with_status, gateway_key_with_value, holders_of
from tenants.audit import Actor

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations


class Renewal(TypedDict):
    """What the list reads beside the row: as ``selectors.renewing`` says."""

    renewing: bool


class StatusFilter(admin.SimpleListFilter):
    """What a page shows of a key: derived, so asked of the columns it is derived from."""

    title = gettext_lazy("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(status.value, status.label) for status in Status]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        return api_keys_with_status(queryset, self.value() or "", timezone.now())


class FindForm(forms.Form):
    """A credential as somebody sent it in."""

    credential = forms.CharField(
        label=gettext_lazy("Find by credential"),
        max_length=200,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}),
        help_text=gettext_lazy("A whole credential goes here and not into the search, so that it lands in no address and no log."),
    )


def _disable(api_key: ApiKey, _inputs: Inputs, actor: Actor) -> str:
    api_keys.disable(api_key=api_key, actor=actor)
    return _("%(key)s was disabled; API Gateway refuses it within seconds up to minutes.") % {"key": api_key}


def _enable(api_key: ApiKey, _inputs: Inputs, actor: Actor) -> str:
    api_keys.enable(api_key=api_key, actor=actor)
    return _("%(key)s was enabled; API Gateway answers it again within seconds up to minutes.") % {"key": api_key}


def _revoke(api_key: ApiKey, _inputs: Inputs, actor: Actor) -> str:
    api_keys.revoke(api_key=api_key, actor=actor)
    revoked = _("%(key)s was revoked.") % {"key": api_key}
    return revoked if api_key.tier.has_own_credentials else f"{revoked} {copies_text()}"


def copies_text() -> str:
    """What revoking does not do on a pooled tier."""
    return _("Copies of its credential are answered until the pool key is replaced.")


def _revoke_effect(api_key: ApiKey) -> list[str]:
    gone = _("%(key)s leaves %(tenant)s's account at once and for ever.") % {"key": api_key, "tenant": api_key.tenant}
    if api_key.tier.has_own_credentials:
        return [gone, _("Its gateway key is deleted: calls with its credential are refused within seconds up to minutes.")]
    return [
        gone,
        _("Its place is free for another tenant."),
        _("This cuts nobody off: other tenants hold the same credential, so API Gateway goes on answering it."),
        _("If the credential leaked, or this tenant must not call any more, replace the pool key ...%(four)s as well.")
        % {"four": api_key.gateway_key.last_four},
    ]


def _live_and_own(api_key: ApiKey) -> bool:
    return api_key.revoked_at is None and api_key.tier.has_own_credentials


DISABLE: Verb[ApiKey] = Verb(
    slug="disable",
    word=gettext_lazy("Disable this key"),
    act=_disable,
    effect=lambda api_key: [
        _("API Gateway refuses calls of %(tenant)s with this key until it is enabled again.") % {"tenant": api_key.tenant},
        _("A credential in its grace period after a rotation is disabled too."),
    ],
    offered=lambda api_key: _live_and_own(api_key) and api_key.disabled_at is None,
)
ENABLE: Verb[ApiKey] = Verb(
    slug="enable",
    word=gettext_lazy("Enable this key"),
    act=_enable,
    effect=lambda api_key: [_("API Gateway answers calls of %(tenant)s with this key again.") % {"tenant": api_key.tenant}],
    offered=lambda api_key: _live_and_own(api_key) and api_key.disabled_at is not None,
    tone="",
)
REVOKE: Verb[ApiKey] = Verb(
    slug="revoke",
    word=gettext_lazy("Revoke this key"),
    act=_revoke,
    effect=_revoke_effect,
    offered=lambda api_key: api_key.revoked_at is None,
)


@admin.register(ApiKey)
class ApiKeyAdmin(VerbAdmin[ApiKey], ReadOnlyAdmin[ApiKey]):
    """Looked at; staff may disable, enable and revoke."""

    verbs = [DISABLE, ENABLE, REVOKE]
    refusals = (api_keys.UnableToChangeKey,)
    list_display = ["name", "tenant", "tier", "isolation", "ends_in", "status", "bought"]
    list_filter = [StatusFilter, "tier", "tier__isolation"]
    search_fields = ["name", "tenant__name", "=gateway_key__last_four"]
    search_help_text = gettext_lazy("Name, tenant, or last four.")
    ordering = ["-created_at"]
    fields = [
        "name", "description", "tenant", "tier", "isolation", "status", "stands_on", "slot",
        "disabled", "revoked", "created_by", "bought",
    ]  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        keys = super().get_queryset(request).select_related("tenant", "tier", "gateway_key", "created_by")
        keys = keys.annotate(renewing=selectors.renewing(timezone.now()))
        return keys.defer("gateway_key__value_encrypted", "gateway_key__value_sha256")

    def get_urls(self) -> list[URLPattern]:
        find = path("find/", self.admin_site.admin_view(require_POST(self.find_view)), name="keys_apikey_find")
        return [find, *super().get_urls()]

    @method_decorator(sensitive_post_parameters("credential"))
    @method_decorator(sensitive_variables("form", "value"))
    def find_view(self, request: HttpRequest) -> HttpResponse:
        """Lead from a credential to what it belongs to. It is hashed and looked up, and kept nowhere."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        form = FindForm(request.POST)
        value = form.cleaned_data["credential"].strip() if form.is_valid() else ""
        found = _place_of(value)
        if found is not None:
            return HttpResponseRedirect(cells.change_url(found))
        known = values.has_valid_checksum(value)
        text = (
            _("No gateway key has or had this value.")
            if known
            else _("This is no credential of ours, nor of a key that was adopted: look for a typo or a missing end.")
        )
        self.message_user(request, text, messages.WARNING)
        return HttpResponseRedirect(reverse("admin:keys_apikey_changelist"))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"find_form": FindForm(), **(extra_context or {})})

    @admin.display(description=gettext_lazy("isolation"), ordering="tier__isolation")
    def isolation(self, api_key: ApiKey) -> str:
        return cells.isolation_word(api_key.tier)

    @admin.display(description=gettext_lazy("ends in"), ordering="gateway_key__last_four")
    def ends_in(self, api_key: ApiKey) -> SafeString:
        return cells.last_four(api_key.gateway_key.last_four)

    @admin.display(description=gettext_lazy("status"))
    def status(self, api_key: "WithAnnotations[ApiKey, Renewal]") -> SafeString:
        return cells.api_key_status(api_key, timezone.now(), renewing=api_key.renewing)

    bought = moment_column("created_at", gettext_lazy("bought"))
    disabled = moment_column("disabled_at", gettext_lazy("disabled"))
    revoked = moment_column("revoked_at", gettext_lazy("revoked"))

    @admin.display(description=gettext_lazy("stands on"))
    def stands_on(self, api_key: ApiKey) -> SafeString:
        return cells.link(api_key.gateway_key)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> HttpResponse:
        api_key = kwargs.get("obj")
        if api_key is not None:
            context["events"] = selectors.history_of(api_key)
            context["credentials"] = api_key.credentials.select_related("gateway_key").order_by("-created_at")
            context["pooled_text"] = "" if api_key.tier.has_own_credentials else _pooled_text(api_key)
            context["replace_word"] = REPLACE.word
        return super().render_change_form(request, context, *args, **kwargs)


def _place_of(value: str) -> ApiKey | GatewayKey | None:
    """The API key that a value belongs to; the gateway key, where several or none do."""
    gateway_key = gateway_key_with_value(value)
    if gateway_key is None:
        return None
    holders = list(holders_of(gateway_key)[:2])
    return holders[0] if len(holders) == 1 else gateway_key


def _pooled_text(api_key: ApiKey) -> str:
    others = ApiKey.objects.live().filter(gateway_key=api_key.gateway_key).exclude(pk=api_key.pk).count()
    shared = ngettext(
        "Its credential is the value of a pool key that %(count)s other API key holds too.",
        "Its credential is the value of a pool key that %(count)s other API keys hold too.",
        others,
    ) % {"count": words.number_of(others)}
    return " ".join(
        [
            shared if others else _("Its credential is the value of a pool key, which no other API key holds just now."),
            _("It cannot be disabled or rotated on its own, and revoking it does not stop copies of the credential."),
            _("What does: replacing the pool key, which gives all of them a new one."),
        ]
    )
