"""Telling the workers that there is something to send."""

import structlog
from django.db import transaction
from kombu.exceptions import OperationalError

log = structlog.get_logger(__name__)


def ring() -> None:
    """Ask, once this transaction is committed, that deliveries be looked for. A lost bell costs seconds: beat rings as well."""
    transaction.on_commit(_ring_now, robust=True)


def _ring_now() -> None:
    from tenants import tasks  # tasks import deliver, which imports this package

    try:
        tasks.deliver_webhooks.delay()
    except (OperationalError, OSError) as error:
        log.warning("bell.lost", reason=type(error).__name__)
