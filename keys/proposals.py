"""What an account holds that Tollgate did not make, and what staff decide about it. Pure: no row, no call.

A *proposal* is what a worker saw: usage plans, and the keys in each. *Decisions* say for each plan whether it is left, or taken over
as a tier, and to whom its keys belong. Both are kept as JSON on an ``Adoption``, and neither holds a credential.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any

from django.utils.text import slugify
from django.utils.translation import gettext as _

LONGEST_SLUG = 40
LONGEST_TIER_NAME = 60
LONGEST_NAME = 100
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class Take(StrEnum):
    """What becomes of a usage plan and its keys."""

    LEAVE = "leave"
    SILOED = "siloed"
    POOLED = "pooled"


class UnfitDecision(Exception):
    """A decision that cannot be carried out. ``field`` names it as the REST API does: ``plans.0.tier``."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


# --- What was seen


@dataclass(frozen=True, kw_only=True, slots=True)
class KeySeen:
    """A key in a usage plan. ``plans``: how many usage plans it is in."""

    id: str
    name: str
    enabled: bool
    plans: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanSeen:
    """A usage plan with its limits (None, "": not limited) and the stages, ``apiId:stage``, that it is for."""

    id: str
    name: str
    rate: Decimal | None
    burst: int | None
    quota_limit: int | None
    quota_period: str
    stages: tuple[str, ...]
    keys: tuple[KeySeen, ...] = ()

    def says_the_same(self, other: "PlanSeen") -> bool:
        """Whether limits and stages are equal, whatever keys are in it."""
        return replace(self, keys=(), name="") == replace(other, keys=(), name="")


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """All of them. ``loose_keys``: keys of others that are in no usage plan; they are left as they are."""

    plans: tuple[PlanSeen, ...]
    loose_keys: int

    def as_json(self) -> dict[str, Any]:
        """As ``Adoption.proposal`` keeps it."""
        return {"loose_keys": self.loose_keys, "plans": [_plan_json(plan) for plan in self.plans]}

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> "Proposal":
        """The other way round."""
        return cls(plans=tuple(_plan_of(plan) for plan in kept.get("plans", ())), loose_keys=kept.get("loose_keys", 0))


def _plan_json(plan: PlanSeen) -> dict[str, Any]:
    return {
        "id": plan.id,
        "name": plan.name,
        "rate": None if plan.rate is None else str(plan.rate),
        "burst": plan.burst,
        "quota_limit": plan.quota_limit,
        "quota_period": plan.quota_period,
        "stages": list(plan.stages),
        "keys": [{"id": key.id, "name": key.name, "enabled": key.enabled, "plans": key.plans} for key in plan.keys],
    }


def _plan_of(kept: Mapping[str, Any]) -> PlanSeen:
    rate = kept["rate"]
    values = {**kept, "rate": None if rate is None else Decimal(rate), "stages": tuple(kept["stages"])}
    return PlanSeen(**{**values, "keys": tuple(KeySeen(**key) for key in kept["keys"])})


# --- What is decided


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What shall become of one usage plan.

    ``tier``: the slug of the tier that it becomes; an existing siloed tier gets this gateway as one more. ``name``: of a new tier.
    The limits are the plan's own where they are None; given ones are sent to API Gateway after the adoption. Those of an existing tier
    have to be given where they are others: nobody's limits change unsaid.

    ``tenant``: to whom the keys belong that ``holders`` does not name; empty: each key of a siloed tier to a new tenant that bears the
    key's name, a pooled one's to nobody. ``holders``: tenants by key id; of a siloed key exactly one. A tenant is the id of one that
    exists, or the name of a new one: never the name of one that exists, because anybody can sign up under any name.
    """

    plan: str
    take: Take
    tier: str = ""
    name: str = ""
    throttle_rate: Decimal | None = None
    throttle_burst: int | None = None
    quota_limit: int | None = None
    quota_period: str = ""
    tenant: str = ""
    holders: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As ``Adoption.decisions`` keeps it."""
        return {
            "plan": self.plan,
            "take": str(self.take),
            "tier": self.tier,
            "name": self.name,
            "throttle_rate": None if self.throttle_rate is None else str(self.throttle_rate),
            "throttle_burst": self.throttle_burst,
            "quota_limit": self.quota_limit,
            "quota_period": self.quota_period,
            "tenant": self.tenant,
            "holders": {key: list(tenants) for key, tenants in self.holders.items()},
        }

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> "Decision":
        """The other way round."""
        rate = kept.get("throttle_rate")
        return cls(**{**kept, "take": Take(kept["take"]), "throttle_rate": None if rate is None else Decimal(str(rate))})


