"""What a lost bell, a killed worker or a clock left to do. Runs every few seconds; cheap when there is nothing."""

import time
import uuid
from collections.abc import Callable

import structlog
from django.db.models.functions import Now

from keys.models import Gateway
from keys.models.tickets import the_only_sweep
from keys.sync import due
from keys.sync.draining import go_on_with_drains
from keys.sync.gaps import sweep_pools
from keys.sync.pools import go_on_with_pools
from keys.sync.ready import tell_ready
from tenants.services.housekeeping import forget_old_answers

log = structlog.get_logger(__name__)

# For how long a sweep goes on with changes of pools, and as long with drains. The next one goes on where it stopped.
MOVING_SECONDS = 2


def sweep(ring: Callable[[uuid.UUID], object] = lambda _gateway_id: None) -> list[uuid.UUID]:
    """Ring for the gateways that a worker should converge now, which are returned; tell of keys that became ready, forget what need not be
    kept any longer, look after the pools, and go on with what moves.

    The lease of a holder that died needs no care: it runs out.

    Race: a sweep that takes longer than until the next one. Whatever may wait for somebody comes last and is done by one process at a
    time: it never takes the workers from those who wait for a revoke, and the next sweep rings all the same.
    """
    gateways = list(Gateway.objects.annotate(now=Now()))
    found = [gateway.pk for gateway in gateways if due.anything(gateway, gateway.now)]
    for gateway_id in found:
        ring(gateway_id)
    if found:
        log.debug("sweep.found", gateways=len(found))
    tell_ready()
    forget_old_answers()
    with the_only_sweep() as alone:
        if alone:
            sweep_pools()
            go_on_with_pools(time.monotonic() + MOVING_SECONDS)
            go_on_with_drains(gateways, time.monotonic() + MOVING_SECONDS)
    return found
