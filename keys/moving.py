"""Moving API keys from one key of a pool to another: new credentials, and telling who has them.

Who is moved can go on with the old credential for MOVE_GRACE. Shared by staff's changes (services) and by what goes on with a change that
is too large for one transaction (sync): buyers of the tier wait for one part at a time only.

A key whose position is beyond the pool's size is leaving: nobody is placed on it any more, and once nobody stands on it, it ends.
"""

import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby, islice
from typing import TypeVar

from django.db import connection
from django.db.models import F, Q, QuerySet, Value
from django.db.models.functions import Greatest

from keys import selectors
from keys.levelling import Levelling, pair, vacate
from keys.models import ApiKey, Credential, FreeSlot, GatewayKey, Pool, Priority
from keys.models.gateway import lock_gateways
from keys.models.places import fresh_round, loads_of, offer
from keys.models.tickets import move_to
from keys.public import key_data, moment
from tenants.audit import Actor, record_each
from tenants.clock import database_now
from tenants.models import EventType
from tenants.webhooks.emit import Happening, emit_each, tenants_that_want

# How long a tenant that staff move to another pool key can go on with the credential it had.
MOVE_GRACE = timedelta(days=7)
# API keys moved in one transaction: about a second, for which buyers of the tier wait.
PART = 2_000
# Rows of one statement whose size grows with them.
_CHUNK = 5_000

T = TypeVar("T")


def leaving(pool: Pool, size: int | None = None) -> list[uuid.UUID]:
    """The live keys that have no place in a pool of ``size``; without it, of the size that it has."""
    beyond = GatewayKey.objects.filter(pool=pool, ends_at=None, position__gte=pool.size if size is None else size)
    return list(beyond.order_by("position").values_list("pk", flat=True))


def vacate_part(pool: Pool, size: int, actor: Actor) -> int:
    """Let the pool have ``size`` keys, all of which exist, and move up to PART API keys off those that leave; how many.

    Inside a transaction that holds the pool alone. Repeat it until nothing is ``leaving``.
    """
    loads = loads_of(pool)
    levelling = vacate(loads, leaving(pool, size), PART)
    empty = [key for key in loads if key not in levelling.loads and loads[key] == levelling.leave.get(key, 0)]
    now = database_now()
    _end_each(empty, now + MOVE_GRACE)
    return carry_out(pool, levelling, size, now, actor)


def carry_out(pool: Pool, levelling: Levelling[uuid.UUID], size: int, now: datetime, actor: Actor) -> int:
    """Move who leaves, offer what levels the rest, and go on selling with ``size`` keys; how many were moved.

    Inside a transaction that holds the pool alone.
    """
    first_slot = fresh_round(pool, size)
    if levelling.moved:
        _move(pool.tier_id, levelling, first_slot, now, actor)
    offer(pool, levelling.loads, size=size, first_slot=first_slot, ground=levelling.ground)
    return levelling.moved


def gateways_of(keys: Collection[uuid.UUID]) -> dict[uuid.UUID, uuid.UUID]:
    """The gateway that each gateway key is on, by id."""
    return {pk: gateway_id for part in _parts(list(keys)) for pk, gateway_id in _keys(part).values_list("pk", "gateway_id")}


def replace(old: GatewayKey, new: GatewayKey, ends_at: datetime, actor: Actor) -> list[ApiKey]:
    """Put ``new``, which is not saved yet, in the place of a pool's key, which ends at ``ends_at``, and hand everybody over; who they are.

    Inside a transaction that holds the pool alone; the caller reserves the room of ``new`` after it. It may take seconds, and nobody
    waits for a row of the gateways meanwhile: those that others write are written when everybody is handed over, the gateway's first, as
    the workers do.
    """
    new.ends_at = ends_at  # until the old one has its end: one key lives in one place
    new.save(force_insert=True)
    moved = hand_over(old, new, ends_at, actor)
    if connection.vendor == "postgresql":
        connection.check_constraints()  # of thousands of rows: here, and not at the commit with everything locked
    lock_gateways([old.gateway_id])
    GatewayKey.objects.filter(pk=old.pk).update(ends_at=ends_at, priority=Priority.REVOKE)
    GatewayKey.objects.filter(pk=new.pk).update(ends_at=None)
    new.ends_at = None
    return moved


def hand_over(old: GatewayKey, new: GatewayKey, ends_at: datetime, actor: Actor) -> list[ApiKey]:
    """Give everybody who stands on a gateway key a credential of ``new``, in a pool each on its slot; the old value ends at ``ends_at``.
    Which they are.

    They are told, with their new URL where ``new`` is on another gateway. Inside a transaction that holds the pool alone, or the siloed
    API key's row.
    """
    now = database_now()
    FreeSlot.objects.filter(gateway_key=old).update(gateway_key=new)
    standing = ApiKey.objects.live().filter(gateway_key=old)
    moved = list(standing)
    # A credential that ends sooner anyway keeps its end; one that was made by a clock that was ahead begins later than now.
    Credential.objects.filter(gateway_key=old).filter(Q(ends_at=None) | Q(ends_at__gt=ends_at)).update(
        ends_at=Greatest(F("created_at"), Value(ends_at))
    )
    standing.update(gateway_key=new)
    Credential.objects.bulk_create([Credential(api_key=each, gateway_key=new, created_at=now) for each in moved], batch_size=1000)
    data = {"before": old.last_four, "after": new.last_four, "grace_seconds": max(0, round((ends_at - now).total_seconds()))}
    urls = selectors.urls_by_gateway(new.usage_plan.tier_id)
    if urls.get(new.gateway_id) != urls.get(old.gateway_id):
        data["endpoint"] = urls.get(new.gateway_id)
    record_each(actor=actor, action="api_key.moved", targets=[(each, each.tenant_id) for each in moved], data=data)
    tell_moved(moved, ends_at)
    return moved