def suggested(plan: PlanSeen, taken: Collection[str] = ()) -> Decision:
    """A siloed tier named as the plan, each key to a tenant of its own. ``taken``: slugs that are in use."""
    slug = slugify(plan.name)[:LONGEST_SLUG].strip("-") or "plan"
    name = " ".join(plan.name.split())[:LONGEST_TIER_NAME] or plan.id
    number = 1
    free = slug
    while free in taken:
        number += 1
        free = f"{slug[: LONGEST_SLUG - 4]}-{number}"
    return Decision(plan=plan.id, take=Take.SILOED, tier=free, name=name)


def suggestions(proposal: Proposal, slugs: Iterable[str]) -> list[Decision]:
    """``suggested`` for each plan, no slug twice, and none of ``slugs``."""
    taken = set(slugs)
    found = []
    for plan in proposal.plans:
        found.append(suggested(plan, taken))
        taken.add(found[-1].tier)
    return found


# --- What is in the way


def obstacles(plan: PlanSeen, decision: Decision, registered: Collection[str]) -> list[tuple[str, str]]:
    """Why the plan cannot be taken over as decided: (field, sentence with the remedy). ``registered``: stages that are known here."""
    found = []
    unknown = sorted(set(plan.stages).difference(registered))
    if unknown:
        words = _("Its stages %(stages)s are not known here. Register them on the gateway's page first.") % {"stages": ", ".join(unknown)}
        found.append(("plan", words))
    if not plan.stages:
        found.append(("plan", _("It is for no stage, so its keys are answered nowhere. Give it a stage at API Gateway, or leave it.")))
    limits = limits_of(plan, decision)
    rate = limits["throttle_rate"]
    if rate is None or rate <= 0:
        found.append(("throttle_rate", _("The plan has no rate above 0, and a tier has one: give the rate that it shall have.")))
    elif rate != rate.quantize(Decimal("0.001")):
        found.append(("throttle_rate", _("A tier's rate has at most three decimals: give the rate that it shall have.")))
    if not limits["throttle_burst"]:
        found.append(("throttle_burst", _("The plan has no burst above 0, and a tier has one: give the burst that it shall have.")))
    if limits["quota_limit"] == 0:
        found.append(("quota_limit", _("The plan's quota is 0, so nothing is answered: give the quota that it shall have, or leave it.")))
    return found


def limits_of(plan: PlanSeen, decision: Decision) -> dict[str, Any]:
    """The limits of the tier: what was decided, else the plan's own."""
    has_quota = decision.quota_limit is not None
    return {
        "throttle_rate": plan.rate if decision.throttle_rate is None else decision.throttle_rate,
        "throttle_burst": plan.burst if decision.throttle_burst is None else decision.throttle_burst,
        "quota_limit": decision.quota_limit if has_quota else plan.quota_limit,
        "quota_period": decision.quota_period if has_quota else plan.quota_period,
    }


def left_alone(key: KeySeen, take: Take) -> str:
    """Why this key of a plan that is taken over is left as it is; empty when it is taken too."""
    if key.plans > 1:
        return _("It is in several usage plans, and Tollgate keeps a key in one.")
    if take is Take.POOLED and not key.enabled:
        return _("It is disabled, and each key of a pool is sold.")
    return ""


def keys_taken(plan: PlanSeen, take: Take) -> list[KeySeen]:
    """The keys that are taken over with the plan."""
    return [] if take is Take.LEAVE else [key for key in plan.keys if not left_alone(key, take)]


def holders_of(key: KeySeen, decision: Decision) -> list[str]:
    """To whom a key shall belong: ids of tenants, names of new ones."""
    named = decision.holders.get(key.id)
    if named is not None:
        return list(named)
    if decision.tenant:
        return [decision.tenant]
    return [name_of(key)] if wants_holder(key, decision) else []


def wants_holder(key: KeySeen, decision: Decision) -> bool:
    """Whether nobody named a tenant for the key, and it needs one: then a new tenant bears its name."""
    return decision.take is Take.SILOED and not decision.tenant and key.id not in decision.holders


