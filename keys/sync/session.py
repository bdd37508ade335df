"""Speaking to one gateway: the lease, the pace and the circuit breaker around every call."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from django.conf import settings
from django.db import connection
from django.db.models import Max
from django.utils import timezone

from keys.gateway.client import GatewayClient
from keys.gateway.errors import GatewayError, Kind
from keys.models import Gateway, UsagePlan
from keys.sync.breaker import Breaker, CircuitOpen
from keys.sync.lease import Lease, LeaseLost, call_seconds, take
from keys.sync.pacer import Pacer

log = structlog.get_logger(__name__)

# Well below the limit after which Celery would break the task off.
TURN_SECONDS = 120


class Session:
    """What a lease holder works with. It is the guard of its client: nothing is sent but through it."""

    def __init__(self, gateway: Gateway, lease: Lease, pacer: Pacer) -> None:
        self.gateway = gateway
        self.lease = lease
        self.pacer = pacer
        self.client = GatewayClient(gateway.region, self)
        self._breaker = Breaker(gateway)
        self._until = time.monotonic() + TURN_SECONDS
        # Set when a usage plan of ours turned out to be gone: everything is compared before anything else is done.
        self.forgot = False

    @property
    def is_over(self) -> bool:
        """Whether the holder has worked long enough at a stretch: what is left waits for the next sweep."""
        return time.monotonic() >= self._until

    def before(self, operation: str) -> None:
        """Wait for the call's turn. Raises CircuitOpen, LeaseLost."""
        refuse_in_transaction()
        self._breaker.check()
        self.pacer.wait(operation)
        self.lease.outlives(call_seconds())

    def after(self, operation: str, error: GatewayError | None) -> None:
        """Note how the call ended."""
        if error is not None and error.kind is Kind.THROTTLED:
            self.pacer.slow_down()
        self._breaker.note(error)


@contextmanager
def speak_to(gateway_id: uuid.UUID) -> Iterator[Session | None]:
    """Hold the gateway's lease for the block; None when somebody else does.

    LeaseLost and CircuitOpen end the block quietly: another worker, or a later time, goes on from what the rows say.
    """
    lease = take(gateway_id)
    if lease is None:
        yield None
        return
    try:
        gateway = Gateway.objects.get(pk=gateway_id)
        yield Session(gateway, lease, _pacer(gateway, lease))
    except LeaseLost:
        log.warning("lease.lost", gateway_id=str(gateway_id))
    except CircuitOpen:
        log.info("converge.postponed", gateway_id=str(gateway_id))
    finally:
        lease.release()


def refuse_in_transaction() -> None:
    """Raises RuntimeError inside a transaction: an answer that takes seconds must not hold locks. The one that wraps a test is let pass,
    as Django's own durable blocks do."""
    if connection.in_atomic_block and not all(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks):
        raise RuntimeError("API Gateway must not be called inside a database transaction.")


def _pacer(gateway: Gateway, lease: Lease) -> Pacer:
    # A plan that was brought into step may have cost an UpdateUsagePlan: to take it so is the safe side.
    changed_at = UsagePlan.objects.filter(gateway=gateway).aggregate(at=Max("synced_at"))["at"]
    idle = None if changed_at is None else max(0.0, (timezone.now() - changed_at).total_seconds())
    return Pacer(enabled=settings.GATEWAY_PACING == "aws", idle_seconds=lease.idle_seconds, plan_idle_seconds=idle)
