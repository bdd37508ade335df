"""For load balancers and monitors: is the process alive, can it work, is work piling up. No names of servers, no error texts."""

import structlog
from celery import current_app
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from keys import selectors

logger = structlog.get_logger(__name__)

BROKER_TIMEOUT_SECONDS = 2


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """200 while the process answers. Asks nothing of anybody: a database that is down is no reason to restart web processes."""
    return JsonResponse({"status": "alive"})


@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """200 with ``ready`` or ``degraded`` (rows wait longer than PENDING_DEGRADED_SECONDS for a worker), 503 with ``unavailable``.

    ``oldest_pending_seconds``: age of the oldest row that API Gateway is not equal to yet; null when there is none.
    """
    database, oldest = _database()
    broker = _broker()
    late = oldest is not None and oldest > settings.PENDING_DEGRADED_SECONDS
    status = "unavailable" if not (database and broker) else "degraded" if late else "ready"
    body = {"status": status, "database": database, "broker": broker, "oldest_pending_seconds": oldest}
    return JsonResponse(body, status=503 if status == "unavailable" else 200)


def _database() -> tuple[bool, float | None]:
    """Whether the database answers, and the age in seconds of the oldest pending row."""
    try:
        oldest = selectors.oldest_pending_at()
    except DatabaseError as error:
        logger.warning("readyz.database", error=type(error).__name__)
        connection.close()
        return False, None
    return True, round(max(0.0, (timezone.now() - oldest).total_seconds()), 1) if oldest else None


def _broker() -> bool:
    """Whether a connection to the broker can be made within BROKER_TIMEOUT_SECONDS."""
    limits: dict[str, object] = {"max_retries": 0}
    if current_app.conf.broker_url.startswith(("redis", "rediss")):
        limits |= {"socket_connect_timeout": BROKER_TIMEOUT_SECONDS, "socket_timeout": BROKER_TIMEOUT_SECONDS}
    try:
        with current_app.connection_for_write(connect_timeout=BROKER_TIMEOUT_SECONDS, transport_options=limits) as broker:
            broker.connect()
            broker.channel()  # redis says hello only here; closing the connection closes it
    except Exception as error:  # noqa: BLE001 - every transport has exceptions of its own; each means "not reachable"
        logger.warning("readyz.broker", error=type(error).__name__)
        return False
    return True
