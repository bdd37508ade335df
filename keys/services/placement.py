"""Finding the gateway key that a purchase stands on."""

import uuid
from collections.abc import Collection, Iterable
from datetime import datetime

from django.db import connection
from django.db.models import F

from keys.models import FreeSlot, GatewayKey, KeyRole, Pool, Priority, Tier, UsagePlan, spares
from keys.models.room import hold
from keys.models.tickets import hold_pool, hold_tier, take_places
from keys.services.bell import ring
from keys.stock import NoRoom, make, open_plans

# What is left of a usage plan's gateway.
ROOM = F("gateway__capacity") - F("gateway__foreign_keys") - F("gateway__room__held")


def take_slots(tier: Tier, count: int) -> list[tuple[uuid.UUID, int]]:
    """Places in the tier's pool, as (gateway key id, slot). Fewer than ``count`` when the pool lacks keys that places are on."""
    return take_places(tier.pk, count)


def leave_slot(gateway_key: GatewayKey, slot: int) -> None:
    """Put a place on the list of free ones. A place on a key that is leaving its pool is not offered again."""
    if gateway_key.pool is not None and gateway_key.ends_at is None and (gateway_key.position or 0) < gateway_key.pool.size:
        FreeSlot.objects.get_or_create(gateway_key=gateway_key, slot=slot, defaults={"pool": gateway_key.pool})


def take_spares(plans: Iterable[UsagePlan], count: int, **those: object) -> list[GatewayKey]:
    """Up to ``count`` spares of these plans, in their order, of each the longest in service; now SILO keys. ``those``: only such spares.

    A query a plan and not one for all: so it reads the first spares of an index, however many there are.

    Race: two buyers, one spare. PostgreSQL: the rows are locked with SKIP LOCKED, so the second buyer sees the next spare or none.
    SQLite: there is one writer at a time.
    """
    spares: list[GatewayKey] = []
    for plan in plans:
        query = GatewayKey.objects.filter(usage_plan=plan, role=KeyRole.SPARE, ends_at=None, **those).order_by("in_service_at")
        if connection.vendor == "postgresql":
            query = query.select_for_update(skip_locked=True, no_key=True)
        spares += query[: count - len(spares)]
        if len(spares) == count:
            break
    if spares:
        # The workers make those first that somebody waits for.
        GatewayKey.objects.filter(pk__in=[spare.pk for spare in spares]).update(role=KeyRole.SILO, priority=Priority.PURCHASE)
    for spare in spares:
        spare.role, spare.priority = KeyRole.SILO, Priority.PURCHASE
    return spares


def hold_all(tiers: Collection[Tier]) -> None:
    """Hold several tiers, and the room of their gateways where several may need it, before anything of the first is taken.

    Race: two batches with the same siloed tiers on several gateways. Each tier alone locks rooms in the order of their gateways' ids;
    one after the other they would be locked in any order, and each batch could wait for the other.
    """
    for tier in sorted(tiers, key=lambda each: each.pk):
        if tier.is_pooled:
            hold_pool(Pool.objects.values_list("pk", flat=True).get(tier=tier))
        else:
            hold_tier(tier.pk)
    siloed = [tier.pk for tier in tiers if not tier.is_pooled]
    if len(siloed) > 1:
        hold(UsagePlan.objects.filter(tier__in=siloed).values_list("gateway_id", flat=True))


def silo_or_spare(tier: Tier, now: datetime, gateway_id: uuid.UUID | None = None) -> GatewayKey:
    """``silos_or_spares`` for one gateway key. Raises NoRoom.

    ``gateway_id``: on this gateway and no other, for who calls its address already.
    """
    found = silos_or_spares(tier, 1, now, gateway_id)
    if not found:
        raise NoRoom
    return GatewayKey.objects.get(pk=found[0])


def silos_or_spares(tier: Tier, count: int, now: datetime, gateway_id: uuid.UUID | None = None) -> list[uuid.UUID]:
    """Gateway keys for one tenant alone: spares that work at once, then some that the workers make; fewer where no room is left. Their ids.

    Both are taken where most room is. Spares that were taken are made up for by the workers: a purchase that takes one waits for
    nobody, not even for the count of a gateway's keys. Where no room is left, spares that are still being made are room as well.

    Race: staff retire the tier or change its spares. The tier is held first, so what is read of it stays so until the commit.
    """
    ready = take_ready_spares(tier, count, now, gateway_id)
    if len(ready) == count:
        # To make up for spares that work already is no hurry: the sweep finds that they are lacking.
        return ready
    plans = _roomiest_plans(tier, gateway_id)
    preparing = make(plans, count - len(ready), KeyRole.SILO, Priority.PURCHASE)
    if len(ready) + len(preparing) < count:
        # One that waits for a person will not be there soon.
        preparing += take_spares(plans, count - len(ready) - len(preparing), permanent=False)
    for each in {gateway_key.gateway_id for gateway_key in preparing}:
        ring(each)
    return [*ready, *(gateway_key.pk for gateway_key in preparing)]


def take_ready_spares(tier: Tier, count: int, now: datetime, gateway_id: uuid.UUID | None = None) -> list[uuid.UUID]:
    """Up to ``count`` spares that are in service, by id, taken where most room is; now SILO keys. The tier is held until the transaction
    ends."""
    if connection.vendor == "postgresql":
        return spares.take_ready(tier.pk, count, now, gateway_id)
    return [each.pk for each in take_spares(_roomiest_plans(tier, gateway_id), count, in_service_at__lte=now)]


def _roomiest_plans(tier: Tier, gateway_id: uuid.UUID | None) -> list[UsagePlan]:
    """The tier's usage plans where it may get keys, the one with the most room first."""
    those = {} if gateway_id is None else {"gateway": gateway_id}
    return list(open_plans(tier).filter(**those).order_by(ROOM.desc(), "pk"))
