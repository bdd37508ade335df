"""``/staff/tier-plan``: tiers computed from what the backend sustains, and made so."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django.core.validators import RegexValidator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keys import planner
from keys.api.staff.base import LARGEST_INTEGER, StaffView, TierRef, tier_ref
from keys.api.staff.examples import with_example
from keys.api.staff.tiers import Rate
from keys.models import Isolation, QuotaPeriod, Stage
from keys.models.pool import LARGEST_POOL
from keys.planner import Plan, TierPlan, UnableToPlan, Wish
from keys.services import planning
from tenants.api.fields import Input, Several, Text, Whole
from tenants.api.idempotency import idempotent
from tenants.api.problems import invalid
from tenants.models import Scope

MOST_TIERS = 50


@extend_schema_field({"type": "number", "format": "double", "minimum": 0.000001, "maximum": 1})
class Part(serializers.DecimalField):
    """A share of something, 0 to 1, to a millionth."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_digits=7, decimal_places=6, min_value=Decimal("0.000001"), max_value=1, coerce_to_string=False, **kwargs)

    def to_internal_value(self, data: Any) -> Decimal:
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid")
        if data > 1:  # whatever its size: it is not made a text first
            self.fail("max_value", max_value=1)
        return super().to_internal_value(f"{max(data, -1):.6f}")


class WishInput(Input):
    """What is asked of one tier. Isolation, quota and spares of a tier that exists stay as they are unless they are
    said, and so does the burst where the rate stays."""

    slug = Text(max_length=40, validators=[RegexValidator(r"^[a-z0-9-]+$", gettext_lazy("Use a to z, 0 to 9 and -."))])
    share = Rate(help_text="Percent of the backend's rate.")
    isolation = serializers.ChoiceField(choices=Isolation.choices, required=False, help_text="Pooled, for a tier that is new.")
    tenants = Whole(min_value=1, max_value=planner.MOST, required=False, help_text="How many there will be. A siloed tier needs it.")
    keys = Whole(min_value=1, max_value=LARGEST_POOL, required=False, help_text="The pool's gateway keys; else as many as are needed.")
    rate = Rate(required=False, help_text="Of one gateway key; else its part of the share.")
    burst = Whole(min_value=1, max_value=planner.LARGEST_BURST, required=False, help_text="Of one gateway key.")
    blast_radius = Part(required=False, help_text="The largest part of its tenants that one gateway key may carry.")
    quota_limit = Whole(min_value=1, max_value=LARGEST_INTEGER, required=False, help_text="With its period: both, or neither.")
    quota_period = serializers.ChoiceField(choices=QuotaPeriod.choices, required=False)
    spare_target = Whole(min_value=0, max_value=10_000, required=False, help_text="Siloed tiers only.")
    price_minor = Whole(min_value=0, max_value=LARGEST_INTEGER, default=0, help_text="A month, in cents of USD, of a tier that is new.")


@with_example
class TierPlanInput(Input):
    """What the backend sustains, and how it is split."""

    rate = Rate(help_text="Requests a second that the backend sustains.")
    burst = Whole(min_value=1, max_value=planner.MOST, required=False, help_text="Requests that it takes at once; else those of a second.")
    tiers = Several(child=WishInput(), min_length=1, max_length=MOST_TIERS)


class PlannedTierShape(serializers.Serializer[Any]):
    """One tier as planned. Rate, burst and quota are those of one gateway key."""

    slug = serializers.CharField()
    isolation = serializers.ChoiceField(choices=Isolation.values)
    share = serializers.FloatField(help_text="Percent of the backend's rate.")
    keys = serializers.IntegerField(help_text="Gateway keys.")
    throttle_rate = serializers.FloatField()
    throttle_burst = serializers.IntegerField()
    quota_limit = serializers.IntegerField(allow_null=True)
    quota_period = serializers.ChoiceField(choices=QuotaPeriod.values, allow_null=True)
    spare_target = serializers.IntegerField()
    requests_a_second = serializers.FloatField(help_text="What all its gateway keys let through together.")
    tenants_a_key = serializers.IntegerField(allow_null=True, help_text="On the fullest one; null while their number is not known.")
    blast_radius = serializers.FloatField(help_text="The largest part of its tenants on one gateway key, 0 to 1.")
    keys_for_blast_radius = serializers.IntegerField(allow_null=True, help_text="Gateway keys that the wanted one takes; null without one.")


class CautionShape(serializers.Serializer[Any]):
    """Something that the plan does and that is seldom meant."""

    concern = serializers.ChoiceField(choices=[concern.value for concern in planner.Concern])
    tier = serializers.CharField(allow_null=True, help_text="Slug of the tier concerned; null for the whole plan.")
    detail = serializers.CharField()


class ChangeShape(serializers.Serializer[Any]):
    """One thing that changes of a tier, in words."""

    field = serializers.CharField()
    before = serializers.CharField(allow_null=True, help_text="null for a tier that is new.")
    after = serializers.CharField()


class StepShape(serializers.Serializer[Any]):
    """What is done with one tier."""

    slug = serializers.CharField()
    tier = TierRef(allow_null=True, help_text="null for a tier that is new.")
    changes = ChangeShape(many=True, help_text="Empty when it is so already.")
    moved = serializers.IntegerField(help_text="API keys that get another credential, because their pool shrinks.")


