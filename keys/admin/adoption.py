"""Adoptions: what others made on a gateway, and what becomes of it."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from keys.admin import adoption_tables, cells
from keys.admin.adoption_form import DecisionForms, SaidForm
from keys.admin.base import ReadOnlyAdmin, moment_column
from keys.admin.verbs import Inputs, Verb, VerbAdmin
from keys.models import Adoption, AdoptionState, Gateway
from keys.proposals import Decision
from keys.services import adoptions
from keys.staff_selectors import ProposedPlan, adoptions_in_state, proposed_plans
from tenants.audit import Actor

STATE_KIND = {
    AdoptionState.LOOKING: "waiting",
    AdoptionState.PROPOSED: "warning",
    AdoptionState.CONFIRMED: "waiting",
    AdoptionState.APPLIED: "good",
    AdoptionState.WITHDRAWN: "off",
    AdoptionState.FAILED: "bad",
}
# Usage plans that are decided about on one page; a form has its limits too. An adoption can be asked for again.
PLANS_ON_A_PAGE = 15


def _ask(gateway: Gateway, _inputs: Inputs, actor: Actor) -> str:
    adoptions.ask(gateway=gateway, actor=actor)
    return _("A worker looks what others made on %(gateway)s. Its proposal appears under Adoptions within seconds.") % {"gateway": gateway}


ADOPT: Verb[Gateway] = Verb(
    slug="adopt",
    word=gettext_lazy("Adopt what is there"),
    act=_ask,
    effect=lambda gateway: [
        _("A worker lists the usage plans and keys of %(gateway)s that Tollgate did not make. Nothing is changed.") % {"gateway": gateway},
        _("Then you decide for each usage plan: leave it, or take it over as a tier, and to whom its keys belong."),
    ],
    tone="",
)


def _withdraw(adoption: Adoption, _inputs: Inputs, actor: Actor) -> str:
    adoptions.withdraw(adoption=adoption, actor=actor)
    return _("Withdrawn: nothing is taken over.")


def _is_at_work(adoption: Adoption) -> bool:
    return adoption.state in {AdoptionState.LOOKING, AdoptionState.PROPOSED, AdoptionState.CONFIRMED}


WITHDRAW: Verb[Adoption] = Verb(
    slug="withdraw",
    word=gettext_lazy("Withdraw"),
    act=_withdraw,
    effect=lambda _adoption: [_("Nothing is taken over. Another adoption can be asked for on the gateway's page.")],
    offered=_is_at_work,
)
# Its page has a form for each usage plan, so it is one of its own.
DECIDE: Verb[Adoption] = Verb(
    slug="decide",
    word=gettext_lazy("Decide"),
    act=lambda _adoption, _inputs, _actor: "",
    offered=lambda adoption: adoption.state is AdoptionState.PROPOSED,
    tone="",
)


class AdoptionStateFilter(admin.SimpleListFilter):
    """How far they are: derived, so asked of the columns it is derived from."""

    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(state.value, state.label) for state in AdoptionState]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Adoption]) -> QuerySet[Adoption]:
        return adoptions_in_state(queryset, self.value() or "")


@admin.register(Adoption)
class AdoptionAdmin(VerbAdmin[Adoption], ReadOnlyAdmin[Adoption]):
    """Looked at, decided about, withdrawn. They are asked for on a gateway's page."""

    verbs = [DECIDE, WITHDRAW]
    refusals = (adoptions.UnableToAdopt,)
    list_display = ["asked", "gateway", "shown_state", "asked_by", "error"]
    list_filter = ["gateway", AdoptionStateFilter]
    ordering = ["-asked_at", "-pk"]
    fields = ["gateway", "shown_state", "asked", "asked_by", "proposed", "confirmed", "applied", "withdrawn", "error"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Adoption]:
        rows = super().get_queryset(request).select_related("gateway", "asked_by")
        return rows.defer("proposal", "decisions", "report")  # each holds every key; the list shows none

    asked = moment_column("asked_at", gettext_lazy("asked for"))
    proposed = moment_column("proposed_at", gettext_lazy("looked"))
    confirmed = moment_column("confirmed_at", gettext_lazy("decided"))
    applied = moment_column("applied_at", gettext_lazy("taken over"))
    withdrawn = moment_column("withdrawn_at", gettext_lazy("withdrawn"))

    @admin.display(description=gettext_lazy("state"))
    def shown_state(self, adoption: Adoption) -> SafeString:
        return cells.status(STATE_KIND[adoption.state], adoption.state.label)

    def verb_view(self, verb: Verb[Adoption], request: HttpRequest, object_id: str) -> HttpResponse:
        if verb is not DECIDE or not self.may_act(request):
            return super().verb_view(verb, request, object_id)
        adoption = self.get_object(request, object_id)
        if adoption is None:
            return self.not_found(request, object_id)
        return self._decide(request, adoption)

    def _decide(self, request: HttpRequest, adoption: Adoption) -> HttpResponse:
        """A form for each of the first usage plans; then what that makes, in numbers; then the yes."""
        plans = _keys_first(adoption)
        forms = DecisionForms(request, adoption, plans[:PLANS_ON_A_PAGE])
        if request.method == "POST" and (decisions := forms.decisions()) is not None and "_back" not in request.POST:
            try:
                return self._decided(request, adoption, forms, decisions)
            except adoptions.UnfitDecision as error:
                forms.refuse(error)
            except adoptions.UnableToAdopt as error:
                forms.refusal = str(error)
        failed = request.method == "POST" and "_back" not in request.POST
        context = self.page(request, adoption, title=_("Decide about usage plans"), forms=forms, failed=failed)
        context["panels"] = [(form, adoption_tables.panel(form.proposed)) for form in forms.plans]
        context["more"] = len(plans) - len(forms.plans)
        return TemplateResponse(request, "admin/keys/adoption/decide.html", context)

    def _decided(self, request: HttpRequest, adoption: Adoption, forms: DecisionForms, decisions: list[Decision]) -> HttpResponse:
        """What it makes; or, when that was said yes to, on to the adoption. Raises UnfitDecision, UnableToAdopt."""
        said = SaidForm(request.POST if "_confirm" in request.POST else None)
        made = adoptions.preview(gateway=adoption.gateway, proposal=forms.proposal, decisions=decisions)
        needs_number = made.new_tenants > adoptions.MOST_UNSAID
        if "_confirm" in request.POST and (said.is_valid() or not needs_number):
            number = said.cleaned_data["new_tenants"] if needs_number else None
            try:
                adoptions.confirm(adoption=adoption, decisions=decisions, new_tenants=number, actor=Actor.of(request))
            except adoptions.UnfitDecision as error:
                if error.field != "new_tenants":
                    raise
                said.add_error("new_tenants", str(error))
            else:
                self.message_user(request, _("A worker takes over what you decided; it appears here within seconds."))
                return HttpResponseRedirect(cells.change_url(adoption))
        context = self.page(request, adoption, title=_("Confirm the adoption"), made=made, inputs=forms.inputs(decisions))
        context["said"] = said if needs_number else None
        return TemplateResponse(request, "admin/keys/adoption/preview.html", context)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> HttpResponse:
        adoption = kwargs.get("obj")
        if adoption is not None:
            plans = _keys_first(adoption)
            context["panels"] = [adoption_tables.panel(plan) for plan in plans[:PLANS_ON_A_PAGE]]
            context["others"] = adoption_tables.others_table(plans[PLANS_ON_A_PAGE:])
            context["loose"] = adoption.proposal.get("loose_keys", 0)
            context.update(adoption_tables.outcome(adoption.report))
        return super().render_change_form(request, context, *args, **kwargs)


def _keys_first(adoption: Adoption) -> list[ProposedPlan]:
    """The usage plans that were found, those with keys before those without."""
    return sorted(proposed_plans(adoption), key=lambda proposed: not proposed.keys)
