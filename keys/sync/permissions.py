"""What the workers may do on a gateway: asked for by staff, looked up by the lease holder, and kept in words that name what to add."""

from collections.abc import Sequence
from typing import TypedDict

import structlog

from keys.gateway.client import GatewayClient
from keys.gateway.errors import GatewayError
from keys.gateway.probes import PROBES
from keys.models import Gateway
from keys.sync.session import Session
from tenants.clock import database_now

log = structlog.get_logger(__name__)


class Missing(TypedDict):
    """A right that lacks, as ``Gateway.permissions_missing`` keeps it. ``operation``: what it is needed for; ``words``: what to add, and
    what does not work without it."""

    operation: str
    words: str


def missing_of(client: GatewayClient) -> list[Missing]:
    """Try every right that the workers need; which lack. About a dozen calls that change nothing. Raises GatewayError."""
    return [Missing(operation=probe.operation, words=f"{probe.action}: {probe.lost}") for probe in PROBES if not client.is_allowed(probe)]


def check_permissions(session: Session) -> bool:
    """Do what staff asked for; whether it could be done. After a failure it is tried again with the next turn."""
    try:
        missing = missing_of(session.client)
    except GatewayError as error:
        log.info("permissions.not_checked", gateway_id=str(session.gateway.pk), reason=str(error.kind))
        return False
    with session.lease.writing():
        note(session.gateway, missing)
    return True


def note(gateway: Gateway, missing: Sequence[Missing]) -> None:
    """Keep what was found."""
    gateway.permissions_checked_at, gateway.permissions_missing = database_now(), list(missing)
    gateway.save(update_fields=["permissions_checked_at", "permissions_missing"])
    if missing:
        log.warning("permissions.missing", gateway_id=str(gateway.pk), operations=[each["operation"] for each in missing])