@with_example
class TierPlanShape(serializers.Serializer[Any]):
    """A plan, what is seldom meant about it, and what applying it does."""

    tiers = PlannedTierShape(many=True)
    requests_a_second = serializers.FloatField(help_text="What all tiers let through together.")
    burst = serializers.IntegerField(help_text="And at once, when every bucket is full.")
    gateway_keys = serializers.IntegerField(help_text="Those of tenants, spares and canaries on all gateways.")
    gateways_needed = serializers.IntegerField(help_text="AWS accounts and Regions that it takes.")
    warnings = CautionShape(many=True)
    steps = StepShape(many=True)


def plan_shown(plan: Plan, steps: list[planning.Step]) -> dict[str, Any]:
    """``TierPlanShape``."""
    return {
        "tiers": [_tier_shown(tier) for tier in plan.tiers],
        "requests_a_second": float(plan.promised),
        "burst": plan.bursts,
        "gateway_keys": plan.gateway_keys,
        "gateways_needed": plan.accounts,
        "warnings": [{"concern": each.concern, "tier": each.tier or None, "detail": each.text} for each in plan.warnings],
        "steps": [
            {
                "slug": step.plan.slug,
                "tier": None if step.tier is None else tier_ref(step.tier),
                "changes": [{"field": each.field, "before": each.before or None, "after": each.after} for each in step.changes],
                "moved": step.moved,
            }
            for step in steps
        ],
    }


def _tier_shown(tier: TierPlan) -> dict[str, Any]:
    return {
        "slug": tier.slug,
        "isolation": Isolation.SILOED if tier.siloed else Isolation.POOLED,
        "share": float(tier.share),
        "keys": tier.keys,
        "throttle_rate": float(tier.rate),
        "throttle_burst": tier.burst,
        "quota_limit": tier.quota_limit,
        "quota_period": tier.quota_period or None,
        "spare_target": tier.spares,
        "requests_a_second": float(tier.promised),
        "tenants_a_key": tier.tenants_a_key,
        "blast_radius": float(tier.blast_radius),
        "keys_for_blast_radius": tier.keys_for_target,
    }


def _wish(data: Mapping[str, Any]) -> Wish:
    same = ("slug", "share", "tenants", "keys", "rate", "burst", "blast_radius", "quota_limit", "quota_period")
    siloed = data["isolation"] == Isolation.SILOED if "isolation" in data else None
    return Wish(**{name: data[name] for name in same if name in data}, siloed=siloed, spares=data.get("spare_target"))


def _plan(data: Mapping[str, Any]) -> Plan:
    """Raises Problem, which names the tier and the field."""
    around = planning.surroundings(rate=data["rate"], burst=data.get("burst"))
    try:
        return planner.plan(planning.completed(_wish(each) for each in data["tiers"]), around)
    except UnableToPlan as refusal:
        slugs = [each["slug"] for each in data["tiers"]]
        field = {"spares": "spare_target"}.get(refusal.field, refusal.field)
        place = f"tiers.{slugs.index(refusal.tier)}.{field}" if refusal.tier in slugs else "tiers"
        raise invalid(place, refusal.message) from refusal


class _TierPlans(StaffView):
    refusals = {planning.UnableToApplyPlan: "refused"}
    serializer_class = TierPlanInput


def _prices(data: Mapping[str, Any]) -> dict[str, int]:
    return {each["slug"]: each["price_minor"] for each in data["tiers"]}


@extend_schema(tags=["Staff: tiers"])
class TierPlanView(_TierPlans):
    scopes = {"POST": Scope.STAFF_READ}
    permissions = {"POST": "keys.view_tier"}

    @extend_schema(operation_id="staff_plan_tiers", summary="Plan tiers", request=TierPlanInput, responses=TierPlanShape)
    @idempotent
    def post(self, request: Request) -> Response:
        """Pool sizes, limits, blast radius and accounts from the backend's rate and a split of it, and what applying the plan would do.

        Nothing is changed."""
        data = self.valid()
        plan = _plan(data)
        return Response(plan_shown(plan, planning.steps_of(plan, _prices(data))))


@extend_schema(tags=["Staff: tiers"])
class TierPlanApply(_TierPlans):
    scopes = {"POST": Scope.STAFF_WRITE}
    permissions = {"POST": "keys.change_tier"}

    @extend_schema(operation_id="staff_apply_tier_plan", summary="Apply a plan", request=TierPlanInput, responses=TierPlanShape)
    @idempotent
    def post(self, request: Request) -> Response:
        """Creates and changes tiers until they are as planned, all of them or none. New tiers serve all stages and are for sale at once.

        Repeating it changes nothing."""
        self.need("keys.add_tier")
        data = self.valid()
        plan = _plan(data)
        stages = list(Stage.objects.all())
        if not stages:
            raise planning.UnableToApplyPlan(_("No stage is registered yet; connect a gateway first."))
        steps = planning.apply_plan(plan=plan, stages=stages, prices=_prices(data), actor=self.caller.actor())
        return Response(plan_shown(plan, steps))
