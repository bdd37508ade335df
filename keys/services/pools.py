"""Pools as staff change them: their size, how evenly their keys are loaded, and the value of one of their keys.

Who is moved gets a new credential, is told (audit trail, webhooks), and can go on with the old one for MOVE_GRACE. Everything is written in
few statements, whatever the number of keys: buyers of the tier wait meanwhile.
"""

import uuid
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.utils.translation import gettext as _

from keys.levelling import Levelling, even_out, pair, vacate
from keys.models import GatewayKey, KeyRole, Pool, Priority, Tier
from keys.models.gateway import lock_gateways
from keys.models.places import loads_of
from keys.models.pool import LARGEST_POOL
from keys.models.room import reserve, roomiest
from keys.models.tickets import hold_pool_alone
from keys.moving import PART, carry_out, gateways_of, leaving, replace, vacate_part
from keys.services.bell import ring
from keys.services.catalog import UnableToChangeTier, fill_pool
from keys.services.intent import want
from keys.stock import unsaved
from tenants.audit import Actor, record
from tenants.clock import database_now

# API keys that one call of ``rebalance_pool`` moves by default: a few seconds.
MOST_MOVED = 10_000


class UnableToChangePool(Exception):
    """A change that was refused; the message names what to mend."""


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a change of a pool does: its keys, API keys that move, those of them whose URL changes with it, and the loads before and after.

    ``fullest``, ``emptiest``: API keys on one gateway key then.
    """

    size: int
    moved: int
    new_url: int
    fullest_before: int
    emptiest_before: int
    fullest: int
    emptiest: int
    total: int

    @property
    def blast_radius_before(self) -> float | None:
        """0 to 1; None while nothing is sold."""
        return self.fullest_before / self.total if self.total else None

    @property
    def blast_radius(self) -> float | None:
        """0 to 1; None while nothing is sold."""
        return self.fullest / self.total if self.total else None


def preview_resize(tier: Tier, size: int) -> Preview:
    """What ``resize_pool`` would do now. Raises UnableToChangePool."""
    pool = _checked(tier, size)
    loads = loads_of(pool)
    return _preview(loads, vacate(loads, leaving(pool, size)), size)


def preview_rebalance(tier: Tier, most: int = MOST_MOVED) -> Preview:
    """What ``rebalance_pool`` would do now. Raises UnableToChangePool."""
    pool = _pool_of(tier)
    loads = loads_of(pool, within=pool.size)
    return _preview(loads, even_out(loads, most), len(loads))


def resize_pool(*, tier: Tier, size: int, actor: Actor) -> Pool:
    """Let the tier's pool have ``size`` gateway keys.

    Larger: the new keys receive tenants until the load is level; nobody is moved. Smaller: tenants of the leaving keys are moved, and
    their old credential goes on working for MOVE_GRACE; the first PART of them here, the others soon after by the workers. Raises
    UnableToChangePool.

    Race: purchases at the same moment. The pool is held alone, so they wait and then see the new size.
    """
    _checked(tier, size)
    with transaction.atomic():
        pool = _held_alone(tier)
        before = pool.size
        if size == before:
            return pool
        if size > before:
            # Keys that still leave may end here, and the rows of gateways come before room.
            lock_gateways(gateways_of(leaving(pool, size)).values())
            _grow(pool, size)
        moved = vacate_part(pool, size, actor)
        record(actor=actor, action="pool.resized", target=tier, data={"before": before, "after": size, "api_keys": moved})
    return pool


def rebalance_pool(*, tier: Tier, most: int = MOST_MOVED, actor: Actor) -> int:
    """Move as few API keys as level the pool, ``most`` at most, from its fullest keys to its emptiest; how many were moved.

    They are told and keep their old credential for MOVE_GRACE; as they shared its value, API Gateway goes on answering copies of it. It
    is done in parts, each a transaction, so that buyers wait for one part at a time only. Raises UnableToChangePool.

    Race: purchases, revocations and other changes of the pool. Each part holds the pool alone, so they wait, and reads the loads anew.
    """
    if most < 1:
        raise UnableToChangePool(_("Let at least 1 API key be moved."))
    moved = 0
    while moved < most:
        part = _rebalance_part(tier, min(PART, most - moved), actor)
        moved += part
        if part < PART:
            break
    return moved


def _rebalance_part(tier: Tier, most: int, actor: Actor) -> int:
    with transaction.atomic():
        pool = _held_alone(tier)
        levelling = even_out(loads_of(pool, within=pool.size), most)
        if not levelling.moved:
            return 0
        carry_out(pool, levelling, pool.size, database_now(), actor)
        record(actor=actor, action="pool.rebalanced", target=tier, data={"api_keys": levelling.moved})
    return levelling.moved


def replace_pool_key(*, gateway_key: GatewayKey, grace: timedelta, actor: Actor) -> GatewayKey:
    """Give all tenants of one pool key a new credential; the old value ends after ``grace``.

    The one way to cut off somebody who knows a pooled credential: a former tenant, or whoever it leaked to. Raises UnableToChangePool
    for a key that is not a live pool key.
    """
    if not timedelta(0) <= grace <= timedelta(days=30):
        raise UnableToChangePool(_("The old value can go on working for at most 30 days."))
    if gateway_key.pool is None:
        raise UnableToChangePool(_("Only a pool's key can be replaced; a siloed key is rotated."))
    with transaction.atomic():
        pool = _held_alone(gateway_key.pool.tier)
        old = GatewayKey.objects.select_related("usage_plan", "gateway").get(pk=gateway_key.pk)
        if old.ends_at is not None:
            raise UnableToChangePool(_("This key is leaving its pool already."))
        if roomiest([old.usage_plan]) is None:
            raise _no_room(old)
        new = unsaved(old.usage_plan, KeyRole.POOL, Priority.PURCHASE, pool, old.position)
        moved = replace(old, new, database_now() + grace, actor)
        if not grace:
            want(old)  # it is gone first of all that waits
        ring(new.gateway_id)
        data = {"before": old.last_four, "after": new.last_four, "grace_seconds": int(grace.total_seconds())}
        record(actor=actor, action="pool.key_replaced", target=new, data={**data, "api_keys": len(moved)})
        # Last: buyers of other tiers wait for whoever has taken room at the gateway.
        if not reserve([old.usage_plan], 1):
            raise _no_room(old)
    return new


def _grow(pool: Pool, size: int) -> None:
    """Make the keys that a pool of ``size`` lacks; one that was leaving stays."""
    there = set(GatewayKey.objects.filter(pool=pool, ends_at=None).values_list("position", flat=True))
    try:
        fill_pool(pool, [position for position in range(size) if position not in there])
    except UnableToChangeTier as refusal:
        raise UnableToChangePool(str(refusal)) from None


def _no_room(old: GatewayKey) -> UnableToChangePool:
    return UnableToChangePool(_("%(gateway)s has no room for another key. Make room there first.") % {"gateway": old.gateway})


def _pool_of(tier: Tier) -> Pool:
    pool = Pool.objects.select_related("tier").filter(tier=tier).first()
    if pool is None:
        raise UnableToChangePool(_("The %(tier)s tier has no pool.") % {"tier": tier.name})
    return pool


def _checked(tier: Tier, size: int) -> Pool:
    if not 1 <= size <= LARGEST_POOL:
        raise UnableToChangePool(_("A pool has 1 to %(most)d gateway keys.") % {"most": LARGEST_POOL})
    return _pool_of(tier)


def _held_alone(tier: Tier) -> Pool:
    pool = _pool_of(tier)
    hold_pool_alone(pool.pk)
    return Pool.objects.select_related("tier").get(pk=pool.pk)


def _preview(loads: dict[uuid.UUID, int], levelling: Levelling[uuid.UUID], size: int) -> Preview:
    homes = gateways_of(loads)
    standing = [key for key, count in levelling.leave.items() for _one in range(count)]
    placed = pair(standing, levelling.places, homes.__getitem__)
    after = [*levelling.loads.values(), *[0] * (size - len(levelling.loads))]
    return Preview(
        size=size,
        moved=levelling.moved,
        new_url=sum(homes[key] != homes[there] for key, (there, _level) in zip(standing, placed, strict=True)),
        fullest_before=max(loads.values()),
        emptiest_before=min(loads.values()),
        fullest=max(after),
        emptiest=min(after),
        total=sum(loads.values()),
    )
