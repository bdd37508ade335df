"""Telling the workers that a gateway has something to do."""

import uuid

import structlog
from django.db import transaction
from kombu.exceptions import OperationalError

from keys import tasks

log = structlog.get_logger(__name__)


def ring(gateway_id: uuid.UUID) -> None:
    """Ask, once this transaction is committed, that the gateway be converged.

    The bell may be lost (a broker that is down must not fail a purchase): the rows say what is left to do, and the sweep reads them.
    """
    transaction.on_commit(lambda: _ring_now(gateway_id), robust=True)


def _ring_now(gateway_id: uuid.UUID) -> None:
    try:
        tasks.converge.delay(gateway_id=str(gateway_id))
    except (OperationalError, OSError) as error:
        log.warning("bell.lost", gateway_id=str(gateway_id), reason=type(error).__name__)
