"""The lease on a gateway: one worker at a time speaks to an account and Region.

Taken, renewed and released by compare-and-set on the gateway's row. Expiry is judged by the database's clock alone, so workers whose own
clocks are wrong do not matter. The holder knows its deadline by its monotonic clock, started before it asked: it believes its
lease to end no later than the database does.

``lease_expires_at`` of a released lease is the moment of its release: the next holder learns how long nobody has called.
"""

import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from keys.gateway.client import CONNECT_SECONDS
from keys.models import Gateway

# For what lies between the check before a call and the call itself.
MARGIN_SECONDS = 2


class LeaseLost(Exception):
    """Somebody else may hold the lease: whoever gets this writes nothing more, neither to the gateway nor about it."""


def lease_seconds() -> int:
    """How long a lease lasts unless renewed: the setting, but at least as long as two calls may take."""
    return max(settings.GATEWAY_LEASE_SECONDS, 2 * call_seconds() + MARGIN_SECONDS)


def call_seconds() -> int:
    """How long one call may take: connecting, then waiting for its answer."""
    return int(CONNECT_SECONDS + settings.GATEWAY_TIMEOUT_SECONDS)


class Lease:
    """A lease that is held. ``idle_seconds``: how long nobody had called before it was taken; None when nobody ever did."""

    def __init__(self, gateway_id: uuid.UUID, owner: str, deadline: float, idle_seconds: float | None, clock: Callable[[], float]) -> None:
        self.gateway_id = gateway_id
        self.owner = owner
        self.idle_seconds = idle_seconds
        self._deadline = deadline
        self._clock = clock

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

    def release(self) -> None:
        """Let others take it. Nothing happens when it is lost already."""
        self._mine().update(lease_owner="", lease_expires_at=Now())

    def _mine(self) -> QuerySet[Gateway]:
        return Gateway.objects.filter(pk=self.gateway_id, lease_owner=self.owner, lease_expires_at__gt=Now())


def take(gateway_id: uuid.UUID, clock: Callable[[], float] = time.monotonic) -> Lease | None:
    """Take the lease of a gateway; None when somebody holds it (or there is no such gateway).

    The lease of a holder that died runs out and is free then.
    """
    owner = f"{socket.gethostname()[:40]}:{os.getpid()}:{uuid.uuid4().hex[:12]}"
    asked_at = clock()
    row = Gateway.objects.filter(pk=gateway_id).values_list("lease_expires_at", Now()).first()
    free = Q(lease_owner="") | Q(lease_expires_at=None) | Q(lease_expires_at__lte=Now())
    term = timedelta(seconds=lease_seconds())
    taken = Gateway.objects.filter(free, pk=gateway_id).update(lease_owner=owner, lease_expires_at=Now() + term)
    if row is None or not taken:
        return None
    last, now = row
    idle = None if last is None else max(0.0, (now - last).total_seconds())
    return Lease(gateway_id, owner, asked_at + term.total_seconds(), idle, clock)
