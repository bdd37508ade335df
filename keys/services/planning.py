"""Making tiers as a plan says: those that are missing are created, those that differ are changed, and nothing else is touched."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models import Max, Min
from django.utils.translation import gettext as _

from keys import words
from keys.models import Gateway, Isolation, Stage, Tier
from keys.models.gateway import AWS_KEY_CAP
from keys.models.room import hold
from keys.models.tickets import hold_pool_alone, hold_tier_alone
from keys.planner import ACCOUNT_BURST, ACCOUNT_RATE, Plan, Surroundings, TierPlan, Wish
from keys.services import catalog, pools
from tenants.audit import Actor

# What a tier that a plan creates is sold as, until staff say more.
CURRENCY = "USD"
MAX_API_KEYS = 10


class UnableToApplyPlan(Exception):
    """A plan that cannot be made; the message names the tier and what to mend. Nothing was changed."""


class PlanHasChanged(UnableToApplyPlan):
    """Applying it would do other things now than it did when somebody looked: tiers or pools were changed meanwhile."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One thing that a plan changes of a tier, in words: rate, burst, quota, keys or price. ``before``: empty for a tier that is new."""

    field: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a plan does with one tier. ``tier``: None when it is created. ``moved``: API keys that get another credential with it."""

    plan: TierPlan
    tier: Tier | None
    changes: tuple[Change, ...]
    shrinks: bool = False
    moved: int = 0

    @property
    def creates(self) -> bool:
        return self.tier is None

    @property
    def does_nothing(self) -> bool:
        return not self.changes


def surroundings(
    *,
    rate: Decimal,
    burst: int | None = None,
    burst_seconds: Decimal = Decimal("0.5"),
    account_rate: Decimal = ACCOUNT_RATE,
    account_burst: int = ACCOUNT_BURST,
) -> Surroundings:
    """What a plan has to fit into here: the gateways that accept keys, and their caps. While none is registered, as many as it needs."""
    gateways = Gateway.objects.filter(accepts_keys=True)
    return Surroundings(
        rate=rate,
        burst=burst,
        burst_seconds=burst_seconds,
        gateways=gateways.count() or None,
        key_cap=gateways.aggregate(least=Min("capacity"))["least"] or AWS_KEY_CAP,
        account_rate=account_rate,
        account_burst=account_burst,
        canaries=settings.CANARY_SECONDS > 0,
    )


def completed(wishes: Iterable[Wish]) -> list[Wish]:
    """With what is not asked of a tier that exists as it is: isolation, quota, spares, and the burst where the rate stays."""
    wishes = list(wishes)
    there = {tier.slug: tier for tier in Tier.objects.filter(slug__in=[wish.slug for wish in wishes])}
    return [_completed(wish, there[wish.slug]) if wish.slug in there else wish for wish in wishes]


def steps_of(plan: Plan, prices: Mapping[str, int] | None = None) -> list[Step]:
    """What ``apply_plan`` would do now, tier by tier. ``prices``: of new tiers, by slug, in minor units; 0 without.

    Raises UnableToApplyPlan.
    """
    there = {tier.slug: tier for tier in Tier.objects.filter(slug__in=[each.slug for each in plan.tiers]).select_related("pool")}
    return [_step(each, there.get(each.slug), prices or {}) for each in plan.tiers]


def digest_of(steps: Iterable[Step]) -> str:
    """The same for steps that do the same."""
    said = [(step.plan.slug, [(change.field, change.before, change.after) for change in step.changes], step.moved) for step in steps]
    return hashlib.sha256(repr(said).encode()).hexdigest()


def apply_plan(
    *, plan: Plan, stages: Iterable[Stage], prices: Mapping[str, int] | None = None, shown: str | None = None, actor: Actor
) -> list[Step]:
    """Create and change tiers until they are as planned, all of them or none; what was done. Again, it does nothing.

    ``stages``: those that new tiers serve. ``shown``: ``digest_of`` the steps that somebody saw and agreed to. Raises UnableToApplyPlan;
    PlanHasChanged where the steps are others now.

    Race: buyers, and staff who change the same tiers. Each tier and pool is held before it is read, all of them in the order in which
    purchases of several tiers hold them, and rows of gateways and rooms are locked in the order that the other services keep.
    """
    stages = list(stages)
    with transaction.atomic():
        _hold(steps_of(plan, prices))
        steps = steps_of(plan, prices)
        if shown is not None and digest_of(steps) != shown:
            raise PlanHasChanged(_("Tiers were changed meanwhile, and this plan does other things now: look at them again, then apply it."))
        # Also where nothing shrinks: a pool that grows may still have keys that leave.
        list(Gateway.objects.order_by("pk").select_for_update(no_key=True).values_list("pk"))
        for step in steps:
            if step.shrinks:
                _do(step, _resize, actor)
        for step in steps:
            _do(step, _change, actor)
        hold(Gateway.objects.values_list("pk", flat=True))
        for step in steps:
            if not step.shrinks:
                _do(step, _resize, actor)
            if step.creates:
                _do(step, partial(_create, stages, prices or {}), actor)
    return steps


def _completed(wish: Wish, tier: Tier) -> Wish:
    siloed = not tier.is_pooled if wish.siloed is None else wish.siloed
    spares = tier.spare_target if siloed and wish.spares is None else wish.spares
    if wish.quota_limit is None and not wish.quota_period:
        wish = replace(wish, quota_limit=tier.quota_limit, quota_period=tier.quota_period)
    burst = tier.throttle_burst if wish.burst is None and wish.rate == tier.throttle_rate else wish.burst
    return replace(wish, siloed=siloed, spares=spares, burst=burst)


def _step(planned: TierPlan, tier: Tier | None, prices: Mapping[str, int]) -> Step:
    if tier is None:
        price = words.price_text(Tier(price_minor=prices.get(planned.slug, 0), currency=CURRENCY))
        shown = [("price", _("price: %(price)s") % {"price": price}), *_shown(_as_tier(planned), _keys(planned))]
        return Step(plan=planned, tier=None, changes=tuple(Change(field=field, before="", after=after) for field, after in shown))
    if tier.is_pooled == planned.siloed:
        text = _("%(tier)s is %(now)s and stays so; plan it like that, or under another name.")
        raise UnableToApplyPlan(text % {"tier": tier.slug, "now": _("pooled") if tier.is_pooled else _("siloed")})
    if tier.retired_at is not None:
        raise UnableToApplyPlan(_("%(tier)s is retired. Reopen it first, or plan it under another name.") % {"tier": tier.slug})
    keys_now = tier.pool.size if tier.is_pooled else tier.spare_target
    pairs = zip(_shown(tier, keys_now), _shown(_as_tier(planned), _keys(planned)), strict=True)
    changes = tuple(Change(field=field, before=before, after=after) for (field, before), (_field, after) in pairs if before != after)
    shrinks = tier.is_pooled and planned.keys < tier.pool.size
    moved = pools.preview_resize(tier, planned.keys).moved if shrinks else 0
    return Step(plan=planned, tier=tier, changes=changes, shrinks=shrinks, moved=moved)


def _as_tier(planned: TierPlan) -> Tier:
    """Not saved: to be shown as tiers are."""
    return Tier(
        isolation=Isolation.SILOED if planned.siloed else Isolation.POOLED,
        throttle_rate=planned.rate,
        throttle_burst=planned.burst,
        quota_limit=planned.quota_limit,
        quota_period=planned.quota_period,
    )


def _keys(planned: TierPlan) -> int:
    return planned.spares if planned.siloed else planned.keys


def _shown(tier: Tier, keys: int) -> Sequence[tuple[str, str]]:
    text = _("pool of %(keys)s") if tier.is_pooled else _("%(keys)s spares")
    return [
        ("rate", words.rate_text(tier)),
        ("burst", words.burst_text(tier)),
        ("quota", words.quota_text(tier)),
        ("keys", text % {"keys": words.number_of(keys)}),
    ]


def _hold(steps: Iterable[Step]) -> None:
    for tier in sorted((step.tier for step in steps if step.tier is not None), key=lambda tier: tier.pk):
        if tier.is_pooled:
            hold_pool_alone(tier.pool.pk)
        else:
            hold_tier_alone(tier.pk)


def _do(step: Step, act: Callable[[Step, Actor], object], actor: Actor) -> None:
    try:
        act(step, actor)
    except (catalog.UnableToChangeTier, pools.UnableToChangePool) as refusal:
        raise UnableToApplyPlan(f"{step.plan.slug}: {refusal}") from refusal


def _create(stages: Sequence[Stage], prices: Mapping[str, int], step: Step, actor: Actor) -> None:
    planned = step.plan
    catalog.create_tier(
        slug=planned.slug,
        name=planned.slug.replace("-", " ").strip().capitalize() or planned.slug,
        description="",
        position=min(32_767, (Tier.objects.aggregate(last=Max("position"))["last"] or 0) + 10),
        price_minor=prices.get(planned.slug, 0),
        currency=CURRENCY,
        isolation=Isolation.SILOED if planned.siloed else Isolation.POOLED,
        throttle_rate=planned.rate,
        throttle_burst=planned.burst,
        quota_limit=planned.quota_limit,
        quota_period=planned.quota_period,
        max_api_keys=MAX_API_KEYS,
        spare_target=planned.spares,
        pool_size=None if planned.siloed else planned.keys,
        stages=stages,
        actor=actor,
    )


def _change(step: Step, actor: Actor) -> None:
    planned = step.plan
    if step.tier is None:
        return
    if planned.siloed and step.tier.spare_target != planned.spares:
        catalog.change_tier(tier=step.tier, changes={"spare_target": planned.spares}, actor=actor)
    catalog.change_limits(
        tier=step.tier,
        throttle_rate=planned.rate,
        throttle_burst=planned.burst,
        quota_limit=planned.quota_limit,
        quota_period=planned.quota_period,
        actor=actor,
    )


def _resize(step: Step, actor: Actor) -> None:
    if step.tier is not None and step.tier.is_pooled:
        pools.resize_pool(tier=step.tier, size=step.plan.keys, actor=actor)
