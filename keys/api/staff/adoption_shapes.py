"""Adoptions as the staff's endpoints show them and take decisions about them."""

from typing import Any

from rest_framework import serializers

from keys import staff_selectors
from keys.api.staff.base import LARGEST_INTEGER, GatewayRef, Identifier, gateway_ref
from keys.api.staff.examples import with_example
from keys.api.staff.tiers import Rate
from keys.models import Adoption, AdoptionState, QuotaPeriod
from keys.proposals import Decision, Proposal, Take
from keys.services import adoptions
from keys.tally import tally
from tenants.api.fields import Input, Several, Text, Whole

# AWS's cap of usage plans is 300 an account unless it was raised; of keys 10,000.
MOST_PLANS = 1000
MOST_KEYS = 10_000


@with_example
class AdoptionShape(serializers.Serializer[Any]):
    """How far an adoption is."""

    id = serializers.IntegerField()
    gateway = GatewayRef()
    state = serializers.ChoiceField(choices=AdoptionState.choices)
    asked_by = serializers.EmailField(allow_null=True, help_text="Null: a command.")
    asked_at = serializers.DateTimeField()
    proposed_at = serializers.DateTimeField(allow_null=True, help_text="When a worker had looked what is there.")
    confirmed_at = serializers.DateTimeField(allow_null=True)
    withdrawn_at = serializers.DateTimeField(allow_null=True)
    applied_at = serializers.DateTimeField(allow_null=True)
    error = serializers.CharField(allow_blank=True, help_text="Why it failed; nothing was taken over then.")


def adoption_shown(adoption: Adoption) -> dict[str, Any]:
    """``AdoptionShape``. Select ``gateway`` and ``asked_by`` with the row."""
    return {
        "id": adoption.pk,
        "gateway": gateway_ref(adoption.gateway),
        "state": str(adoption.state),
        "asked_by": adoption.asked_by.email if adoption.asked_by else None,
        "asked_at": adoption.asked_at,
        "proposed_at": adoption.proposed_at,
        "confirmed_at": adoption.confirmed_at,
        "withdrawn_at": adoption.withdrawn_at,
        "applied_at": adoption.applied_at,
        "error": adoption.error,
    }


class ProposedKeyShape(serializers.Serializer[Any]):
    """A key in a usage plan that somebody else made."""

    id = serializers.CharField(help_text="At API Gateway.")
    name = serializers.CharField(allow_blank=True)
    enabled = serializers.BooleanField()
    left_alone = serializers.CharField(allow_blank=True, help_text="Why it is not taken over even if its plan is; empty: it is.")


class ProposedPlanShape(serializers.Serializer[Any]):
    """A usage plan that somebody else made, and what is suggested."""

    plan = serializers.CharField(help_text="Its id at API Gateway.")
    name = serializers.CharField(allow_blank=True)
    throttle_rate = serializers.FloatField(allow_null=True)
    throttle_burst = serializers.IntegerField(allow_null=True)
    quota_limit = serializers.IntegerField(allow_null=True)
    quota_period = serializers.CharField(allow_null=True)
    stages = serializers.ListField(child=serializers.CharField(), help_text="As `apiId:stage`.")
    obstacles = serializers.ListField(child=serializers.CharField(), help_text="What is to be mended, or decided, before it can be taken.")
    suggested_tier = serializers.CharField(help_text="Slug of the tier that it becomes unless another one is given.")
    new_tenants = serializers.IntegerField(help_text="How many are made if its keys become siloed and no tenant is named for them.")
    keys = ProposedKeyShape(many=True)


class TakenPlanShape(serializers.Serializer[Any]):
    """A usage plan that was taken over."""

    plan = serializers.CharField()
    name = serializers.CharField()
    tier = serializers.CharField(help_text="Its slug.")
    keys = serializers.IntegerField()


class LeftKeyShape(serializers.Serializer[Any]):
    """A key that was decided about and yet left."""

    id = serializers.CharField()
    name = serializers.CharField(allow_blank=True)
    why = serializers.CharField()


@with_example
class AdoptionDetailShape(AdoptionShape):
    """An adoption with what was found, and what was taken over. It holds no credential."""

    plans = ProposedPlanShape(many=True, help_text="Empty until a worker has looked.")
    loose_keys = serializers.IntegerField(help_text="Keys in no usage plan: they are left as they are.")
    taken = TakenPlanShape(many=True, help_text="Empty until it is applied.")
    left = LeftKeyShape(many=True)
    tenants_made = serializers.IntegerField()


