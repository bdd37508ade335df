"""Gateways: how much room they have, who speaks to them, and what went wrong."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from keys import words
from keys.admin import cells
from keys.admin.adoption import ADOPT
from keys.admin.base import IntentAdmin
from keys.admin.comparing import COMPARE, RECONCILE, compare, repair
from keys.admin.gateway_form import GatewayForm, StageInline
from keys.admin.gateway_verbs import CHECK, DRAIN, MOVE_SILOED, UNDRAIN, drain_cell, rights_cell
from keys.admin.plans import state_of
from keys.admin.reconcile import outcome_cell, state_cell
from keys.admin.verbs import Inputs, Verb, VerbAdmin
from keys.models import Finding, Gateway
from keys.queues import backlogs_of, calls_since
from keys.services import adoptions, gateways
from keys.staff_selectors import gateways_with_facts, plans_to_compare
from tenants.audit import Actor

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

    from keys.staff_selectors import GatewayFacts

RUNS_SHOWN = 10
FINDINGS_SHOWN = 20
OBSERVED = [
    "headroom",
    "queue",
    "pace_words",
    "calls_today",
    "lease",
    "answered",
    "breaker",
    "last_error_words",
    "reconciled",
    "usage_read",
    "rights",
    "drain",
]


def _try_again(gateway: Gateway, _inputs: Inputs, actor: Actor) -> str:
    gateways.try_again(gateway=gateway, actor=actor)
    return _("Rows of %(gateway)s that had failed are tried again now.") % {"gateway": gateway}


TRY_AGAIN: Verb[Gateway] = Verb(
    slug="try-again",
    word=gettext_lazy("Try again"),
    act=_try_again,
    effect=lambda _gateway: [_("Usage plans and gateway keys with an error are sent to API Gateway once more.")],
    tone="",
    asks=False,
)


@admin.register(Gateway)
class GatewayAdmin(VerbAdmin[Gateway], IntentAdmin[Gateway]):
    """AWS accounts and Regions. What the workers observe is shown, and never written here."""

    form = GatewayForm
    inlines = [StageInline]
    verbs = [COMPARE, RECONCILE, TRY_AGAIN, CHECK, ADOPT, DRAIN, MOVE_SILOED, UNDRAIN]
    refusals = (gateways.UnableToChangeGateway, adoptions.UnableToAdopt)
    actions = ["compare_now", "reconcile_now", "try_again_now"]
    list_display = ["name", "place", "headroom", "pending_count", "lease", "answered", "trouble", "accepts"]
    list_filter = ["accepts_keys", "region"]
    search_fields = ["name", "account_id", "region"]
    ordering = ["name"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Gateway]:
        return gateways_with_facts(super().get_queryset(request), timezone.now())

    # --- Columns, which the page of one gateway shows too

    @admin.display(description=gettext_lazy("gateway keys held"), ordering="held")
    def headroom(self, gateway: "WithAnnotations[Gateway, GatewayFacts]") -> SafeString:
        return cells.meter(gateway.held, gateway.capacity)

    @admin.display(description=gettext_lazy("pending rows"))
    def pending_count(self, gateway: "WithAnnotations[Gateway, GatewayFacts]") -> SafeString:
        return cells.number(gateway.plans_pending + gateway.keys_pending)

    @admin.display(description=gettext_lazy("waits"))
    def queue(self, gateway: Gateway) -> str:
        """What waits, and about how long that takes."""
        now = timezone.now()
        return backlogs_of([gateway], now)[gateway.pk].text

    @admin.display(description=gettext_lazy("pace"))
    def pace_words(self, gateway: Gateway) -> SafeString:
        if gateway.pace >= 1.0:
            return cells.status("good", _("All that AWS allows"))
        share = _("%(share)d %% of what AWS allows, after answers of 429") % {"share": round(gateway.pace * 100)}
        return cells.status("warning", share)

    @admin.display(description=gettext_lazy("calls in 24 hours"))
    def calls_today(self, gateway: Gateway) -> SafeString:
        """By operation, the most frequent first."""
        counts = calls_since(gateway, timezone.now() - timedelta(hours=24))
        return format_html_join(mark_safe("<br>"), "{}", ((each.text,) for each in counts)) or SafeString(cells.DASH)

    @admin.display(description=gettext_lazy("lease"), ordering="lease_expires_at")
    def lease(self, gateway: Gateway) -> SafeString:
        if not gateway.lease_owner or gateway.lease_expires_at is None or gateway.lease_expires_at <= timezone.now():
            return cells.status("off", _("Nobody"))
        left = words.duration_text(gateway.lease_expires_at - timezone.now())
        return cells.lines(cells.status("good", gateway.lease_owner), _("for %(left)s") % {"left": left})

    @admin.display(description=gettext_lazy("last answer"), ordering="last_seen_at")
    def answered(self, gateway: Gateway) -> SafeString:
        return cells.moment(gateway.last_seen_at, _("never"))

    @admin.display(description=gettext_lazy("circuit breaker"), ordering="resume_at")
    def breaker(self, gateway: Gateway) -> SafeString:
        now = timezone.now()
        if gateway.resume_at is not None and gateway.resume_at > now:
            return cells.status("bad", _("Open for %(left)s") % {"left": words.duration_text(gateway.resume_at - now)})
        if gateway.failures:
            text = ngettext("Closed, %(count)s failure", "Closed, %(count)s failures in a row", gateway.failures)
            return cells.status("warning", text % {"count": words.number_of(gateway.failures)})
        return cells.status("good", _("Closed"))

    @admin.display(description=gettext_lazy("circuit breaker, last error"), ordering="last_error_at")
    def trouble(self, gateway: Gateway) -> SafeString:
        return cells.lines(self.breaker(gateway), gateway.last_error)

    @admin.display(description=gettext_lazy("account, Region"), ordering="account_id")
    def place(self, gateway: Gateway) -> SafeString:
        return cells.lines(gateway.account_id, gateway.region)

    @admin.display(description=gettext_lazy("new keys"), ordering="accepts_keys")
    def accepts(self, gateway: Gateway) -> SafeString:
        if gateway.draining_since is not None:
            return cells.status("warning", _("Drained"))
        return cells.status("good", _("Accepts")) if gateway.accepts_keys else cells.status("off", _("Refuses"))

    @admin.display(description=gettext_lazy("last error"))
    def last_error_words(self, gateway: Gateway) -> str:
        if not gateway.last_error:
            return cells.DASH
        at = words.duration_text(timezone.now() - gateway.last_error_at) if gateway.last_error_at else "?"
        return _("%(error)s (%(time)s ago)") % {"error": gateway.last_error, "time": at}

    # --- Actions on several

    @admin.action(description=gettext_lazy("Compare only"), permissions=["change"])
    def compare_now(self, request: HttpRequest, queryset: QuerySet[Gateway]) -> None:
        for gateway in queryset:
            self.message_user(request, compare(gateway, {}, Actor.of(request)))

    @admin.action(description=gettext_lazy("Compare and repair"), permissions=["change"])
    def reconcile_now(self, request: HttpRequest, queryset: QuerySet[Gateway]) -> None:
        for gateway in queryset:
            self.message_user(request, repair(gateway, {}, Actor.of(request)))

    @admin.action(description=gettext_lazy("Try again"), permissions=["change"])
    def try_again_now(self, request: HttpRequest, queryset: QuerySet[Gateway]) -> None:
        for gateway in queryset:
            self.message_user(request, _try_again(gateway, {}, Actor.of(request)))

    # --- The form

    def get_fieldsets(self, request: HttpRequest, obj: Gateway | None = None) -> Any:
        place = (_("Where"), {"fields": ["name", "account_id", "region", "role_arn", "external_id"]})
        if obj is None:
            limits = ["capacity", "propagation_seconds"]
            return [place, (_("Limits"), {"fields": limits, "description": _("Saving sends nothing to AWS.")})]
        limits = ["capacity", "propagation_seconds", "accepts_keys", "uses_imports"]
        return [
            (_("What the workers see"), {"fields": OBSERVED}),
            place,
            (_("Limits"), {"fields": limits, "description": _("Saving sends nothing to AWS; purchases follow it at once.")}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Gateway | None = None) -> list[str]:
        return [] if obj is None else ["account_id", "region", *OBSERVED]

    @admin.display(description=gettext_lazy("last reconciled"))
    def reconciled(self, gateway: Gateway) -> SafeString:
        if gateway.reconcile_requested_at and gateway.reconcile_requested_at > (gateway.last_reconciled_at or gateway.created_at):
            return cells.status("waiting", _("Asked for, not done yet"))
        return cells.moment(gateway.last_reconciled_at, _("never"))

    @admin.display(description=gettext_lazy("workers' rights"))
    def rights(self, gateway: Gateway) -> SafeString:
        return rights_cell(gateway)

    @admin.display(description=gettext_lazy("drain"))
    def drain(self, gateway: Gateway) -> SafeString:
        return drain_cell(gateway)

    @admin.display(description=gettext_lazy("usage read"))
    def usage_read(self, gateway: Gateway) -> SafeString:
        return cells.moment(gateway.usage_read_at, _("never"))

    def save_model(self, request: HttpRequest, obj: Gateway, form: Any, change: Any) -> None:
        data, actor = form.cleaned_data, Actor.of(request)
        if change:
            gateways.change_gateway(gateway=obj, **data, actor=actor)
        else:
            obj.pk = gateways.register_gateway(**data, actor=actor).pk

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: Any) -> None:
        gateway, actor = form.instance, Actor.of(request)
        formset.save(commit=False)  # only sorts the rows into new and changed ones
        for stage, _fields in formset.changed_objects:
            gateways.change_stage(stage=stage, invoke_url=stage.invoke_url, test_path=stage.test_path, actor=actor)
        for stage in formset.new_objects:
            gateways.register_stage(
                gateway=gateway,
                rest_api_id=stage.rest_api_id,
                name=stage.name,
                invoke_url=stage.invoke_url,
                test_path=stage.test_path,
                actor=actor,
            )

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> HttpResponse:
        gateway = kwargs.get("obj")
        if gateway is not None:
            now = timezone.now()
            context["plan_states"] = [state_of(plan, now) for plan in plans_to_compare().filter(gateway=gateway.pk)]
            runs = gateway.reconcile_runs.annotate(found=Count("findings")).order_by("-started_at")[:RUNS_SHOWN]
            context["runs"] = [(run, outcome_cell(run, run.found)) for run in runs]
            findings = Finding.objects.filter(gateway=gateway.pk).order_by("-found_at")[:FINDINGS_SHOWN]
            context["findings"] = [(finding, state_cell(finding)) for finding in findings]
        return super().render_change_form(request, context, *args, **kwargs)
