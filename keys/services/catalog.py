"""What is for sale: tiers, their limits and their prices."""

import heapq
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from keys.models import Isolation, KeyRole, Pool, Stage, Tier, UsagePlan
from keys.models.tickets import hold_pool_alone, hold_tier_alone, open_tickets
from keys.services.bell import ring
from keys.services.intent import want
from keys.stock import NoRoom, make_in_pool, open_plans
from tenants.audit import Actor, record

LIMITS = ("throttle_rate", "throttle_burst", "quota_limit", "quota_period")
OFFER = ("name", "description", "position", "price_minor", "currency", "max_api_keys", "spare_target")


class UnableToChangeTier(Exception):
    """A change that was refused; the message names what to mend."""


def create_tier(
    *,
    slug: str,
    name: str,
    description: str,
    position: int,
    price_minor: int,
    currency: str,
    isolation: Isolation,
    throttle_rate: Decimal,
    throttle_burst: int,
    quota_limit: int | None,
    quota_period: str,
    max_api_keys: int,
    spare_target: int,
    pool_size: int | None,
    stages: Iterable[Stage],
    actor: Actor,
) -> Tier:
    """Put a tier up for sale on ``stages``; their gateways get its usage plan, and its pool keys or spares.

    ``pool_size`` is the number of shared gateway keys, for a pooled tier only. Raises UnableToChangeTier.
    """
    stages = list(stages)
    pooled = isolation == Isolation.POOLED
    if pooled != bool(pool_size):
        raise UnableToChangeTier(_("A pooled tier needs a pool size of at least 1; a siloed tier has none."))
    if not stages:
        raise UnableToChangeTier(_("Choose at least one stage that the tier serves."))
    with transaction.atomic():
        tier = Tier(
            slug=slug,
            name=name,
            description=description,
            position=position,
            price_minor=price_minor,
            currency=currency,
            isolation=isolation,
            throttle_rate=throttle_rate,
            throttle_burst=throttle_burst,
            quota_limit=quota_limit,
            quota_period=quota_period,
            max_api_keys=max_api_keys,
            spare_target=spare_target,
        )
        _save(tier)
        tier.stages.set(stages)
        _plan_each_gateway(tier)
        if pool_size:
            pool = Pool.objects.create(tier=tier, size=pool_size)
            open_tickets(pool)
            fill_pool(pool, range(pool_size))
        record(
            actor=actor,
            action="tier.created",
            target=tier,
            data={**_shown(tier, LIMITS + OFFER), "isolation": isolation, "pool_size": pool_size},
        )
    return tier


def change_limits(
    *, tier: Tier, throttle_rate: Decimal, throttle_burst: int, quota_limit: int | None, quota_period: str, actor: Actor
) -> Tier:
    """Change what a tier allows: one UpdateUsagePlan on each of its gateways. Nothing is sent when nothing changes.

    Raises UnableToChangeTier. Race: two changes at once. The tier's row is locked; the last one wins, whole.
    """
    with transaction.atomic():
        tier = Tier.objects.select_for_update(no_key=True).get(pk=tier.pk)
        before = _shown(tier, LIMITS)
        tier.throttle_rate, tier.throttle_burst, tier.quota_limit, tier.quota_period = (
            throttle_rate,
            throttle_burst,
            quota_limit,
            quota_period,
        )
        _save(tier, *LIMITS)
        tier.refresh_from_db()
        after = _shown(tier, LIMITS)
        if after != before:
            _touch_plans(tier)
            record(actor=actor, action="tier.limits_changed", target=tier, data={"before": before, "after": after})
    return tier


def change_offer(
    *,
    tier: Tier,
    name: str,
    description: str,
    position: int,
    price_minor: int,
    currency: str,
    max_api_keys: int,
    spare_target: int,
    actor: Actor,
) -> Tier:
    """Change a tier's words, price, maximum and spares. Its limits, isolation and slug stay. Raises UnableToChangeTier."""
    with transaction.atomic():
        hold_tier_alone(tier.pk)
        tier = Tier.objects.select_for_update(no_key=True).get(pk=tier.pk)
        before = _shown(tier, OFFER)
        tier.name, tier.description, tier.position = name, description, position
        tier.price_minor, tier.currency = price_minor, currency
        tier.max_api_keys, tier.spare_target = max_api_keys, spare_target
        _save(tier, *OFFER)
        after = _shown(tier, OFFER)
        if after != before:
            _ring_each(tier)
            record(actor=actor, action="tier.offer_changed", target=tier, data={"before": before, "after": after})
    return tier


def serve_stages(*, tier: Tier, stages: Iterable[Stage], actor: Actor) -> Tier:
    """Let the tier serve exactly ``stages``. Raises UnableToChangeTier when a gateway with keys of tenants would be left out.

    Race: staff who resize its pool, a drain. The pool is held alone, so that none of its keys is just being made where the tier leaves.
    """
    stages = list(stages)
    with transaction.atomic():
        hold_tier_alone(tier.pk)
        _hold_pools_alone(tier)
        tier = Tier.objects.select_for_update(no_key=True).get(pk=tier.pk)
        before = sorted(str(stage) for stage in tier.stages.all())
        kept = {stage.gateway_id for stage in stages}
        for plan in tier.usage_plans.exclude(gateway_id__in=kept):
            if plan.gateway_keys.filter(removed_at=None, role__in=[KeyRole.SILO, KeyRole.POOL]).exists():
                raise UnableToChangeTier(
                    _("%(gateway)s still holds keys of this tier; keep one of its stages.") % {"gateway": plan.gateway}
                )
        tier.stages.set(stages)
        _plan_each_gateway(tier)
        _touch_plans(tier)
        _ring_each(tier)
        after = sorted(str(stage) for stage in stages)
        record(actor=actor, action="tier.stages_changed", target=tier, data={"before": before, "after": after})
    return tier


