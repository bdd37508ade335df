"""Finding the gateway key that a purchase stands on."""

import uuid
from datetime import datetime
from typing import Any, cast

from django.db import connection
from django.db.models import Count, F, Q, QuerySet

from keys import values
from keys.models import FreeSlot, GatewayKey, KeyRole, Pool, Priority, Tier, UsagePlan
from keys.models.tickets import hold_tier, take_place
from keys.services.bell import ring


class NoRoom(Exception):
    """No gateway that serves the tier has room for one more gateway key."""


def take_slot(tier: Tier) -> tuple[uuid.UUID, int]:
    """A place in the tier's pool, as (gateway key id, slot). Raises NoRoom when the pool lacks the key that the place is on."""
    place = take_place(tier.pk)
    if place is None:
        raise NoRoom
    return place


def leave_slot(gateway_key: GatewayKey, slot: int) -> None:
    """Put a place on the list of free ones. A place on a key that is leaving its pool is not offered again."""
    if gateway_key.pool_id is not None and gateway_key.ends_at is None:
        FreeSlot.objects.get_or_create(gateway_key=gateway_key, slot=slot, defaults={"pool_id": gateway_key.pool_id})


def take_spare(plans: QuerySet[UsagePlan], now: datetime) -> GatewayKey | None:
    """A spare of one of these plans that is in service, now a SILO key; None when there is none.

    Race: two buyers, one spare. PostgreSQL: the row is locked with SKIP LOCKED, so the second buyer sees the next spare or none. SQLite:
    there is one writer at a time. The role is changed by a conditional update, so a spare that was taken is never taken again.
    """
    spares = GatewayKey.objects.filter(usage_plan__in=plans, role=KeyRole.SPARE, ends_at=None, in_service_at__lte=now)
    spares = spares.order_by("in_service_at")
    if connection.vendor == "postgresql":
        spares = spares.select_for_update(skip_locked=True, of=("self",))
    spare = spares.first()
    if spare is None or not GatewayKey.objects.filter(pk=spare.pk, role=KeyRole.SPARE).update(role=KeyRole.SILO):
        return None
    spare.role = KeyRole.SILO
    return spare


def new_gateway_key(
    *, plan: UsagePlan, role: KeyRole, priority: Priority, pool: Pool | None = None, position: int | None = None
) -> GatewayKey:
    """A gateway key that shall exist, saved: its value is made and stored before anything is sent. The caller rings the bell."""
    value = values.new_value()
    return GatewayKey.objects.create(
        gateway_id=plan.gateway_id,
        usage_plan=plan,
        role=role,
        priority=priority,
        pool=pool,
        position=position,
        value_encrypted=values.encrypt(value),
        value_sha256=values.digest(value),
        last_four=value[-4:],
    )


def silo_or_spare(tier: Tier, now: datetime, gateway_id: uuid.UUID | None = None) -> GatewayKey:
    """A gateway key for one tenant alone: a spare that works at once, else one that the workers will make. Raises NoRoom.

    ``gateway_id``: on this gateway and no other, for who calls its address already.

    Race: staff retire the tier or change its spares. The tier is held first, so what is read of it stays so until the commit.
    """
    hold_tier(tier.pk)
    tier = Tier.objects.get(pk=tier.pk)
    plans = open_plans(tier) if gateway_id is None else open_plans(tier).filter(gateway=gateway_id)
    spare = take_spare(plans, now)
    if spare is None:
        spare = new_gateway_key(plan=roomiest_plan(plans), role=KeyRole.SILO, priority=Priority.PURCHASE)
        ring(spare.gateway_id)
    refill_spares(tier)
    return spare


def open_plans(tier: Tier) -> QuerySet[UsagePlan]:
    """The tier's usage plans where it may get new keys: on gateways that take them and have a stage that the tier serves."""
    return UsagePlan.objects.filter(tier=tier, gateway__accepts_keys=True, gateway__in=tier.stages.values("gateway"))


def with_room(plans: QuerySet[UsagePlan]) -> QuerySet[Any]:
    """Each with ``room``: how many gateway keys more its gateway may hold; below 0 where staff lowered the cap.

    The count is of keys that exist or shall exist. Two purchases at the very cap may both pass; the gateway itself refuses the
    second key then, and its purchase waits, in words that say so.
    """
    held = Count("gateway__gateway_keys", filter=Q(gateway__gateway_keys__removed_at=None))
    return plans.annotate(held=held).annotate(room=F("gateway__capacity") - F("held"))


def roomiest_plan(plans: QuerySet[UsagePlan]) -> UsagePlan:
    """The usage plan on the gateway with the most room for gateway keys. Raises NoRoom when none has any."""
    plan: Any = with_room(plans).order_by("-room", "created_at").first()
    if plan is None or plan.room < 1:
        raise NoRoom
    return cast("UsagePlan", plan)


def refill_spares(tier: Tier) -> None:
    """Make as many spares as the tier's target lacks on each of its gateways, as far as there is room. A siloed purchase calls it; so
    does a new target.

    The caller holds the tier.
    """
    if tier.retired_at is not None or not tier.spare_target:
        return
    for plan in with_room(open_plans(tier)):
        have = GatewayKey.objects.filter(usage_plan=plan, role=KeyRole.SPARE, ends_at=None).count()
        lacking = min(tier.spare_target - have, plan.room)
        for _ in range(lacking):
            new_gateway_key(plan=plan, role=KeyRole.SPARE, priority=Priority.SPARE)
        if lacking > 0:
            ring(plan.gateway_id)