def tell_moved(api_keys: Sequence[ApiKey], old_ends_at: datetime) -> None:
    """Staff gave these API keys new credentials: to their tenants that is a rotation. The number of queries does not grow with them."""
    ids = [each.pk for each in api_keys]
    wanting = tenants_that_want(EventType.KEY_ROTATED, EventType.KEY_READY)
    rows = (
        ApiKey.objects.filter(pk__in=ids, tenant__in=wanting).select_related("tier", "gateway_key", "tenant").order_by("created_at", "pk")
    )
    listened_to = list(rows)
    if not listened_to:
        return
    now = database_now()
    stages, renewing = selectors.endpoints_of(listened_to), selectors.renewing_among(listened_to, now)
    ends_at = moment(old_ends_at)
    emit_each(
        [
            Happening(
                tenant_id=each.tenant_id,
                type=EventType.KEY_ROTATED,
                subject=str(each.pk),
                data={
                    **key_data(each, stages.get(each.pk), now, renewing=each.pk in renewing),
                    "old_credential_ends_at": ends_at,
                },
            )
            for each in listened_to
        ]
    )
    preparing = [each.pk for each in listened_to if not each.gateway_key.is_in_service(now)]
    ApiKey.objects.filter(pk__in=preparing, tenant__in=tenants_that_want(EventType.KEY_READY)).update(awaits_ready=True)


def _move(tier_id: uuid.UUID, levelling: Levelling[uuid.UUID], first_slot: int, now: datetime, actor: Actor) -> None:
    """``first_slot``: the slot of the lowest level."""
    moved = _who_leaves(levelling.leave)
    homes = gateways_of([*levelling.leave, *levelling.loads])
    placed = pair([each.gateway_key_id for each in moved], levelling.places, homes.__getitem__)
    move_to([(each.pk, key, first_slot + level - levelling.ground) for each, (key, level) in zip(moved, placed, strict=True)])
    for part in _parts(moved):
        Credential.objects.filter(api_key__in=[each.pk for each in part], ends_at=None).update(ends_at=now + MOVE_GRACE)
    fresh = [Credential(api_key=each, gateway_key_id=key, created_at=now) for each, (key, _level) in zip(moved, placed, strict=True)]
    Credential.objects.bulk_create(fresh, batch_size=_CHUNK)
    moves = ((each, homes[each.gateway_key_id], homes[key]) for each, (key, _level) in zip(moved, placed, strict=True))
    _record_moves(tier_id, moves, actor)
    for part in _parts(moved):
        tell_moved(part, now + MOVE_GRACE)


def _record_moves(tier_id: uuid.UUID, moves: Iterable[tuple[ApiKey, uuid.UUID, uuid.UUID]], actor: Actor) -> None:
    """``moves``: an API key, the gateway that it was on, and the one that it is on now. Whose URL changes with that is told the new one."""
    urls = selectors.urls_by_gateway(tier_id)
    by_url: dict[str | None, list[ApiKey]] = {}
    for api_key, before, after in moves:
        by_url.setdefault(urls.get(after) if urls.get(after) != urls.get(before) else None, []).append(api_key)
    for url, moved in by_url.items():
        data = {"grace_seconds": int(MOVE_GRACE.total_seconds()), **({"endpoint": url} if url else {})}
        record_each(actor=actor, action="api_key.moved", targets=[(each, each.tenant_id) for each in moved], data=data)


def _who_leaves(leave: dict[uuid.UUID, int]) -> list[ApiKey]:
    """As many API keys of each gateway key as shall leave it, the last that came there first."""
    found: list[ApiKey] = []
    for part in _parts(list(leave)):
        rows = ApiKey.objects.filter(gateway_key__in=part, slot__isnull=False).order_by("gateway_key", "-slot")
        standing = rows.only("pk", "tenant", "name", "gateway_key").iterator(chunk_size=_CHUNK)
        for key, group in groupby(standing, key=lambda each: each.gateway_key_id):
            found += islice(group, leave[key])
    return found


def _end_each(keys: Sequence[uuid.UUID], ends_at: datetime) -> None:
    lock_gateways(gateways_of(keys).values())
    for part in _parts(keys):
        _keys(part).update(ends_at=ends_at, priority=Priority.REVOKE)


def _keys(ids: Sequence[uuid.UUID]) -> QuerySet[GatewayKey]:
    return GatewayKey.objects.filter(pk__in=ids)


def _parts(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    return (rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK))
