"""The page on which tiers are planned: what the backend sustains, a split of it, and what that takes."""

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.contrib.admin.widgets import AdminIntegerFieldWidget
from django.core.exceptions import PermissionDenied
from django.core.validators import RegexValidator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from keys import planner, sales
from keys.admin.base import StaffAdmin
from keys.admin.cells import DASH
from keys.admin.tables import Table, columns
from keys.models import Isolation, Stage, Tier
from keys.models.pool import LARGEST_POOL
from keys.planner import Plan, TierPlan, UnableToPlan, Wish, number_text, percent_text
from keys.services import planning
from keys.words import number_of
from tenants.audit import Actor

PLANNED = columns(
    gettext_lazy("Tier"),
    numeric=[
        gettext_lazy("Gateway keys"),
        gettext_lazy("Rate of a key"),
        gettext_lazy("Burst of a key"),
        gettext_lazy("In all"),
        gettext_lazy("Tenants a key"),
        gettext_lazy("Blast radius"),
    ],
)
DONE = columns(gettext_lazy("Tier"), gettext_lazy("What is done"), numeric=[gettext_lazy("API keys moved")])
SPARE_ROWS = 3
MOST_ROWS = 50
LARGEST_PRICE = 2_147_483_647


class Number(forms.DecimalField):
    """A number with at most three decimal places, above 0."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=planner.SLOWEST_RATE, max_digits=13, decimal_places=3, widget=AdminIntegerFieldWidget, **kwargs)


class BackendForm(forms.Form):
    """What there is to be split."""

    rate = Number(label=gettext_lazy("Backend's rate"), help_text=gettext_lazy("Requests a second that it sustains."))
    burst = forms.IntegerField(
        label=gettext_lazy("Backend's burst"),
        min_value=1,
        max_value=planner.MOST,
        required=False,
        widget=AdminIntegerFieldWidget,
        help_text=gettext_lazy("Requests that it takes at once; empty: those of one second."),
    )


class WishForm(forms.Form):
    """What is asked of one tier; a row without a name is left out, whatever else stands in it."""

    slug = forms.CharField(
        label=gettext_lazy("Tier"),
        max_length=40,
        validators=[RegexValidator(r"^[a-z0-9-]+$", gettext_lazy("Use a to z, 0 to 9 and -."))],
    )
    share = Number(label=gettext_lazy("Share, %"))
    isolation = forms.ChoiceField(
        label=gettext_lazy("Isolation"),
        initial=Isolation.POOLED,
        choices=[(Isolation.POOLED, gettext_lazy("Pooled")), (Isolation.SILOED, gettext_lazy("Siloed"))],
    )
    keys = forms.IntegerField(label=gettext_lazy("Pool keys"), min_value=1, max_value=LARGEST_POOL, required=False)
    rate = Number(label=gettext_lazy("Rate of a key"), required=False)
    tenants = forms.IntegerField(label=gettext_lazy("Tenants"), min_value=1, max_value=planner.MOST, required=False)
    blast_radius = Number(label=gettext_lazy("Blast radius, %"), required=False)
    price_minor = forms.IntegerField(label=gettext_lazy("Price if new"), min_value=0, max_value=LARGEST_PRICE, required=False)

    def has_changed(self) -> bool:
        """Whether the row is asked for: Django leaves out rows that may be empty and have not changed."""
        return bool(str(self.data.get(self.add_prefix("slug")) or "").strip())

    def wish(self) -> Wish:
        data = self.cleaned_data
        target = data["blast_radius"]
        same = {name: data[name] for name in ("slug", "share", "keys", "rate", "tenants")}
        return Wish(**same, siloed=data["isolation"] == Isolation.SILOED, blast_radius=None if target is None else target / 100)


if TYPE_CHECKING:
    Rows = forms.BaseFormSet[WishForm]
else:
    Rows = forms.BaseFormSet


class AnyRowMayBeEmpty(Rows):
    """Rows of tiers that are there can be emptied, too: their tiers are left as they are."""

    def initial_form_count(self) -> int:
        return 0 if self.is_bound else super().initial_form_count()

    def clean(self) -> None:
        if not any(self.errors) and not any(row.cleaned_data for row in self.forms):
            raise forms.ValidationError(_("Name one tier at least."))


WishRows: type[Rows] = forms.formset_factory(
    WishForm, formset=AnyRowMayBeEmpty, extra=SPARE_ROWS, max_num=MOST_ROWS, validate_max=True, absolute_max=MOST_ROWS
)


class PlanAdmin(StaffAdmin[Tier]):
    """Adds the page to the list of tiers."""

    def get_urls(self) -> list[URLPattern]:
        return [path("plan/", self.admin_site.admin_view(self.plan_view), name="keys_tier_plan"), *super().get_urls()]

    def plan_view(self, request: HttpRequest) -> HttpResponse:
        """GET shows how it is now; POST computes, and with ``_apply`` does what was computed."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        may_apply = self.may_act(request) and self.has_add_permission(request)
        if request.method != "POST":
            backend, rows = _as_it_is()
            return self._plan_page(request, backend, rows)
        backend, rows = BackendForm(request.POST), WishRows(request.POST)
        if not (backend.is_valid() and rows.is_valid()):
            return self._plan_page(request, backend, rows)
        try:
            return self._computed(request, backend, rows, may_apply=may_apply)
        except UnableToPlan as refusal:
            _note(refusal, backend, rows)
        except planning.UnableToApplyPlan as refusal:
            backend.add_error(None, str(refusal))
        return self._plan_page(request, backend, rows)

    def _computed(self, request: HttpRequest, backend: BackendForm, rows: Rows, *, may_apply: bool) -> HttpResponse:
        """What applying would do; with ``_apply`` it is done, if it is what the page showed."""
        plan, prices = _planned(backend, rows)
        if "_apply" in request.POST:
            if not may_apply:
                raise PermissionDenied
            shown = request.POST.get("_shown", "")
            try:
                steps = planning.apply_plan(plan=plan, stages=Stage.objects.all(), prices=prices, shown=shown, actor=Actor.of(request))
            except planning.PlanHasChanged as refusal:
                backend.add_error(None, str(refusal))
            else:
                self.message_user(request, _told(steps), messages.SUCCESS)
                return HttpResponseRedirect(reverse("admin:keys_tier_changelist"))
        return self._plan_page(request, backend, rows, plan=plan, steps=planning.steps_of(plan, prices), may_apply=may_apply)

    def _plan_page(self, request: HttpRequest, backend: BackendForm, rows: Rows, **result: Any) -> HttpResponse:
        plan = result.get("plan")
        ours = ("csrfmiddlewaretoken", "_shown", "_apply", "_plan")
        context = {
            **self.admin_site.each_context(request),
            "title": _("Plan tiers"),
            "opts": self.opts,
            "backend": backend,
            "rows": rows,
            "inputs": [(name, value) for name, values in request.POST.lists() if name not in ours for value in values],
            **result,
            **(_result(plan, result["steps"]) if plan else {}),
        }
        return TemplateResponse(request, "admin/keys/tier/plan.html", context)


