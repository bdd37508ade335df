"""How many gateway keys a gateway has, counted as they come and go.

Why a row of its own: the gateway's row is written all the time by whoever holds its lease, and buyers must not wait for that; and a
count over 10,000 rows has no place in a purchase. ``held`` is exact at every commit: whoever makes gateway keys reserves their room in
the same transaction, and whoever notes that one is gone gives it back.

Races: two buyers, the last place. ``reserve`` locks the rows of all gateways in question, in the order of their ids, so that the second
reads what the first left. They are locked last of all rows in a transaction, so nobody who holds one waits for anything else.
"""

import heapq
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from django.db import models, transaction
from django.db.models import F
from django.db.models.functions import Greatest
from django.utils.translation import gettext_lazy as _

from keys.models.gateway import Gateway
from keys.models.gateway_key import GatewayKey
from keys.models.usage_plan import UsagePlan


class Room(models.Model):
    """``held``: gateway keys that exist at this gateway or shall exist there."""

    gateway = models.OneToOneField(Gateway, on_delete=models.CASCADE, primary_key=True, related_name="room", verbose_name=_("gateway"))
    held = models.PositiveIntegerField(_("gateway keys held"), default=0)

    class Meta:
        verbose_name = _("room")
        verbose_name_plural = _("rooms")

    def __str__(self) -> str:
        return f"{self.held} held"


def reserve(plans: Iterable[UsagePlan], count: int) -> list[UsagePlan]:
    """Take room for ``count`` gateway keys; the usage plan for each of them: whichever's gateway has the most room then.

    Fewer when there is none left. No gateway ever gets above its cap, less the keys of others there. Inside a transaction.
    """
    by_gateway = {plan.gateway_id: plan for plan in plans}
    left = _lock(by_gateway)
    chosen = [by_gateway[gateway_id] for gateway_id in _roomiest(left, count)]
    _take(chosen)
    return chosen


def roomiest(plans: Iterable[UsagePlan]) -> UsagePlan | None:
    """The usage plan whose gateway has the most room now; None where none has any. Nothing is locked: whoever takes the room reserves it
    when all else is done."""
    by_gateway = {plan.gateway_id: plan for plan in plans}
    chosen = next(_roomiest(_left(by_gateway), 1), None)
    return None if chosen is None else by_gateway[chosen]


def reserve_at(wanted: Sequence[UsagePlan]) -> list[UsagePlan]:
    """Take room for one gateway key at each of ``wanted``, which may name a plan often: there while there is room, then at whichever of
    them has the most. Fewer when there is none left anywhere. Inside a transaction."""
    by_gateway = {plan.gateway_id: plan for plan in wanted}
    left = _lock(by_gateway)
    chosen: list[UsagePlan | None] = []
    for plan in wanted:
        fits = left[plan.gateway_id] > 0
        left[plan.gateway_id] -= fits
        chosen.append(plan if fits else None)
    others = (by_gateway[gateway_id] for gateway_id in _roomiest(left, chosen.count(None)))
    found = [plan or next(others, None) for plan in chosen]
    granted = [plan for plan in found if plan is not None]
    _take(granted)
    return granted


def hold(gateway_ids: Iterable[uuid.UUID]) -> None:
    """Lock the rows of all these gateways: for a transaction that reserves more than once, and would else lock them in another order than
    somebody else does."""
    list(Room.objects.filter(pk__in=list(gateway_ids)).order_by("pk").select_for_update(no_key=True).values_list("pk"))


def count_in(gateway_id: uuid.UUID, count: int) -> None:
    """Gateway keys that are there already are ours from now on: they take no room that they did not take before. Inside the transaction
    that says so."""
    Room.objects.filter(pk=gateway_id).update(held=F("held") + count)


def give_back(gateway_id: uuid.UUID, count: int = 1) -> None:
    """Some gateway keys are gone. Inside the transaction that says so.

    Never below 0, which the database would refuse: a count that somebody spoiled by hand must not keep a revoked key alive.
    """
    Room.objects.filter(pk=gateway_id).update(held=Greatest(F("held") - count, 0))


def recount(gateway_id: uuid.UUID) -> int:
    """Set ``held`` to what the rows say; by how much it was wrong. For a database that was changed by hand."""
    with transaction.atomic():
        room = Room.objects.select_for_update().get(pk=gateway_id)
        held = GatewayKey.objects.filter(gateway=gateway_id, removed_at=None).count()
        if held != room.held:
            Room.objects.filter(pk=gateway_id).update(held=held)
        return held - room.held


def _lock(gateway_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, int]:
    """Gateways and the room that is left there, locked until the transaction ends.

    Two queries: one that waits for the lock and joins would join the gateways as they were before, and an adoption changes both.
    """
    ids = list(gateway_ids)
    hold(ids)
    return _left(ids)


def _left(gateway_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, int]:
    left = F("gateway__capacity") - F("gateway__foreign_keys") - F("held")
    return dict(Room.objects.filter(pk__in=list(gateway_ids)).order_by("pk").annotate(left=left).values_list("pk", "left"))


def _roomiest(left: Mapping[uuid.UUID, int], count: int) -> Iterator[uuid.UUID]:
    """The gateway with the most room, ``count`` times, each time with one place less."""
    heap = [(-room, place, gateway_id) for place, (gateway_id, room) in enumerate(left.items()) if room > 0]
    heapq.heapify(heap)
    while heap and count > 0:
        count -= 1
        room, place, gateway_id = heap[0]
        yield gateway_id
        if room == -1:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (room + 1, place, gateway_id))


def _take(plans: Iterable[UsagePlan]) -> None:
    for gateway_id, more in Counter(plan.gateway_id for plan in plans).items():
        Room.objects.filter(pk=gateway_id).update(held=F("held") + more)
