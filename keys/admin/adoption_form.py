"""Deciding about usage plans that somebody else made: a form for each, and one for all of them."""

from collections.abc import Sequence
from decimal import Decimal
from urllib.parse import quote_plus

from django import forms
from django.http import HttpRequest, QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from keys import holders
from keys.models import Adoption, QuotaPeriod
from keys.proposals import LONGEST_NAME, LONGEST_SLUG, LONGEST_TIER_NAME, Decision, Proposal, Take, UnfitDecision
from keys.services.adoptions import UnreadableSheet, assigned
from keys.staff_selectors import ProposedPlan

# Bytes of keys and tenants, as a form sends them: what is read of one (settings.DATA_UPLOAD_MAX_MEMORY_SIZE), with some to spare.
LARGEST_LIST = 900_000
PROBLEMS_SHOWN = 20

TAKES = [
    (Take.LEAVE.value, gettext_lazy("Leave it as it is")),
    (Take.SILOED.value, gettext_lazy("Take it over as a siloed tier: each key belongs to one tenant")),
    (Take.POOLED.value, gettext_lazy("Take it over as a pooled tier: its keys become the pool")),
]


class PlanForm(forms.Form):
    """What becomes of one usage plan. ``proposed``: what was seen of it."""

    take = forms.ChoiceField(label=gettext_lazy("What becomes of it"), choices=TAKES)
    tier = forms.SlugField(
        label=gettext_lazy("Slug of the tier"),
        max_length=LONGEST_SLUG,
        required=False,
        help_text=gettext_lazy("Of a new one; or, for siloed keys, of one that exists and has no usage plan on this gateway."),
    )
    name = forms.CharField(label=gettext_lazy("Name of a new tier"), max_length=LONGEST_TIER_NAME, required=False)
    tenant = forms.CharField(
        label=gettext_lazy("Tenant of all keys"),
        max_length=LONGEST_NAME,
        required=False,
        help_text=gettext_lazy(
            "The id of a tenant, or the name of a new one. Empty: siloed keys get a new tenant each, named as the key; a pool's get none."
        ),
    )
    holders = forms.CharField(
        label=gettext_lazy("Tenants of single keys"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text=gettext_lazy("A line a key and tenant: the key's id, a comma, the tenant's id or a new one's name."),
    )
    throttle_rate = forms.DecimalField(
        label=gettext_lazy("Rate"), min_value=Decimal("0.001"), max_digits=10, decimal_places=3, required=False, localize=False
    )
    throttle_burst = forms.IntegerField(label=gettext_lazy("Burst"), min_value=1, max_value=10_000_000, required=False)
    quota_limit = forms.IntegerField(label=gettext_lazy("Quota"), min_value=1, max_value=2_147_483_647, required=False)
    quota_period = forms.ChoiceField(label=gettext_lazy("Quota period"), choices=[("", "-"), *QuotaPeriod.choices], required=False)

    main = ("take", "tier", "name", "tenant", "holders")
    limits = ("throttle_rate", "throttle_burst", "quota_limit", "quota_period")

    def __init__(self, proposed: ProposedPlan, data: QueryDict | None) -> None:
        self.proposed = proposed
        suggestion = proposed.suggestion
        take = suggestion.take if proposed.plan.keys and not proposed.obstacles else Take.LEAVE
        initial = {"take": take.value, "tier": suggestion.tier, "name": suggestion.name}
        super().__init__(data, initial=initial, prefix=proposed.plan.id)

    def main_fields(self) -> list[forms.BoundField]:
        """What each plan needs."""
        return [self[name] for name in self.main]

    def limit_fields(self) -> list[forms.BoundField]:
        """What a plan needs only where its own limits do not fit."""
        return [self[name] for name in self.limits]

    def wants_limits(self) -> bool:
        """Whether the limits are to be seen at once."""
        return bool(self.proposed.obstacles) or any(name in self.errors for name in self.limits)

    def clean_holders(self) -> dict[str, list[str]]:
        """Tenants by key id."""
        found: dict[str, list[str]] = {}
        for number, line in enumerate(self.cleaned_data["holders"].splitlines(), 1):
            if not line.strip():
                continue
            key, comma, tenant = line.partition(",")
            if not comma or not key.strip() or not tenant.strip():
                raise forms.ValidationError(_("Line %(number)d: write the key's id, a comma, and the tenant.") % {"number": number})
            found.setdefault(key.strip(), []).append(tenant.strip())
        return found

    def decision(self) -> Decision:
        """What was chosen; of a form that is valid."""
        values = self.cleaned_data
        return Decision(
            plan=self.proposed.plan.id,
            take=Take(values["take"]),
            **{name: values[name] for name in ("tier", "name", "tenant", "holders", *self.limits)},
        )

    def refuse(self, field: str, message: str) -> None:
        """Show what the service refused at the field that it named."""
        self.add_error(field if field in self.fields else None, message)


class WholeForm(forms.Form):
    """What concerns all usage plans of the page."""

    tenants = forms.FileField(
        label=gettext_lazy("Tenants of many keys"),
        required=False,
        allow_empty_file=True,
        widget=forms.FileInput(attrs={"accept": ".csv,text/csv"}),
        help_text=gettext_lazy(
            "A CSV file with the columns key and tenant: a key's id or name, and the tenant's id or a new one's name. For these keys it "
            "counts more than what stands below."
        ),
    )


class WholeNumber(forms.IntegerField):
    """A number that may be typed as it is shown, with its thousands apart: 1,234."""

    def to_python(self, value: object) -> int | None:
        return super().to_python(value.replace(",", "") if isinstance(value, str) else value)


class SaidForm(forms.Form):
    """The number of new tenants, typed by whoever says yes to many of them."""

    new_tenants = WholeNumber(label=gettext_lazy("Number of new tenants"), widget=forms.TextInput(attrs={"inputmode": "numeric"}))


def _sent_bytes(decision: Decision) -> int:
    """The size of a decision's keys and tenants in the form that sends them again."""
    return len(quote_plus(holders.text_of(decision.holders.items()).replace("\n", "\r\n")))


class DecisionForms:
    """All forms of the page on which is decided. ``refusal``: what was refused and belongs to none of their fields."""

    def __init__(self, request: HttpRequest, adoption: Adoption, plans: Sequence[ProposedPlan]) -> None:
        data = request.POST if request.method == "POST" else None
        self.proposal = Proposal.read(adoption.proposal)
        self.plans = [PlanForm(plan, data) for plan in plans]
        self.whole = WholeForm(data, request.FILES if data is not None else None)
        self.refusal = ""

    def decisions(self) -> list[Decision] | None:
        """What was chosen, with the tenants that the file names; None when something is to be mended."""
        fit = [form.is_valid() for form in [*self.plans, self.whole]]  # all of them are asked, so that each shows its errors
        if not all(fit):
            return None
        decisions = [form.decision() for form in self.plans]
        file = self.whole.cleaned_data["tenants"]
        if file is not None:
            try:
                decisions = assigned(proposal=self.proposal, decisions=decisions, content=file.read())
            except UnreadableSheet as error:
                self._refuse_file([_("Line %(line)d: %(text)s") % {"line": each.line, "text": each.text} for each in error.problems])
                return None
        if sum(_sent_bytes(each) for each in decisions) > LARGEST_LIST:
            self._refuse_file([_("It is too large for this page. Use the command: manage.py adopt_gateway NAME --tenants FILE.")])
            return None
        return decisions

    def inputs(self, decisions: Sequence[Decision]) -> list[tuple[str, str]]:
        """The fields of all usage plans as they were given, those of the file among them: to be sent again."""
        found = []
        for form, decision in zip(self.plans, decisions, strict=True):
            values = {name: str(form.data.get(form.add_prefix(name), "")) for name in form.fields}
            values["holders"] = holders.text_of(decision.holders.items())
            found += [(form.add_prefix(name), value) for name, value in values.items()]
        return found

    def refuse(self, error: UnfitDecision) -> None:
        """Show what the service refused at the field that it named."""
        place, _dot, field = error.field.removeprefix("plans.").partition(".")
        if place.isdigit():
            self.plans[int(place)].refuse(field, str(error))
        else:
            self.refusal = str(error)

    def _refuse_file(self, problems: Sequence[str]) -> None:
        for problem in problems[:PROBLEMS_SHOWN]:
            self.whole.add_error("tenants", problem)
        if len(problems) > PROBLEMS_SHOWN:
            self.whole.add_error("tenants", _("%(count)d more lines have problems.") % {"count": len(problems) - PROBLEMS_SHOWN})
