"""Going on with changes of pools that are too large for one transaction: those who stand on leaving keys move, and free places are listed
as those listed before are used up."""

import math
import time

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from keys.models import FreeSlot, GatewayKey, Pool
from keys.models.places import MOST_LISTED, offer_more
from keys.models.tickets import hold_pool_alone
from keys.moving import leaving, vacate_part
from tenants.audit import SYSTEM

log = structlog.get_logger(__name__)

# Parts moved at one time: the sweep has other things to look after, too.
MOST_PARTS = 5


def go_on_with_pools(until: float = math.inf) -> None:
    """Some parts of what is not finished; one small query when nothing is. ``until``: none is begun after it, by the monotonic clock.

    Race: buyers, staff who change the pool, another sweep. Each part holds the pool alone, and looks again at what there is to do.
    """
    beyond = GatewayKey.objects.filter(pool=OuterRef("pk"), ends_at=None, position__gte=OuterRef("size"))
    pools = Pool.objects.annotate(shrinks=Exists(beyond))
    # To list places is quick, and buyers use them up.
    for pool in pools.filter(Q(shrinks=True) | Q(lacks_places=True)).order_by("shrinks", "pk"):
        if time.monotonic() >= until:
            return
        if pool.shrinks:
            _vacate(pool.pk, until)
        else:
            _list_places(pool)


def _vacate(pool_id: int, until: float) -> None:
    for _part in range(MOST_PARTS):
        if time.monotonic() >= until:
            return
        with transaction.atomic():
            hold_pool_alone(pool_id)
            pool = Pool.objects.get(pk=pool_id)
            moved = vacate_part(pool, pool.size, SYSTEM)
            finished = not leaving(pool)
        log.info("pool.vacated", pool_id=pool_id, api_keys=moved)
        if finished:
            return


def _list_places(pool: Pool) -> None:
    """Where buyers use the list up before this comes round again, they draw tickets as ever; the next list levels what that left uneven."""
    few = MOST_LISTED // 2
    if FreeSlot.objects.filter(pool=pool).order_by().values("pool_id")[:few].count() < few:
        with transaction.atomic():
            offer_more(pool)
        log.info("pool.places_listed", pool_id=pool.pk)
