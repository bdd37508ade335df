"""The lease on a gateway: one worker at a time speaks to an account and Region.

Taken under a lock of the gateway's row, renewed and released by compare-and-set on it. Expiry is judged by the database's clock alone,
so workers whose own clocks are wrong do not matter. The holder knows its deadline by its monotonic clock, started before it asked: it
believes its lease to end no later than the database does. What time it is, the holder knows in the same way: what it writes, and what it
compares with moments that others wrote, goes by the database's clock.

``lease_expires_at`` of a released lease is the moment of its release: the next holder learns how long nobody has called. What was left
of the account's rates stands in ``calls_saved`` from a release to the next taking, so that a killed holder leaves nothing; when a change
of a usage plan was sent stands in ``plan_sent_at``, written before it is sent.
"""

import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from keys.gateway.access import CONNECT_SECONDS
from keys.models import Gateway

# For what lies between the check before a call and the call itself.
MARGIN_SECONDS = 2


class LeaseLost(Exception):
    """Somebody else may hold the lease: whoever gets this writes nothing more, neither to the gateway nor about it."""


def lease_seconds() -> int:
    """How long a lease lasts unless renewed: the setting, but at least as long as a call may take, and some time to make use of it."""
    return max(settings.GATEWAY_LEASE_SECONDS, call_seconds() + 2 * MARGIN_SECONDS)


def call_seconds() -> int:
    """How long one call may take: connecting, then waiting for its answer."""
    return int(CONNECT_SECONDS + settings.GATEWAY_TIMEOUT_SECONDS)


@dataclass(frozen=True, slots=True)
class Leftover:
    """What the last holder left. ``idle_seconds``, ``plan_idle_seconds``: how long nobody had called, and nobody had changed a usage plan,
    when the lease was taken; None when nobody ever did. ``saved``: calls that could be made at once when the last holder left."""

    idle_seconds: float | None
    plan_idle_seconds: float | None
    saved: float


class Lease:
    """A lease that is held."""

    def __init__(
        self, gateway_id: uuid.UUID, owner: str, deadline: float, leftover: Leftover, *, taken_at: datetime, clock: Callable[[], float]
    ) -> None:
        """``taken_at``: now, by the database's clock. ``clock``: seconds that only grow, as ``deadline`` counts them."""
        self.gateway_id = gateway_id
        self.owner = owner
        self.leftover = leftover
        self._deadline = deadline
        self._taken_at, self._taken_tick = taken_at, clock()
        self._clock = clock

    def now(self) -> datetime:
        """Now by the database's clock, counted on from when the lease was taken: behind it by a moment, never ahead."""
        return self._taken_at + timedelta(seconds=self._clock() - self._taken_tick)

    def outlives(self, seconds: float) -> None:
        """See to it that the lease is held for ``seconds`` more, renewing it if it must be. Raises LeaseLost."""
        if self._deadline - self._clock() < seconds + MARGIN_SECONDS:
            self.renew()

    def renew(self) -> None:
        """Hold it for a full term from now. Raises LeaseLost when it has run out, whether or not somebody took it."""
        asked_at = self._clock()
        term = timedelta(seconds=lease_seconds())
        if asked_at >= self._deadline or not self._mine().update(lease_expires_at=Now() + term):
            raise LeaseLost
        self._deadline = asked_at + term.total_seconds()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A transaction in which outcomes are written. Renewing comes first: until the commit nobody else can take the lease."""
        with transaction.atomic():
            self.renew()
            yield

    def note_plan_sent(self) -> None:
        """A change of a usage plan is about to be sent: no holder sends another one too soon. Raises LeaseLost."""
        if not self._mine().update(plan_sent_at=Now()):
            raise LeaseLost

    def release(self, **left: float) -> None:
        """Let others take it; ``left``: columns that the next holder goes on from. Nothing happens when it is lost already."""
        self._mine().update(lease_owner="", lease_expires_at=Now(), **left)

    def _mine(self) -> QuerySet[Gateway]:
        return Gateway.objects.filter(pk=self.gateway_id, lease_owner=self.owner, lease_expires_at__gt=Now())


def take(gateway_id: uuid.UUID, clock: Callable[[], float] = time.monotonic) -> Lease | None:
    """Take the lease of a gateway; None when somebody holds it (or there is no such gateway).

    The lease of a holder that died runs out and is free then.

    Race: two take a free lease. The row is locked while it is read and written, so that the second finds it held; and so that what the
    first reads of the last holder is not that of one who came in between. A lease that is held is not waited for.
    """
    owner = f"{socket.gethostname()[:40]}:{os.getpid()}:{uuid.uuid4().hex[:12]}"
    asked_at = clock()
    free = Q(lease_owner="") | Q(lease_expires_at=None) | Q(lease_expires_at__lte=Now())
    term = timedelta(seconds=lease_seconds())
    with transaction.atomic():
        rows = Gateway.objects.filter(free, pk=gateway_id).select_for_update(no_key=True)
        found = rows.values_list("lease_expires_at", "plan_sent_at", "calls_saved", Now()).first()
        if found is None:
            return None
        Gateway.objects.filter(pk=gateway_id).update(lease_owner=owner, lease_expires_at=Now() + term, calls_saved=0.0)
    called_at, plan_sent_at, saved, now = found
    leftover = Leftover(_since(called_at, now), _since(plan_sent_at, now), saved)
    return Lease(gateway_id, owner, asked_at + term.total_seconds(), leftover, taken_at=now, clock=clock)


def _since(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else max(0.0, (now - moment).total_seconds())
