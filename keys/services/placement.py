"""Finding the gateway key that a purchase stands on."""

import heapq
import uuid
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Count, F, Q, QuerySet

from keys import values
from keys.models import FreeSlot, GatewayKey, KeyRole, Pool, Priority, Tier, UsagePlan
from keys.models.tickets import hold_tier, take_places
from keys.services.bell import ring

_BATCH = 500


class NoRoom(Exception):
    """No gateway that serves the tier has room for one more gateway key."""


def take_slots(tier: Tier, count: int) -> list[tuple[uuid.UUID, int]]:
    """Places in the tier's pool, as (gateway key id, slot). Fewer than ``count`` when the pool lacks keys that places are on."""
    return take_places(tier.pk, count)


def leave_slot(gateway_key: GatewayKey, slot: int) -> None:
    """Put a place on the list of free ones. A place on a key that is leaving its pool is not offered again."""
    if gateway_key.pool_id is not None and gateway_key.ends_at is None:
        FreeSlot.objects.get_or_create(gateway_key=gateway_key, slot=slot, defaults={"pool_id": gateway_key.pool_id})


def take_spares(plans: QuerySet[UsagePlan], count: int, now: datetime) -> list[GatewayKey]:
    """Up to ``count`` spares of these plans that are in service, the longest waiting first, now SILO keys.

    Race: two buyers, one spare. PostgreSQL: the rows are locked with SKIP LOCKED, so the second buyer sees the next spare or none.
    SQLite: there is one writer at a time.
    """
    query = GatewayKey.objects.filter(usage_plan__in=plans, role=KeyRole.SPARE, ends_at=None, in_service_at__lte=now)
    query = query.order_by("in_service_at")
    if connection.vendor == "postgresql":
        query = query.select_for_update(skip_locked=True, of=("self",))
    spares = list(query[:count])
    if spares:
        GatewayKey.objects.filter(pk__in=[spare.pk for spare in spares], role=KeyRole.SPARE).update(role=KeyRole.SILO)
    for spare in spares:
        spare.role = KeyRole.SILO
    return spares


def new_gateway_key(
    *, plan: UsagePlan, role: KeyRole, priority: Priority, pool: Pool | None = None, position: int | None = None
) -> GatewayKey:
    """A gateway key that shall exist, saved: its value is made and stored before anything is sent. The caller rings the bell."""
    gateway_key = _unsaved(plan, role, priority, pool, position)
    gateway_key.save(force_insert=True)
    return gateway_key


def _unsaved(plan: UsagePlan, role: KeyRole, priority: Priority, pool: Pool | None = None, position: int | None = None) -> GatewayKey:
    value = values.new_value()
    return GatewayKey(
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
    """``silos_or_spares`` for one gateway key. Raises NoRoom.

    ``gateway_id``: on this gateway and no other, for who calls its address already.
    """
    found = silos_or_spares(tier, 1, now, gateway_id)
    if not found:
        raise NoRoom
    return found[0]


def silos_or_spares(tier: Tier, count: int, now: datetime, gateway_id: uuid.UUID | None = None) -> list[GatewayKey]:
    """Gateway keys for one tenant alone: spares that work at once, then some that the workers will make; fewer where no room is left.

    The number of queries does not grow with ``count``. New ones go where most room is, each as if it were bought by itself; spares
    are made up for afterwards, with the room that is left then.

    Race: staff retire the tier or change its spares. The tier is held first, so what is read of it stays so until the commit.
    """
    hold_tier(tier.pk)
    tier = Tier.objects.get(pk=tier.pk)
    plans = open_plans(tier) if gateway_id is None else open_plans(tier).filter(gateway=gateway_id)
    found = take_spares(plans, count, now)
    if len(found) < count:
        roomiest = _roomiest_plans(plans, count - len(found))
        found += GatewayKey.objects.bulk_create([_unsaved(plan, KeyRole.SILO, Priority.PURCHASE) for plan in roomiest], batch_size=_BATCH)
        for each in {plan.gateway_id for plan in roomiest}:
            ring(each)
    refill_spares(tier)
    return found


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


def _roomiest_plans(plans: QuerySet[UsagePlan], count: int) -> list[UsagePlan]:
    """The usage plan for each of ``count`` new keys: whichever's gateway has the most room then. Fewer when there is none left."""
    rooms = [[-plan.room, place, plan] for place, plan in enumerate(with_room(plans).order_by("created_at")) if plan.room > 0]
    heapq.heapify(rooms)
    chosen: list[UsagePlan] = []
    while rooms and len(chosen) < count:
        least, place, plan = rooms[0]
        chosen.append(plan)
        if least == -1:
            heapq.heappop(rooms)
        else:
            heapq.heapreplace(rooms, [least + 1, place, plan])
    return chosen


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
        if lacking > 0:
            spares = [_unsaved(plan, KeyRole.SPARE, Priority.SPARE) for _ in range(lacking)]
            GatewayKey.objects.bulk_create(spares, batch_size=_BATCH)
            ring(plan.gateway_id)
