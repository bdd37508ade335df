"""Gateway keys: what exists, or shall exist, in API Gateway. Their values are never shown here."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypedDict

from django import forms
from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from keys import selectors, words
from keys.admin import cells
from keys.admin.base import ReadOnlyAdmin, moment_column
from keys.admin.verbs import Inputs, Verb, VerbAdmin
from keys.models import ApiKey, GatewayKey, KeyRole
from keys.services import pools
from keys.services.api_keys import GRACE_CHOICES
from keys.staff_selectors import gateway_keys_in_state
from tenants.audit import Actor

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

API_KEYS_SHOWN = 100
DEFAULT_GRACE = timedelta(days=1)


class GatewayKeyFacts(TypedDict):
    """What the list reads beside the row: live API keys that stand on it."""

    load: int


class GraceForm(forms.Form):
    """How long the old value goes on working."""

    grace = forms.TypedChoiceField(
        label=gettext_lazy("The old value works for"),
        choices=[*GRACE_CHOICES, (30 * 24 * 3600, gettext_lazy("30 days"))],
        coerce=lambda seconds: timedelta(seconds=int(seconds)),
        initial=int(DEFAULT_GRACE.total_seconds()),
        widget=forms.RadioSelect,
    )


class StateFilter(admin.SimpleListFilter):
    """Where a key stands between desired and observed."""

    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("service", _("In service")),
            ("pending", _("Pending")),
            ("failing", _("Failing")),
            ("person", _("Needs a person")),
            ("ending", _("Ending")),
            ("gone", _("Gone")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[GatewayKey]) -> QuerySet[GatewayKey]:
        return gateway_keys_in_state(queryset, self.value() or "", timezone.now())


def _replace(gateway_key: GatewayKey, inputs: Inputs, actor: Actor) -> str:
    new = pools.replace_pool_key(gateway_key=gateway_key, grace=inputs["grace"], actor=actor)
    return _("The pool key ...%(old)s was replaced by ...%(new)s; its tenants find the new credential on their pages.") % {
        "old": gateway_key.last_four,
        "new": new.last_four,
    }


def _replace_effect(gateway_key: GatewayKey) -> list[str]:
    holders = ApiKey.objects.filter(gateway_key=gateway_key, slot__isnull=False).count()
    held = (
        ngettext(
            "%(count)s API key stands on this pool key. It gets a new credential at once.",
            "%(count)s API keys stand on this pool key. They all get the same new credential at once.",
            holders,
        )
        % {"count": words.number_of(holders)}
        if holders
        else _("No API key stands on this pool key just now.")
    )
    return [
        held,
        _("The new one works once API Gateway has it, which takes seconds up to minutes."),
        _("The old value works for the time you choose. Then API Gateway refuses it for everyone who knows it."),
        former_text(gateway_key),
        words.who_is_told(),
    ]


def former_text(gateway_key: GatewayKey) -> str:
    """How many who left still know the value."""
    former = selectors.former_holders(gateway_key)
    if not former:
        return _("No former tenant knows this value.")
    return ngettext("%(count)s former tenant still knows this value.", "%(count)s former tenants still know this value.", former) % {
        "count": words.number_of(former)
    }


REPLACE: Verb[GatewayKey] = Verb(
    slug="replace",
    word=gettext_lazy("Replace this pool key"),
    act=_replace,
    effect=_replace_effect,
    offered=lambda gateway_key: gateway_key.role == KeyRole.POOL and gateway_key.ends_at is None,
    form_class=GraceForm,
)


@admin.register(GatewayKey)
class GatewayKeyAdmin(VerbAdmin[GatewayKey], ReadOnlyAdmin[GatewayKey]):
    """Looked at; what staff may do is to replace a pool key."""

    verbs = [REPLACE]
    refusals = (pools.UnableToChangePool,)
    list_display = ["ends_in", "shown_role", "tier", "gateway", "load_count", "desired", "state", "service", "changed", "error"]
    list_filter = ["role", ("usage_plan__tier", admin.RelatedOnlyFieldListFilter), "gateway", StateFilter]
    search_fields = ["=last_four", "name", "=remote_id"]
    search_help_text = gettext_lazy("Last four, or name or id at API Gateway.")
    ordering = ["-created_at"]
    fieldsets = [
        (None, {"fields": ["ends_in", "shown_role", "tier", "gateway", "pool", "position", "created"]}),
        (gettext_lazy("Desired"), {"fields": ["desired", "priority", "revision", "changed"]}),
        (
            gettext_lazy("Observed"),
            {
                "fields": [
                    "state", "service", "synced_revision", "synced", "in_service", "removed", "name", "remote_id",
                    "attempts", "next_try", "last_error",
                ]
            },
        ),
    ]  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[GatewayKey]:
        load = Count("api_keys", filter=Q(api_keys__revoked_at=None))
        keys = super().get_queryset(request).defer("value_encrypted", "value_sha256")
        return keys.select_related("usage_plan__tier", "gateway", "pool__tier").annotate(load=load)

    @admin.display(description=gettext_lazy("ends in"), ordering="last_four")
    def ends_in(self, gateway_key: GatewayKey) -> SafeString:
        return cells.last_four(gateway_key.last_four)

    @admin.display(description=gettext_lazy("role"), ordering="role")
    def shown_role(self, gateway_key: GatewayKey) -> SafeString:
        return cells.badge(cells.role_word(gateway_key))

    @admin.display(description=gettext_lazy("tier"), ordering="usage_plan__tier__name")
    def tier(self, gateway_key: GatewayKey) -> str:
        return gateway_key.usage_plan.tier.name

    @admin.display(description=gettext_lazy("load"), ordering="load")
    def load_count(self, gateway_key: "WithAnnotations[GatewayKey, GatewayKeyFacts]") -> SafeString:
        return cells.number(gateway_key.load)

    @admin.display(description=gettext_lazy("shall be"), ordering="ends_at")
    def desired(self, gateway_key: GatewayKey) -> str:
        return desired_word(gateway_key, timezone.now())

    @admin.display(description=gettext_lazy("state"))
    def state(self, gateway_key: GatewayKey) -> SafeString:
        return cells.status(*cells.sync_state(gateway_key, timezone.now()))

    @admin.display(description=gettext_lazy("in service"), ordering="in_service_at")
    def service(self, gateway_key: GatewayKey) -> SafeString:
        if gateway_key.removed_at is not None:
            return cells.status("off", _("Gone"))
        return cells.status("good", _("Yes")) if gateway_key.is_in_service(timezone.now()) else cells.status("waiting", _("Not yet"))

    created = moment_column("created_at", gettext_lazy("created"))
    changed = moment_column("changed_at", gettext_lazy("wanted since"))
    synced = moment_column("synced_at", gettext_lazy("in step since"))
    in_service = moment_column("in_service_at", gettext_lazy("in service from"))
    removed = moment_column("removed_at", gettext_lazy("gone since"))
    next_try = moment_column("next_try_at", gettext_lazy("next try"))

    @admin.display(description=gettext_lazy("last error"), ordering="last_error", empty_value=cells.DASH)
    def error(self, gateway_key: GatewayKey) -> str:
        return gateway_key.last_error

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> HttpResponse:
        gateway_key = kwargs.get("obj")
        if gateway_key is not None:
            now = timezone.now()
            api_keys = ApiKey.objects.live().filter(credentials__gateway_key=gateway_key).distinct()
            shown = list(api_keys.select_related("tenant", "tier", "gateway_key").order_by("-created_at")[:API_KEYS_SHOWN])
            renewing = selectors.renewing_among(shown, now)
            context["api_keys"] = [(each, cells.api_key_status(each, now, renewing=each.pk in renewing)) for each in shown]
            context["api_keys_left_out"] = max(0, api_keys.count() - API_KEYS_SHOWN)
            context["former"] = former_text(gateway_key) if gateway_key.role == KeyRole.POOL else ""
            context["former_count"] = selectors.former_holders(gateway_key)
        return super().render_change_form(request, context, *args, **kwargs)


def desired_word(gateway_key: GatewayKey, now: datetime) -> str:
    """What the key shall be, in a word or two."""
    if gateway_key.ends_at is None:
        return _("Enabled") if gateway_key.enabled else _("Disabled")
    if gateway_key.ends_at <= now:
        return _("Gone")
    return _("Gone on %(date)s") % {"date": f"{gateway_key.ends_at:%Y-%m-%d %H:%M} UTC"}
