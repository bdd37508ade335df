"""Speaking to one gateway: the lease, the pace and the circuit breaker around every call."""

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime

import structlog
from django.conf import settings
from django.db import connection
from django.db.models import QuerySet

from keys.gateway.access import Access
from keys.gateway.client import GatewayClient
from keys.gateway.errors import GatewayError, Kind
from keys.models import Gateway, GatewayKey, Priority
from keys.sync.backoff import backoff
from keys.sync.breaker import Breaker, CircuitOpen
from keys.sync.calls import Calls
from keys.sync.lease import Lease, LeaseLost, call_seconds, take
from keys.sync.pacer import Pacer

log = structlog.get_logger(__name__)

# Well below the limit after which Celery would break the task off.
TURN_SECONDS = 120
# How often work that can wait looks whether something came that cannot.
LOOK_SECONDS = 0.2
# Calls that work of a level leaves for what is more urgent.
LEFT_OVER = {Priority.REVOKE: 0.0, Priority.PURCHASE: 2.0, Priority.LIMITS: 3.0}
MOST_LEFT_OVER = 5.0
# A call that is answered 429 is made again at half the pace before it counts as failed; see ``backoff`` for how long it waits.
MOST_TRIES = 3
FIRST_WAIT_SECONDS = 0.15


class Session:
    """What a lease holder works with. It is the guard of its client: nothing is sent but through it."""

    def __init__(self, gateway: Gateway, lease: Lease, pacer: Pacer) -> None:
        self.gateway = gateway
        self.lease = lease
        self.pacer = pacer
        self.client = GatewayClient(access_to(gateway), self)
        self.calls = Calls(gateway.pk)
        # What goes first where it is more urgent than what is being done: told, and called between two calls.
        self.interrupt: Callable[[Session], None] | None = None
        # How urgent is what is being done; and the backlog beside which it has its share, if it has.
        self.level = Priority.REPAIR
        self.backlog: Priority | None = None
        # Calls that more urgent work made while something had its share.
        self.calls_aside = 0
        self._in_hand: set[uuid.UUID] = set()
        self._breaker = Breaker(gateway, lease.now)
        self._until = time.monotonic() + TURN_SECONDS
        self._looked_at = time.monotonic()
        self._tries = 0
        # Set when a usage plan of ours turned out to be gone: everything is compared before anything else is done.
        self.forgot = False

    @property
    def is_over(self) -> bool:
        """Whether the holder has worked long enough at a stretch: what is left waits for the next sweep."""
        return time.monotonic() >= self._until

    def now(self) -> datetime:
        """Now by the database's clock, without asking it."""
        return self.lease.now()

    @property
    def is_probing(self) -> bool:
        """Whether the gateway was left alone, and has not been heard of since."""
        return self._breaker.is_probing

    @contextmanager
    def at(self, level: Priority, backlog: Priority | None = None) -> Iterator[None]:
        """Do something of this urgency. ``backlog``: beside more urgent work, of which there is much. Calls are then as urgent as that
        work's, for they would wait for ever behind it, and only what is more urgent than the backlog goes first."""
        before = self.level, self.backlog
        self.level, self.backlog = level, backlog
        try:
            yield
        finally:
            self.level, self.backlog = before

    @property
    def rank(self) -> Priority:
        """How urgent calls are now: as what is being done, or as the backlog beside which it has its share."""
        return self.level if self.backlog is None else self.backlog

    def mine(self, rows: QuerySet[GatewayKey], most: Priority | None = None) -> QuerySet[GatewayKey]:
        """Those of ``rows`` that are as urgent as what is being done (or ``most``), or more. Of those of a backlog none, where something
        less urgent has its share."""
        rows = rows.filter(priority__lte=self.level if most is None else most)
        return rows if self.backlog is None else rows.filter(priority__gt=self.backlog)

    @contextmanager
    def holding(self, rows: Iterable[GatewayKey]) -> Iterator[None]:
        """Keep what interrupts off these rows: their calls are under way, and their outcome is written by who makes them."""
        mine = {row.pk for row in rows} - self._in_hand
        self._in_hand |= mine
        try:
            yield
        finally:
            self._in_hand -= mine

    def not_in_hand(self, rows: Iterable[GatewayKey]) -> list[GatewayKey]:
        """Those of ``rows`` that nobody is at work on whom this work interrupts."""
        return [row for row in rows if row.pk not in self._in_hand]

    def before(self, operation: str) -> None:
        """Wait for the call's turn, while more urgent work goes first. Raises CircuitOpen, LeaseLost."""
        refuse_in_transaction()
        self._breaker.check()
        self.give_way()
        leave = LEFT_OVER.get(self.rank, MOST_LEFT_OVER)
        for seconds in self.pacer.waits(operation, leave, urgent=self.rank <= Priority.REVOKE):
            self.pacer.sleep(min(seconds, LOOK_SECONDS))
            self.give_way()
        self.lease.outlives(call_seconds())
        if operation == "UpdateUsagePlan":
            self.lease.note_plan_sent()

    def still(self) -> None:
        """Taking on a role takes time too. Raises LeaseLost."""
        self.lease.outlives(call_seconds())

    def after(self, operation: str, error: GatewayError | None) -> bool:
        """Note how the call ended; True when it was answered 429 and is made again.

        Twice, a little later each time: somebody else uses up the account's rates. After that a heartbeat goes before any more of this.
        """
        self.calls.note(operation, error)
        if self.calls.is_due:
            self.calls.flush()
            self._keep_pace()
        self._breaker.note(error)
        if error is None:
            self.pacer.speed_up()
        if error is None or error.kind is not Kind.THROTTLED:
            self._tries = 0
            return False
        self.pacer.slow_down()
        self._keep_pace()
        self._tries += 1
        if self._breaker.is_open or not self.pacer.enabled or self._tries == MOST_TRIES:
            self._tries = 0
            return False
        self.pacer.sleep(backoff(self._tries, first=FIRST_WAIT_SECONDS / 2).total_seconds())
        return True

    def give_way(self) -> None:
        """Let more urgent work go first, if there is any and it was not looked for just now. Raises CircuitOpen, LeaseLost."""
        if self.interrupt is None or self.level <= Priority.REVOKE or time.monotonic() - self._looked_at < LOOK_SECONDS:
            return
        before, has_share = self.calls.total, self.backlog is not None
        self.interrupt(self)
        if has_share:
            self.calls_aside += self.calls.total - before
        self._looked_at = time.monotonic()

    def close(self) -> None:
        """Write down what the next holder goes on from, and let it take the lease."""
        self.lease.release(calls_saved=self.pacer.saved, pace=self.pacer.pace)
        self.calls.flush()

    def _keep_pace(self) -> None:
        if self.pacer.pace != self.gateway.pace:
            self.gateway.pace = self.pacer.pace
            Gateway.objects.filter(pk=self.gateway.pk).update(pace=self.pacer.pace)