def change_tier(
    *,
    tier: Tier,
    changes: Mapping[str, Any],
    stages: Iterable[Stage] | None = None,
    check: Callable[[Tier], None] = lambda _tier: None,
    actor: Actor,
) -> Tier:
    """Change any of LIMITS and OFFER, and the stages, together or not at all; what ``changes`` does not name stays as it is.

    ``check`` gets the tier as it is now, locked, and may refuse by raising. Raises UnableToChangeTier.
    """
    with transaction.atomic():
        hold_tier_alone(tier.pk)
        if stages is not None:
            _hold_pools_alone(tier)
        tier = Tier.objects.select_for_update(no_key=True).get(pk=tier.pk)
        check(tier)
        if set(changes).intersection(OFFER):
            tier = change_offer(tier=tier, **{**_shown(tier, OFFER), **_among(changes, OFFER)}, actor=actor)
        if stages is not None:
            tier = serve_stages(tier=tier, stages=stages, actor=actor)
        if set(changes).intersection(LIMITS):
            tier = change_limits(tier=tier, **{**_shown(tier, LIMITS), **_among(changes, LIMITS)}, actor=actor)
    return tier


def retire_tier(*, tier: Tier, actor: Actor) -> Tier:
    """Close a tier to buyers. Keys that were sold go on working; its spares are removed."""
    with transaction.atomic():
        hold_tier_alone(tier.pk)
        tier = Tier.objects.select_for_update(no_key=True).get(pk=tier.pk)
        if tier.retired_at is None:
            tier.retired_at = timezone.now()
            tier.save(update_fields=["retired_at"])
            _ring_each(tier)  # its spares are removed
            record(actor=actor, action="tier.retired", target=tier)
    return tier


def reopen_tier(*, tier: Tier, actor: Actor) -> Tier:
    """Put a retired tier up for sale again."""
    with transaction.atomic():
        hold_tier_alone(tier.pk)
        tier = Tier.objects.select_for_update(no_key=True).get(pk=tier.pk)
        if tier.retired_at is not None:
            tier.retired_at = None
            tier.save(update_fields=["retired_at"])
            _ring_each(tier)
            record(actor=actor, action="tier.reopened", target=tier)
    return tier


def fill_pool(pool: Pool, positions: Iterable[int]) -> None:
    """Make pool keys at ``positions``, each on the gateway of the tier that has the fewest of the pool's keys: so every gateway that serves
    the tier gets its share, one that was added later too. Raises UnableToChangeTier when there is no room."""
    plans = list(open_plans(pool.tier).order_by("created_at", "pk"))
    if not plans:
        raise UnableToChangeTier(_("No gateway of this tier accepts new keys."))
    fewest = [(pool.gateway_keys.filter(gateway=plan.gateway_id, ends_at=None).count(), place) for place, plan in enumerate(plans)]
    heapq.heapify(fewest)
    places = []
    for position in positions:
        held, place = fewest[0]
        places.append((plans[place], position))
        heapq.heapreplace(fewest, (held + 1, place))
    try:
        made = make_in_pool(pool, places)
    except NoRoom:
        words = _("The gateways of this tier have no room for so many keys. Register another account or Region.")
        raise UnableToChangeTier(words) from None
    for gateway_id in {gateway_key.gateway_id for gateway_key in made}:
        ring(gateway_id)


def _hold_pools_alone(tier: Tier) -> None:
    """Before the tier's row is locked, as everybody does who changes a pool and its tier."""
    for pool_id in Pool.objects.filter(tier=tier.pk).values_list("pk", flat=True):
        hold_pool_alone(pool_id)


def _ring_each(tier: Tier) -> None:
    """The workers look after the tier's spares."""
    for gateway_id in tier.usage_plans.values_list("gateway_id", flat=True):
        ring(gateway_id)


def _plan_each_gateway(tier: Tier) -> None:
    for gateway_id in tier.stages.values_list("gateway_id", flat=True).distinct():
        UsagePlan.objects.get_or_create(tier=tier, gateway_id=gateway_id)
        ring(gateway_id)


def _touch_plans(tier: Tier) -> None:
    for plan in tier.usage_plans.all():
        want(plan)


def _save(tier: Tier, *fields: str) -> None:
    try:
        tier.full_clean()
    except ValidationError as error:
        raise UnableToChangeTier(" ".join(_sentences(error))) from error
    tier.save(update_fields=fields or None)


def _sentences(error: ValidationError) -> Iterable[str]:
    for field, messages in error.message_dict.items():
        yield " ".join(messages) if field == "__all__" else f"{field}: {' '.join(messages)}"


def _shown(tier: Tier, fields: Iterable[str]) -> dict[str, Any]:
    return {field: getattr(tier, field) for field in fields}


def _among(changes: Mapping[str, Any], fields: Iterable[str]) -> dict[str, Any]:
    return {field: changes[field] for field in fields if field in changes}