def adoption_detail_shown(adoption: Adoption) -> dict[str, Any]:
    """``AdoptionDetailShape``."""
    report = adoption.report
    return {
        **adoption_shown(adoption),
        "plans": [_plan_shown(each) for each in staff_selectors.proposed_plans(adoption)],
        "loose_keys": Proposal.read(adoption.proposal).loose_keys,
        "taken": [{"plan": plan["id"], **{name: plan[name] for name in ("name", "tier", "keys")}} for plan in report.get("plans", [])],
        "left": report.get("left", []),
        "tenants_made": report.get("tenants", 0),
    }


def _plan_shown(proposed: staff_selectors.ProposedPlan) -> dict[str, Any]:
    plan = proposed.plan
    return {
        "plan": plan.id,
        "name": plan.name,
        "throttle_rate": None if plan.rate is None else float(plan.rate),
        "throttle_burst": plan.burst,
        "quota_limit": plan.quota_limit,
        "quota_period": plan.quota_period or None,
        "stages": list(plan.stages),
        "obstacles": proposed.obstacles,
        "suggested_tier": proposed.suggestion.tier,
        "new_tenants": tally([(plan, proposed.suggestion)], ()).new_tenants,
        "keys": [{"id": key.id, "name": key.name, "enabled": key.enabled, "left_alone": why} for key, why in proposed.keys],
    }


@with_example
class AdoptionInput(Input):
    """Where to look."""

    gateway = Identifier(help_text="Id of the gateway.")


class HolderInput(Input):
    """To whom a key belongs."""

    key = Text(max_length=64, help_text="Its id at API Gateway.")
    tenants = Several(
        child=Text(max_length=100),
        max_length=1000,
        help_text="Ids of tenants, or names of new ones; exactly one for a siloed key. A name never leads to a tenant that exists.",
    )


class PlanDecisionInput(Input):
    """What becomes of one usage plan. Limits that are left out stay the plan's own."""

    plan = Text(max_length=64, help_text="Its id at API Gateway.")
    take = serializers.ChoiceField(choices=[each.value for each in Take])
    tier = Text(max_length=40, allow_blank=True, default="", help_text="Slug of a new tier or, if siloed, of one that exists.")
    name = Text(max_length=60, allow_blank=True, default="", help_text="Of a new tier.")
    throttle_rate = Rate(allow_null=True, default=None)
    throttle_burst = Whole(min_value=1, max_value=10_000_000, allow_null=True, default=None)
    quota_limit = Whole(min_value=1, max_value=LARGEST_INTEGER, allow_null=True, default=None, help_text="With its period, or neither.")
    quota_period = serializers.ChoiceField(choices=QuotaPeriod.choices, allow_null=True, default=None)
    tenant = Text(
        max_length=100,
        allow_blank=True,
        default="",
        help_text="Id of a tenant, or name of a new one, for keys that `holders` does not name. Empty: each siloed key goes to a new "
        "tenant that bears the key's name, a pool's key to nobody.",
    )
    holders = Several(child=HolderInput(), max_length=MOST_KEYS, default=list)


@with_example
class AdoptionDecisions(Input):
    """Decisions. Usage plans that are not named are left as they are."""

    plans = Several(child=PlanDecisionInput(), min_length=1, max_length=MOST_PLANS)


@with_example
class AdoptionConfirmation(AdoptionDecisions):
    """Decisions that are to be carried out."""

    new_tenants = Whole(
        min_value=0,
        max_value=LARGEST_INTEGER,
        allow_null=True,
        default=None,
        help_text=f"How many new tenants that makes, as /preview tells. Needed where they are more than {adoptions.MOST_UNSAID}.",
    )


@with_example
class AdoptionPreviewShape(serializers.Serializer[Any]):
    """What decisions make. Keys that are changed or deleted meanwhile are left, so it may become less, never more."""

    keys = serializers.IntegerField(help_text="Gateway keys that are taken over.")
    left = serializers.IntegerField(help_text="Keys of the same usage plans that are left as they are.")
    new_tiers = serializers.IntegerField()
    new_tenants = serializers.IntegerField()
    nameless = serializers.IntegerField(help_text="Keys that need a tenant and for which none was named.")
    named_after_keys = serializers.IntegerField(help_text="The new tenants that bear the names of those keys; keys of one name share one.")
    tenants = serializers.IntegerField(help_text="Tenants that exist and get keys.")


def decision_of(given: dict[str, Any]) -> Decision:
    """One of ``AdoptionDecisions.plans`` that is valid."""
    holders: dict[str, list[str]] = {}
    for each in given["holders"]:  # a key may be named more than once, as in a file
        holders.setdefault(each["key"], []).extend(each["tenants"])
    return Decision(**{**given, "take": Take(given["take"]), "quota_period": given["quota_period"] or "", "holders": holders})