def access_to(gateway: Gateway) -> Access:
    """How the gateway is reached."""
    return Access(account_id=gateway.account_id, region=gateway.region, role_arn=gateway.role_arn, external_id=gateway.external_id)


@contextmanager
def speak_to(gateway_id: uuid.UUID) -> Iterator[Session | None]:
    """Hold the gateway's lease for the block; None when somebody else does.

    LeaseLost and CircuitOpen end the block quietly: another worker, or a later time, goes on from what the rows say.
    """
    lease = take(gateway_id)
    if lease is None:
        yield None
        return
    session = None
    try:
        gateway = Gateway.objects.get(pk=gateway_id)
        session = Session(gateway, lease, _pacer(gateway, lease))
        yield session
    except LeaseLost:
        log.warning("lease.lost", gateway_id=str(gateway_id))
    except CircuitOpen:
        log.info("converge.postponed", gateway_id=str(gateway_id))
    finally:
        if session is None:
            lease.release()
        else:
            session.close()


def refuse_in_transaction() -> None:
    """Raises RuntimeError inside a transaction: an answer that takes seconds must not hold locks. The one that wraps a test is let pass,
    as Django's own durable blocks do."""
    if connection.in_atomic_block and not all(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks):
        raise RuntimeError("API Gateway must not be called inside a database transaction.")


def _pacer(gateway: Gateway, lease: Lease) -> Pacer:
    return Pacer(
        enabled=settings.GATEWAY_PACING == "aws",
        pace=gateway.pace,
        saved=lease.leftover.saved,
        idle_seconds=lease.leftover.idle_seconds,
        plan_idle_seconds=lease.leftover.plan_idle_seconds,
    )