def name_of(key: KeySeen) -> str:
    """The key's name as a name here: on one line, not empty, not too long."""
    printable = "".join(letter if letter.isprintable() else " " for letter in key.name)
    return " ".join(printable.split())[:LONGEST_NAME].strip() or _("Key %(id)s") % {"id": key.id}


def tenant_name(word: str) -> str:
    """The name of a new tenant, as it was called: the same for words that differ in blanks alone, which are one tenant."""
    return " ".join(word.split())


def is_id(tenant: str) -> bool:
    """Whether ``tenant`` names one that exists, by its id; else it is the name of a new one."""
    return _UUID.fullmatch(tenant) is not None


def check(proposal: Proposal, decisions: Sequence[Decision], registered: Collection[str]) -> list[tuple[PlanSeen, Decision]]:
    """The plans that are taken over, each with its decision. Raises UnfitDecision for what is wrong without a look at any row."""
    plans = {plan.id: plan for plan in proposal.plans}
    found: list[tuple[PlanSeen, Decision]] = []
    for number, decision in enumerate(decisions):
        place = f"plans.{number}"
        plan = plans.pop(decision.plan, None)
        if plan is None:
            words = _("The proposal has no usage plan %(id)s, or it is decided about twice.") % {"id": decision.plan[:64]}
            raise UnfitDecision(f"{place}.plan", words)
        if decision.take is Take.LEAVE:
            continue
        for name, words in obstacles(plan, decision, registered):
            raise UnfitDecision(f"{place}.{name}", f"{plan.name}: {words}")
        _check_texts(place, decision)
        _check_holders(place, plan, decision)
        if decision.take is Take.POOLED and not keys_taken(plan, decision.take):
            raise UnfitDecision(f"{place}.take", _("%(plan)s: a pool needs an enabled key; leave the plan.") % {"plan": plan.name})
        if any(decision.tier == other.tier for _plan, other in found):
            words = _("The tier %(slug)s is named twice; a tier has one usage plan on a gateway.") % {"slug": decision.tier}
            raise UnfitDecision(f"{place}.tier", words)
        found.append((plan, decision))
    if not found:
        raise UnfitDecision("plans", _("Nothing is taken over: choose what becomes of one usage plan at least."))
    return found


def _check_texts(place: str, decision: Decision) -> None:
    if not re.fullmatch(r"[a-z0-9-]{1,40}", decision.tier):
        raise UnfitDecision(f"{place}.tier", _("Give the tier's slug: up to 40 small letters, digits and hyphens."))
    for name, text, longest in (("name", decision.name, LONGEST_TIER_NAME), ("tenant", decision.tenant, LONGEST_NAME)):
        if len(text) > longest or not text.isprintable():
            raise UnfitDecision(f"{place}.{name}", _("At most %(longest)d characters, all of them printable.") % {"longest": longest})
    if (decision.quota_limit is None) != (not decision.quota_period):
        raise UnfitDecision(f"{place}.quota_limit", _("Give quota and period, or neither to keep the plan's own."))


def _check_holders(place: str, plan: PlanSeen, decision: Decision) -> None:
    ids = {key.id for key in plan.keys}
    for key_id, tenants in decision.holders.items():
        if key_id not in ids:
            words = _("The usage plan %(plan)s has no key %(id)s.") % {"plan": plan.name, "id": key_id[:64]}
            raise UnfitDecision(f"{place}.holders", words)
        if decision.take is Take.SILOED and len(tenants) != 1:
            words = _("A siloed key belongs to one tenant: name exactly one for %(id)s.") % {"id": key_id}
            raise UnfitDecision(f"{place}.holders", words)
        if any(not tenant.strip() or len(tenant) > LONGEST_NAME or not tenant.isprintable() for tenant in tenants):
            words = _("Name each tenant of %(id)s by its id, or a new one by 1 to %(longest)d printable characters.")
            raise UnfitDecision(f"{place}.holders", words % {"id": key_id, "longest": LONGEST_NAME})
        if len({tenant.lower() if is_id(tenant) else tenant_name(tenant) for tenant in tenants}) < len(tenants):
            words = _("A tenant is named twice for %(id)s: name each once.") % {"id": key_id}
            raise UnfitDecision(f"{place}.holders", words)
