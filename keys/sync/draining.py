"""Moving what can move off gateways that are drained, in parts: each pool key there, and the gateway key of each siloed API key, is
replaced by one on another gateway of the tier.

Everybody on it gets the new credential and URL, is told, and can go on with the old one for MOVE_GRACE. Siloed API keys move only when
staff said so: their tenants have to act.
"""

import math
import time
import uuid
from collections.abc import Iterable

import structlog
from django.db import transaction
from django.db.models import F, QuerySet

from keys.drains import movable, ways
from keys.models import ApiKey, Gateway, GatewayKey, KeyRole, Pool, Priority, UsagePlan
from keys.models.room import reserve, roomiest
from keys.models.tickets import hold_pool_alone, hold_tier
from keys.moving import MOVE_GRACE, hand_over, replace
from keys.stock import open_plans, unsaved
from tenants.audit import SYSTEM, Actor
from tenants.clock import database_now
from tenants.models import Tenant

log = structlog.get_logger(__name__)

# Pool keys moved at one time: the sweep has other things to look after, too.
MOST_MOVED = 50
# Siloed API keys moved at one time: what the slowest gateway, that makes its keys one by one, makes until the next sweep.
MOST_SILOED = 25
# No more siloed API keys are moved while so many keys that others were moved to are still to be made: somewhere something keeps them from
# being made, and the old ones end.
MOST_WAITING = 4 * MOST_SILOED


def go_on_with_drains(gateways: Iterable[Gateway], until: float = math.inf) -> None:
    """Some pool keys and siloed API keys of each of ``gateways`` that is drained; nothing is asked for the others. ``until``: none is begun
    after it, by the monotonic clock."""
    for gateway in gateways:
        if gateway.draining_since is None:
            continue
        pool_keys, siloed = move_pool_keys(gateway.pk, until=until), move_siloed_keys(gateway.pk, until=until)
        if pool_keys or siloed:
            log.info("drain.moved", gateway_id=str(gateway.pk), pool_keys=pool_keys, siloed=siloed)


def move_pool_keys(gateway_id: uuid.UUID, most: int = MOST_MOVED, actor: Actor = SYSTEM, until: float = math.inf) -> int:
    """Replace up to ``most`` pool keys of a drained gateway; how many. Those that no other gateway has room for stay where they are.

    Race: buyers, staff who change the pool, another sweep. Each key is a transaction that holds its pool alone, and looks again.
    """
    moved = 0
    standing = _standing(gateway_id)
    for pool_id in list(standing.order_by("pool").values_list("pool", flat=True).distinct()):
        for key_id in list(standing.filter(pool=pool_id).order_by("position").values_list("pk", flat=True)[: most - moved]):
            if time.monotonic() >= until:
                return moved
            if not _move(gateway_id, pool_id, key_id, actor):
                break
            moved += 1
    return moved


def _standing(gateway_id: uuid.UUID) -> QuerySet[GatewayKey]:
    """Pool keys to be moved. Those beyond their pool's size are left by their tenants already (``keys.sync.pools``)."""
    keys = GatewayKey.objects.filter(gateway=gateway_id, gateway__draining_since__isnull=False, ends_at=None)
    return keys.filter(pool__isnull=False, position__lt=F("pool__size"))


def _move(gateway_id: uuid.UUID, pool_id: int, key_id: uuid.UUID, actor: Actor) -> bool:
    """False: this pool's keys cannot be moved now."""
    with transaction.atomic():
        hold_pool_alone(pool_id)
        pool = Pool.objects.select_related("tier").get(pk=pool_id)
        old = _standing(gateway_id).select_related("usage_plan").filter(pk=key_id).first()
        if old is None:
            return True  # somebody else saw to it
        plan = roomiest(ways(open_plans(pool.tier), gateway_id))
        if plan is None:
            return False
        replace(old, unsaved(plan, KeyRole.POOL, Priority.PURCHASE, pool, old.position), database_now() + MOVE_GRACE, actor)
        return _has_room(plan)


def _has_room(plan: UsagePlan) -> bool:
    """Take the room of what was made, last of all: buyers wait for whoever has taken room. Without room nothing of it is done."""
    if reserve([plan], 1):
        return True
    transaction.set_rollback(True)
    return False


def move_siloed_keys(gateway_id: uuid.UUID, most: int = MOST_SILOED, actor: Actor = SYSTEM, until: float = math.inf) -> int:
    """Move up to ``most`` siloed API keys off a drained gateway; how many. Those that cannot move now (see ``movable``), and those that no
    other gateway has room for, stay where they are until they can.

    The keys that they move to are made behind everything that somebody waits for, and take no spare from a buyer: the old ones work
    meanwhile. Where MOST_WAITING of these keys wait, no more are moved until some are made. Race: their tenants, staff, another sweep.
    Each is a transaction that locks what a rotation locks, and looks again.
    """
    most = min(most, MOST_WAITING - _not_made_yet())
    if most <= 0:
        return 0
    moved = 0
    waiting = _movable(gateway_id)
    for tier_id in list(waiting.order_by("tier").values_list("tier", flat=True).distinct()):
        of_tier = waiting.filter(tier=tier_id).order_by("created_at", "pk")
        for api_key_id, tenant_id in list(of_tier.values_list("pk", "tenant")[: most - moved]):
            if time.monotonic() >= until:
                return moved
            if not _move_siloed(gateway_id, tenant_id, tier_id, api_key_id, actor):
                break
            moved += 1
    return moved


def _not_made_yet() -> int:
    """Gateway keys that siloed API keys were moved to and that API Gateway does not hold as it shall; counted up to MOST_WAITING."""
    pending = GatewayKey.objects.filter(synced_revision__lt=F("revision"), removed_at=None, ends_at=None)
    return pending.filter(role=KeyRole.SILO, priority=Priority.SPARE)[:MOST_WAITING].count()


def _movable(gateway_id: uuid.UUID) -> QuerySet[ApiKey]:
    """Siloed API keys to be moved: none unless staff said so, and none once the drain was ended."""
    return movable(gateway_id, database_now()).filter(gateway_key__gateway__moves_siloed_since__isnull=False)


def _move_siloed(gateway_id: uuid.UUID, tenant_id: uuid.UUID, tier_id: uuid.UUID, api_key_id: uuid.UUID, actor: Actor) -> bool:
    """False: this tier's API keys cannot be moved now."""
    with transaction.atomic():
        Tenant.objects.select_for_update(no_key=True).only("pk").get(pk=tenant_id)
        hold_tier(tier_id)
        ApiKey.objects.select_for_update(no_key=True).only("pk").get(pk=api_key_id)
        api_key = _movable(gateway_id).select_related("tier", "gateway_key").filter(pk=api_key_id).first()
        if api_key is None:
            return True  # somebody else saw to it
        plan = roomiest(ways(open_plans(api_key.tier), gateway_id))
        if plan is None:
            return False
        ends_at = database_now() + MOVE_GRACE
        GatewayKey.objects.filter(pk=api_key.gateway_key_id).update(ends_at=ends_at, priority=Priority.REVOKE)
        new = unsaved(plan, KeyRole.SILO, Priority.SPARE)
        new.save(force_insert=True)
        hand_over(api_key.gateway_key, new, ends_at, actor)
        return _has_room(plan)
