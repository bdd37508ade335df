"""What a lost bell, a killed worker or a clock left to do. Runs every few seconds; cheap when there is nothing."""

import uuid

import structlog
from django.db.models.functions import Now

from keys.models import Gateway
from keys.sync import due
from keys.sync.draining import go_on_with_drains
from keys.sync.gaps import sweep_pools
from keys.sync.pools import go_on_with_pools
from keys.sync.ready import tell_ready
from tenants.services.housekeeping import forget_old_answers

log = structlog.get_logger(__name__)


def sweep() -> list[uuid.UUID]:
    """Look after the pools, tell of keys that became ready, forget what need not be kept any longer, and return the gateways that a
    worker should converge now.

    The lease of a holder that died needs no care: it runs out.
    """
    sweep_pools()
    go_on_with_pools()
    tell_ready()
    forget_old_answers()
    gateways = list(Gateway.objects.annotate(now=Now()))
    go_on_with_drains(gateways)
    found = [gateway.pk for gateway in gateways if due.anything(gateway, gateway.now)]
    if found:
        log.debug("sweep.found", gateways=len(found))
    return found
