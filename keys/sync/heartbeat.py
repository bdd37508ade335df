"""A sign of life: one GetUsagePlans tells that the gateway answers, and whether it still knows our usage plans."""

import structlog

from keys.gateway.errors import GatewayError, NotFound
from keys.gateway.types import RemotePlan
from keys.models import Gateway, Priority, UsagePlan
from keys.sync.due import heartbeat_is_due
from keys.sync.session import Session

log = structlog.get_logger(__name__)


def beat(session: Session) -> None:
    """Ask for a sign of life if it is time, or after a pause, before anything is sent that costs more. A failure is the circuit breaker's
    business alone."""
    if not session.is_probing and not heartbeat_is_due(session.gateway, session.now()):
        return
    # After a pause nothing else goes first, however urgent it is.
    level = Priority.REVOKE if session.is_probing else session.level
    try:
        with session.at(level):
            see_plans(session)
    except GatewayError as error:
        log.info("heartbeat.failed", gateway_id=str(session.gateway.pk), reason=str(error.kind))


def see_plans(session: Session) -> list[RemotePlan]:
    """List the gateway's usage plans. When one of ours is gone, ``session.forgot`` is set. Raises GatewayError.

    A list that came back short must not pass for a loss: one of the missing plans is asked for by its id.
    """
    listed = session.client.list_plans()
    now = session.now()
    Gateway.objects.filter(pk=session.gateway.pk).update(last_seen_at=now)
    session.gateway.last_seen_at = now
    ids = {plan.id for plan in listed}
    known = UsagePlan.objects.filter(gateway=session.gateway).exclude(remote_id="").order_by("pk").values_list("remote_id", flat=True)
    absent = next((remote_id for remote_id in known if remote_id not in ids), None)
    if absent is not None:
        listed = [*listed, *_ask_for(session, absent)]
    return listed


def _ask_for(session: Session, plan_id: str) -> list[RemotePlan]:
    try:
        return [session.client.get_plan(plan_id)]
    except NotFound:
        log.warning("gateway.forgot", gateway_id=str(session.gateway.pk))
        session.forgot = True
        return []
