"""Making gateway keys, as rows: within the room of their gateways, with a value that nobody has seen yet.

Shared by who sells them (services) and who keeps a stock of them (sync). What is made here is sent to API Gateway by converge.
"""

import uuid
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypedDict

from django.db import transaction
from django.db.models import Case, Count, Exists, F, IntegerField, OuterRef, Q, QuerySet, Subquery, When
from django.db.models.functions import Coalesce, Now

from keys import values
from keys.models import GatewayKey, KeyRole, Pool, Priority, Tier, UsagePlan
from keys.models.room import reserve, reserve_at
from keys.models.tickets import hold_tier

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

# Rows made in one transaction: their encryption takes about a tenth of a second.
BATCH = 500
# Of usage plans: those where one more gateway key may be made.
HAS_ROOM = Q(gateway__room__held__lt=F("gateway__capacity") - F("gateway__foreign_keys"))


class Spares(TypedDict):
    """Of one usage plan: spares that there are and are not about to be gone, and how many there shall be."""

    have: int
    wanted: int


class NoRoom(Exception):
    """No gateway that serves the tier has room for one more gateway key."""


def open_plans(tier: Tier) -> QuerySet[UsagePlan]:
    """The tier's usage plans where it may get new keys: on gateways that take them and have a stage that the tier serves."""
    return UsagePlan.objects.filter(tier=tier, gateway__accepts_keys=True, gateway__in=tier.stages.values("gateway"))


def unsaved(plan: UsagePlan, role: KeyRole, priority: Priority, pool: Pool | None = None, position: int | None = None) -> GatewayKey:
    """A gateway key that shall exist. Its value is made now, and stored before anything is sent. The caller has reserved its room."""
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


def make(plans: Iterable[UsagePlan], count: int, role: KeyRole, priority: Priority) -> list[GatewayKey]:
    """Up to ``count`` new gateway keys, each where most room is then; fewer where no room is left. The caller rings the bells."""
    chosen = reserve(plans, count)
    return GatewayKey.objects.bulk_create([unsaved(plan, role, priority) for plan in chosen], batch_size=BATCH)


def make_in_pool(pool: Pool, places: Sequence[tuple[UsagePlan, int]]) -> list[GatewayKey]:
    """New keys of a pool, each at its usage plan and position; where a gateway is full, at another one of these plans. Raises NoRoom when
    there is not room for all: a pool is whole. The caller rings the bells."""
    granted = reserve_at([plan for plan, _position in places])
    if len(granted) < len(places):
        raise NoRoom
    rows = [
        unsaved(plan, KeyRole.POOL, Priority.PURCHASE, pool, position) for plan, (_wanted, position) in zip(granted, places, strict=True)
    ]
    return GatewayKey.objects.bulk_create(rows, batch_size=BATCH)


def with_spares(plans: QuerySet[UsagePlan]) -> "QuerySet[WithAnnotations[UsagePlan, Spares]]":
    """Usage plans with Spares: none are wanted of a retired tier, on a gateway that is drained, and where the tier serves no stage."""
    served = Tier.stages.through.objects.filter(tier=OuterRef("tier"), stage__gateway=OuterRef("gateway"))
    have = GatewayKey.objects.filter(usage_plan=OuterRef("pk"), role=KeyRole.SPARE, ends_at=None).order_by().values("usage_plan")
    wanted = When(Exists(served), tier__retired_at=None, gateway__draining_since=None, then=F("tier__spare_target"))
    return plans.annotate(
        have=Coalesce(Subquery(have.annotate(count=Count("pk")).values("count")), 0),
        wanted=Case(wanted, default=0, output_field=IntegerField()),
    )


def add_spares(plan: UsagePlan, most: int = BATCH) -> int:
    """Make up to ``most`` of the spares that a usage plan lacks, as far as there is room; how many.

    Race: staff retire the tier or change its spares. The tier is held, and read again under that. Two who add at once: the second
    counts before the first has committed, and makes some too many; ``end_spares`` takes them away again.
    """
    with transaction.atomic():
        held = _held(plan)
        return len(make([plan], max(0, min(most, held.wanted - held.have)), KeyRole.SPARE, Priority.SPARE))


def end_spares(plan: UsagePlan, most: int = BATCH) -> int:
    """Let up to ``most`` of the spares that a usage plan has too many be gone, those that waited least; how many.

    Race: a buyer takes one at the same moment. Only rows that still are spares are ended; a buyer takes only rows without an end.
    """
    with transaction.atomic():
        held = _held(plan)
        spares = GatewayKey.objects.filter(usage_plan=plan, role=KeyRole.SPARE, ends_at=None)
        surplus = max(0, min(most, held.have - held.wanted))
        ids: list[uuid.UUID] = list(spares.order_by("-in_service_at", "-created_at").values_list("pk", flat=True)[:surplus])
        return spares.filter(pk__in=ids).update(ends_at=Now(), priority=Priority.SPARE)


def _held(plan: UsagePlan) -> "WithAnnotations[UsagePlan, Spares]":
    hold_tier(plan.tier_id)
    return with_spares(UsagePlan.objects.all()).get(pk=plan.pk)
