"""What the rows of the fault matrix share: a stack with a gateway, tiers and tenants, who buys, and where measured results go.

``FAULT_SECONDS``: how long outages last (default 8). Rows marked ``long`` run only when it is set, as ``make faults`` does.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from keys.models import ApiKey, Gateway, Status, Tier
from tenants.models import Tenant, User
from tests.faults import oracle
from tests.faults.harness import Stack, Web, await_that, pace
from tests.faults.history import History, Outcome, Purchase
from tests.support.api import token_for
from tests.support.cast import make_member
from tests.support.factories import make_gateway, make_stage, make_tier
from tests.support.web import Answer

FAULT_SECONDS = float(os.environ.get("FAULT_SECONDS") or 8)
long = pytest.mark.skipif("FAULT_SECONDS" not in os.environ, reason="takes long: make faults runs it")
ROW = [pytest.mark.faults, pytest.mark.postgres, pytest.mark.slow, pytest.mark.django_db(transaction=True)]
WRITES = ("Create", "Import", "Update", "Delete")


def measured(row: str, **figures: object) -> None:
    """Print what a row measured, and append it to the file that FAULT_RESULTS names."""
    line = json.dumps({"row": row, "fault_seconds": FAULT_SECONDS, **figures}, default=str)
    sys.stderr.write(f"\nMEASURED {line}\n")
    if target := os.environ.get("FAULT_RESULTS"):
        with Path(target).open("a") as file:
            file.write(f"{line}\n")


class World:
    """A stack, one gateway on its sandbox, a pooled tier, a siloed one with spares and a bare one without."""

    def __init__(self, stack: Stack, *, spares: int = 5, capacity: int = 10_000) -> None:
        self.stack = stack
        self.history = History()
        self.gateway: Gateway = make_gateway(account_id="000000000000", region="us-east-1", capacity=capacity)
        stage = make_stage(self.gateway, invoke_url=stack.sandbox.invoke_url(""))
        # Limits that the calls of a test do not reach, and maxima that its purchases do not.
        limits: dict[str, Any] = {
            "stage": stage,
            "throttle_rate": 9_000,
            "throttle_burst": 5_000,
            "quota_limit": 10**9,
            "max_api_keys": 10**6,
        }
        self.pooled = make_tier(slug="pooled", pool_size=4, **limits)
        self.spared = make_tier(slug="spared", spare_target=spares, **limits)
        self.bare = make_tier(slug="bare", **limits)
        self.tenant = Tenant.objects.create(name="Shop")
        self.owner: User = make_member("owner@example.com", self.tenant)
        self.secret = token_for(self.owner)

    # Buying

    def call(
        self, method: str, path: str, body: Any = None, *, web: Web | None = None, secret: str = "", timeout: float = 30, **headers: str
    ) -> Answer:
        """One request; raises OSError or HTTPException when no answer comes."""
        given = {"Authorization": f"Bearer {secret or self.secret}", "Content-Type": "application/json", **headers}
        data = None if body is None else json.dumps(body).encode()
        return (web or self.stack.webs[0]).call(method, f"/api/v1{path}", data, timeout=timeout, **given)

    def buy(self, tier: Tier, *, web: Web | None = None, again: float = 0, timeout: float = 30) -> Answer | None:
        """Buy one API key and note what was told; None when no answer came. ``again``: seconds in which the same request is repeated."""
        purchase = Purchase(name=uuid.uuid4().hex, tenant_id=self.tenant.pk, tier=tier.slug, batch=uuid.uuid4().hex)
        body, until, answer = {"tier": tier.slug, "name": purchase.name}, time.monotonic() + again, None
        while answer is None or answer.status >= 500:
            answer = None
            with suppress(OSError, http.client.HTTPException):
                answer = self.call("POST", "/keys", body, web=web, timeout=timeout, Idempotency_Key=purchase.batch)
            if time.monotonic() > until:
                break
            if answer is None or answer.status >= 500:
                pace(0.1)
        if answer is not None and answer.status < 500:
            purchase.outcome = Outcome.OK if answer.status == 201 else Outcome.FAILED
        if purchase.outcome is Outcome.OK:
            told = answer.json()
            purchase.id, purchase.value = uuid.UUID(told["id"]), told["credential"]
        self.history.bought([purchase])
        return answer

    def buy_many(self, tier: Tier, count: int) -> list[Purchase]:
        """Buy by batches of 100 at most; all of them are sold."""
        bought = []
        for start in range(0, count, 100):
            batch = uuid.uuid4().hex
            asked = [
                Purchase(name=f"{batch}-{number}", tenant_id=self.tenant.pk, tier=tier.slug, batch=batch)
                for number in range(min(100, count - start))
            ]
            items = [{"tier": tier.slug, "name": each.name} for each in asked]
            answer = self.call("POST", "/keys/batch", {"items": items}, Idempotency_Key=batch)
            assert answer.status == 200, answer.body[:500]
            for each, outcome in zip(asked, answer.json()["outcomes"], strict=True):
                assert outcome["status"] == 201, outcome
                each.outcome = Outcome.OK
                each.id, each.value = uuid.UUID(outcome["key"]["id"]), outcome["key"]["credential"]
            bought += asked
        self.history.bought(bought)
        return bought

    @contextmanager
    def buyers(self, count: int, *tiers: Tier, again: float = 0) -> Iterator[list[Answer | None]]:
        """So many threads buy all the time while the block runs; what they were answered."""
        answers: list[Answer | None] = []
        failures: list[BaseException] = []
        over = threading.Event()

        def work(number: int) -> None:
            turn = number
            try:
                while not over.is_set():
                    turn += 1
                    answers.append(self.buy(tiers[turn % len(tiers)], again=again, web=self.stack.webs[turn % len(self.stack.webs)]))
            except BaseException as error:  # noqa: BLE001 - the test raises it
                failures.append(error)
            finally:
                connections.close_all()

        threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(count)]
        for thread in threads:
            thread.start()
        try:
            yield answers
        finally:
            over.set()
            for thread in threads:
                thread.join(60)
        assert not failures, failures[0]

    # Looking

    def writes(self) -> dict[str, int]:
        """Calls of the management API that change something, by operation."""
        return {name: count for name, count in self.calls().items() if name.startswith(WRITES)}

    def calls(self) -> dict[str, int]:
        return dict(self.stack.sandbox_call(lambda sandbox: sandbox.state())["calls"])

    def preparing(self) -> int:
        """API keys that are sold and not ready."""
        now = timezone.now()
        keys = ApiKey.objects.live().select_related("gateway_key", "tenant")
        return sum(each.status(now) is Status.PREPARING for each in keys)

    def ready_within(self, seconds: float) -> float:
        """Wait until all that was bought is ready; seconds it took."""
        return await_that(lambda: not self.preparing(), seconds, lambda: f"ready: {self.preparing()} are preparing")

    def holder(self) -> str:
        """Who holds the gateway's lease; empty when nobody does."""
        gateway = Gateway.objects.get(pk=self.gateway.pk)
        free = gateway.lease_expires_at is None or gateway.lease_expires_at <= timezone.now()
        return "" if free else gateway.lease_owner

    def check(self, seconds: float = 60) -> float:
        """Wait for quiet, compare, let the pools settle, and ask the oracle; the seconds until it was quiet the first time."""
        took = self.stack.quiet(seconds)
        oracle.settle_pools()
        oracle.check(self.stack, self.history)
        return took


@contextmanager
def a_world(
    folder: Path,
    *,
    spares: int = 5,
    capacity: int = 10_000,
    seconds: float = 60,
    before: Callable[[Stack], None] = lambda stack: None,
    **options: Any,
) -> Iterator[World]:
    """A world at rest, with everything made that its tiers need. ``before``: what is done with the stack before it starts."""
    stack = Stack(folder, **options)
    before(stack)
    with stack:
        world = World(stack, spares=spares, capacity=capacity)
        stack.quiet(seconds, compared=False)
        yield world


def statuses(answers: list[Answer | None]) -> dict[str, int]:
    """How often each status was answered; "none": no answer."""
    found: dict[str, int] = {}
    for answer in answers:
        name = "none" if answer is None else str(answer.status)
        found[name] = found.get(name, 0) + 1
    return found


def during(seconds: float, act: Callable[[], Any]) -> list[Any]:
    """Do something again and again for so long; what came of it."""
    until, results = time.monotonic() + seconds, []
    while time.monotonic() < until:
        results.append(act())
    return results
