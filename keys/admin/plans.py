"""Whether what API Gateway enforces is what the tier says: the price page and the provisioned plan held against each other."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from django.db.models import F, Prefetch, QuerySet
from django.utils.translation import gettext as _

from keys import words
from keys.admin import cells
from keys.models import Stage, Tier, UsagePlan


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


def plans_to_compare() -> QuerySet[UsagePlan]:
    """Usage plans with everything that ``state_of`` reads, in three queries."""
    return (
        UsagePlan.objects.select_related("tier", "gateway")
        .prefetch_related(Prefetch("tier__stages", Stage.objects.order_by("rest_api_id", "name")))
        .order_by("tier__position", "tier__name", "gateway__name")
    )


def state_of(plan: UsagePlan, now: datetime) -> PlanState:
    """Compare one plan, loaded by ``plans_to_compare``, with its tier."""
    kind, word = cells.sync_state(plan, now)
    if not plan.observed:
        return PlanState(plan=plan, kind=kind, word=word, differences=[], agrees=None)
    differences = list(_differences(plan))
    if differences and kind == "good":
        kind, word = "bad", _("Differs")
    return PlanState(plan=plan, kind=kind, word=word, differences=differences, agrees=not differences)


def summary(states: Iterable[PlanState]) -> tuple[str, str]:
    """One state for all plans of a tier, the worst, as (kind, word)."""
    found = [(state.kind, state.word) for state in states]
    if not found:
        return "off", _("No plan")
    return max(found, key=lambda state: ["off", "good", "waiting", "warning", "bad"].index(state[0]))


def _differences(plan: UsagePlan) -> Iterable[str]:
    for name, wanted, seen in _compared(plan.tier, plan):
        if wanted != seen:
            yield _("%(name)s: the tier says %(wanted)s, API Gateway has %(seen)s.") % {
                "name": name,
                "wanted": _shown(wanted),
                "seen": _shown(seen),
            }


def _compared(tier: Tier, plan: UsagePlan) -> Iterable[tuple[str, Any, Any]]:
    seen = plan.observed
    stages = frozenset(stage.remote_key for stage in tier.stages.all() if stage.gateway_id == plan.gateway_id)
    yield _("Rate"), tier.throttle_rate, _decimal(seen.get("rate"))
    yield _("Burst"), tier.throttle_burst, seen.get("burst")
    yield _("Quota"), tier.quota_limit, seen.get("quota_limit")
    yield _("Quota period"), tier.quota_period, seen.get("quota_period") or ""
    yield _("Stages"), stages, frozenset(seen.get("stages") or ())


def _decimal(value: object) -> Decimal | None:
    try:
        return None if value is None else Decimal(str(value))
    except InvalidOperation:
        return None


def _shown(value: object) -> str:
    if isinstance(value, frozenset):
        return ", ".join(sorted(value)) or _("none")
    if isinstance(value, int | Decimal):
        return words.number_of(value)
    return str(value) if value else _("none")


def pending_plans() -> QuerySet[UsagePlan]:
    """Plans that are not yet what their tier says."""
    return UsagePlan.objects.filter(synced_revision__lt=F("revision"))
