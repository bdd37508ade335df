"""Whether what API Gateway enforces is what the tier says: the price page and the provisioned plan held against each other."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from keys import words
from keys.admin import cells
from keys.models import UsagePlan
from keys.staff_selectors import differences_of


@dataclass(frozen=True, kw_only=True)
class PlanState:
    """One usage plan as staff see it. ``differences``: sentences, empty when the plan says what the tier says.

    ``agrees`` is None while the plan was never seen at API Gateway.
    """

    plan: UsagePlan
    kind: str
    word: str
    differences: list[str]
    agrees: bool | None

    @property
    def canary(self) -> tuple[str, str]:
        """How the plan's canary was answered last, as (kind, word)."""
        if self.plan.canary_checked_at is None:
            return "off", _("Not called yet")
        if not self.plan.canary_failures:
            return "good", _("Answered")
        text = ngettext("%(count)s failure", "%(count)s failures in a row", self.plan.canary_failures)
        return "bad", text % {"count": words.number_of(self.plan.canary_failures)}


def state_of(plan: UsagePlan, now: datetime) -> PlanState:
    """Compare one plan, loaded by ``plans_to_compare``, with its tier."""
    kind, word = cells.sync_state(plan, now)
    if not plan.observed:
        return PlanState(plan=plan, kind=kind, word=word, differences=[], agrees=None)
    differences = differences_of(plan)
    if differences and kind == "good":
        kind, word = "bad", _("Differs")
    return PlanState(plan=plan, kind=kind, word=word, differences=differences, agrees=not differences)


def summary(states: Iterable[PlanState]) -> tuple[str, str]:
    """One state for all plans of a tier, the worst, as (kind, word)."""
    found = [(state.kind, state.word) for state in states]
    if not found:
        return "off", _("No plan")
    return max(found, key=lambda state: ["off", "good", "waiting", "warning", "bad"].index(state[0]))
