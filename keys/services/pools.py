"""Pools as staff change them: their size, and the value of one of their keys."""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from keys.models import ApiKey, Credential, FreeSlot, GatewayKey, KeyRole, Pool, Priority, Tier
from keys.models.tickets import free_unheld_slots, hold_pool_alone, restart_tickets, take_place, tickets_drawn
from keys.services import events
from keys.services.bell import ring
from keys.services.catalog import fill_pool
from keys.services.intent import end
from keys.services.placement import new_gateway_key
from tenants.audit import Actor, record, record_each

# How long a tenant that staff move to another pool key can go on with the credential it had.
MOVE_GRACE = timedelta(days=7)
LARGEST_POOL = 5_000


class UnableToChangePool(Exception):
    """A change that was refused; the message names what to mend."""


def resize_pool(*, tier: Tier, size: int, actor: Actor) -> Pool:
    """Let the tier's pool have ``size`` gateway keys.

    Larger: the new keys receive tenants until the load is level; nobody is moved. Smaller: tenants of the leaving keys
    are moved, and their old credential goes on working for MOVE_GRACE. Raises UnableToChangePool.

    Race: purchases at the same moment. The pool is held alone, so they wait and then see the new size.
    """
    if not 1 <= size <= LARGEST_POOL:
        raise UnableToChangePool(_("A pool has 1 to %(most)d gateway keys.") % {"most": LARGEST_POOL})
    with transaction.atomic():
        pool = _held_alone(tier)
        before = pool.size
        if size == before:
            return pool
        # Every purchase that drew a ticket is over: whatever slot of a begun round nobody holds is free.
        rounds = -(-tickets_drawn(pool) // before)
        free_unheld_slots(pool, first=pool.swept_ticket // before, end=rounds)
        # A sequence is not rolled back with the rest, so it must not go back before tickets that are drawn already. The slots that a
        # smaller pool jumps over in that way are free.
        first_round = max(rounds, -(-tickets_drawn(pool) // size))
        _set_size(pool, size, first_round)
        free_unheld_slots(pool, first=rounds, end=first_round, positions=range(size))
        if size > before:
            fill_pool(pool, range(before, size))
            free_unheld_slots(pool, first=0, end=rounds, positions=range(before, size))
        else:
            _move_off(pool, positions=range(size, before), actor=actor)
        record(actor=actor, action="pool.resized", target=tier, data={"before": before, "after": size})
    return pool


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
        old = GatewayKey.objects.select_for_update(of=("self",)).select_related("usage_plan").get(pk=gateway_key.pk)
        if old.ends_at is not None:
            raise UnableToChangePool(_("This key is leaving its pool already."))
        now = timezone.now()
        end(old, now + grace)
        new = new_gateway_key(plan=old.usage_plan, role=KeyRole.POOL, priority=Priority.PURCHASE, pool=pool, position=old.position)
        ring(new.gateway_id)
        FreeSlot.objects.filter(gateway_key=old).update(gateway_key=new)
        moved = _give_new_credentials(old, new, now, now + grace)
        data = {"before": old.last_four, "after": new.last_four, "grace_seconds": int(grace.total_seconds())}
        record(actor=actor, action="pool.key_replaced", target=new, data={**data, "api_keys": len(moved)})
        record_each(actor=actor, action="api_key.moved", targets=[(each, each.tenant_id) for each in moved], data=data)
        events.moved(moved, now + grace)
    return new


def _held_alone(tier: Tier) -> Pool:
    pool = Pool.objects.select_related("tier").filter(tier=tier).first()
    if pool is None:
        raise UnableToChangePool(_("The %(tier)s tier has no pool.") % {"tier": tier.name})
    hold_pool_alone(pool.pk)
    return Pool.objects.select_related("tier").get(pk=pool.pk)


def _set_size(pool: Pool, size: int, rounds: int) -> None:
    ticket = rounds * size
    Pool.objects.filter(pk=pool.pk).update(size=size, swept_ticket=ticket, sweep_to=ticket, sweep_seen_at=None)
    restart_tickets(pool, ticket)
    pool.refresh_from_db()


def _move_off(pool: Pool, *, positions: range, actor: Actor) -> None:
    now = timezone.now()
    leaving = list(GatewayKey.objects.filter(pool=pool, ends_at=None, position__in=list(positions)).select_for_update(of=("self",)))
    FreeSlot.objects.filter(gateway_key__in=leaving).delete()
    for gateway_key in leaving:
        end(gateway_key, now + MOVE_GRACE)
    moved = []
    for api_key in (
        ApiKey.objects.filter(gateway_key__in=leaving, slot__isnull=False).select_related("tenant").select_for_update(of=("self",))
    ):
        place = take_place(pool.tier_id)
        if place is None:
            raise UnableToChangePool(_("The pool's remaining keys are not complete; reconcile the gateway first."))
        api_key.gateway_key_id, api_key.slot = place
        api_key.save(update_fields=["gateway_key", "slot"])
        api_key.credentials.filter(ends_at=None).update(ends_at=now + MOVE_GRACE)
        Credential.objects.create(api_key=api_key, gateway_key_id=place[0], created_at=now)
        data = {"grace_seconds": int(MOVE_GRACE.total_seconds())}
        record(actor=actor, action="api_key.moved", target=api_key, tenant=api_key.tenant, data=data)
        moved.append(api_key)
    events.moved(moved, now + MOVE_GRACE)


def _give_new_credentials(old: GatewayKey, new: GatewayKey, now: datetime, ends_at: datetime) -> list[ApiKey]:
    """Move every API key from ``old`` to ``new``, each on its slot; which. A credential that ends sooner anyway keeps its end."""
    moved = list(ApiKey.objects.filter(gateway_key=old, slot__isnull=False))
    Credential.objects.filter(gateway_key=old).filter(Q(ends_at=None) | Q(ends_at__gt=ends_at)).update(ends_at=ends_at)
    ApiKey.objects.filter(gateway_key=old, slot__isnull=False).update(gateway_key=new)
    Credential.objects.bulk_create([Credential(api_key=each, gateway_key=new, created_at=now) for each in moved], batch_size=1000)
    return moved