def _as_it_is() -> tuple[BackendForm, Rows]:
    """The tiers for sale, as a plan that would change nothing: what they let through together, split as it is."""
    tiers = list(sales.tiers_with_facts(Tier.objects.for_sale())[:MOST_ROWS])
    sold = {tier.pk: sales.sales_of(tier).sold for tier in tiers}
    keys = {tier.pk: tier.pool.size if tier.is_pooled else max(1, sold[tier.pk]) for tier in tiers}
    total = sum((keys[tier.pk] * tier.throttle_rate for tier in tiers), Decimal(0))
    initial = [
        {
            "slug": tier.slug,
            "share": _plain(keys[tier.pk] * tier.throttle_rate * 100 / total),
            "isolation": tier.isolation,
            "keys": tier.pool.size if tier.is_pooled else None,
            "rate": _plain(tier.throttle_rate),
            "tenants": max(1, sold[tier.pk]),
        }
        for tier in tiers
    ]
    return BackendForm(initial={"rate": _plain(total) if tiers else None}), WishRows(initial=initial)


def _plain(number: Decimal) -> Decimal:
    """To a thousandth, without zeros that say nothing: 10, neither 10.000 nor 1E+1."""
    return Decimal(format(number.quantize(planner.SLOWEST_RATE).normalize(), "f"))


def _planned(backend: BackendForm, rows: Rows) -> tuple[Plan, dict[str, int]]:
    filled = [row for row in rows if row.cleaned_data]
    around = planning.surroundings(rate=backend.cleaned_data["rate"], burst=backend.cleaned_data["burst"])
    prices = {row.cleaned_data["slug"]: row.cleaned_data["price_minor"] or 0 for row in filled}
    return planner.plan(planning.completed(row.wish() for row in filled), around), prices


def _note(refusal: UnableToPlan, backend: BackendForm, rows: Rows) -> None:
    """Where it is to be mended, when that is a field of the page."""
    row = next((row for row in rows if row.cleaned_data and row.cleaned_data["slug"] == refusal.tier), None)
    if row is not None and refusal.field in row.fields:
        row.add_error(refusal.field, refusal.message)
    else:
        backend.add_error(None, str(refusal))


def _result(plan: Plan, steps: Sequence[planning.Step]) -> dict[str, Any]:
    """What was computed, for the page."""
    return {
        "facts": [
            (_("Requests a second"), number_text(plan.promised)),
            (_("At once, with full buckets"), number_of(plan.bursts)),
            (_("Gateway keys"), number_of(plan.gateway_keys)),
            (_("Gateways needed"), number_of(plan.accounts)),
        ],
        "planned": Table(title=_("The plan"), columns=PLANNED, rows=[_planned_row(tier) for tier in plan.tiers]),
        "done": Table(title=_("What applying it does"), columns=DONE, rows=[_done_row(step) for step in steps]),
        "shown": planning.digest_of(steps),
        "changes_something": any(not step.does_nothing for step in steps),
    }


def _planned_row(tier: TierPlan) -> list[str]:
    return [
        tier.slug,
        number_of(tier.keys),
        number_text(tier.rate),
        number_of(tier.burst),
        number_text(tier.promised),
        number_of(tier.tenants_a_key) if tier.tenants_a_key else DASH,
        percent_text(tier.blast_radius),
    ]


def _done_row(step: planning.Step) -> list[str]:
    if step.does_nothing:
        words = [_("Nothing: it is so already.")]
    else:
        words = [
            format_html("{} → <strong>{}</strong>", each.before, each.after)
            if each.before
            else format_html("<strong>{}</strong>", each.after)
            for each in step.changes
        ]
    if step.creates:
        words.append(_("A new tier, for sale at once on all stages."))
    shown = format_html_join("", '<span class="plan-change">{}</span>', ((word,) for word in words))
    return [step.plan.slug, shown, number_of(step.moved)]


def _told(steps: list[planning.Step]) -> str:
    changed = [step.plan.slug for step in steps if not step.does_nothing]
    return _("As planned: %(tiers)s.") % {"tiers": ", ".join(changed)} if changed else _("All tiers are as planned already.")
