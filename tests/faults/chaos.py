"""What breaks during a soak, in an order that the seed decides. FAULTS lists it all, with weights."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from django.db import connection, connections

from keys import tasks
from keys.models import Gateway, Pool, Tier
from keys.services import catalog, pools
from keys.services import tenants as suspension
from keys.services.bell import _ring_now
from tenants.audit import SYSTEM
from tenants.models import Tenant
from tests.faults import crash
from tests.faults.harness import NAME_IN_POSTGRES, Part, Stack
from tests.faults.history import History
from tests.support.sandbox import SandboxProcess

# Seconds from one fault to the next.
PAUSES = (0.3, 1.5)
# Longer than a lease of the stack lasts.
PAUSED_SECONDS = 18
FOREIGN = "somebody-else"


class Chaos(threading.Thread):
    """Breaks something again and again until it is told to stop; then everything that it stopped runs again."""

    def __init__(self, rng: random.Random, stack: Stack, history: History) -> None:
        super().__init__(name="chaos", daemon=True)
        self.rng, self.stack, self.history = rng, stack, history
        self.failure: BaseException | None = None
        self.foreign: set[str] = set()
        self._over = threading.Event()
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._paused: set[str] = set()

    def stop(self) -> None:
        """Break nothing more; returns when all that was to happen later has happened."""
        self._over.set()
        self.join()

    def run(self) -> None:
        names, weights = zip(*((name, weight) for name, (weight, _act) in FAULTS.items()), strict=True)
        try:
            while self._paced():
                self._what_is_due()
                [name] = self.rng.choices(names, weights)
                self.history.fault(name)
                FAULTS[name][1](self)
            for _at, act in self._later:
                act()
            for tenant in Tenant.objects.exclude(suspended_at=None):
                suspension.resume(tenant=tenant, actor=SYSTEM)
            self.stack.whole()
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            self.failure = error
        finally:
            connections.close_all()

    def _paced(self) -> bool:
        """Let the time between two faults pass; False as soon as it is over."""
        return not self._over.wait(self.rng.uniform(*PAUSES))

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Do it then, or when the chaos is over."""
        self._later.append((time.monotonic() + seconds, act))

    def _what_is_due(self) -> None:
        now = time.monotonic()
        due = [act for at, act in self._later if at <= now]
        self._later = [(at, act) for at, act in self._later if at > now]
        for act in due:
            act()

    # --- Processes

    def kill(self, part: Part, **changes: str) -> None:
        """kill -9, and start it again soon."""
        part.kill()
        self.later(self.rng.uniform(0, 2), lambda: None if part.is_running else part.start(**changes))

    def kill_worker(self) -> None:
        self.kill(self.rng.choice(self.stack.workers))

    def kill_web(self) -> None:
        self.kill(self.rng.choice(self.stack.webs))

    def kill_beat(self) -> None:
        self.kill(self.stack.beat)

    def crash_worker(self) -> None:
        """It starts anew, and dies at a crash point once it comes there."""
        site = self.rng.choice(crash.sites())
        self.kill(self.rng.choice(self.stack.workers), CRASH_AT=f"{site}|{self.rng.choice(crash.MOMENTS)}")

    def revive(self) -> None:
        """What crashed meanwhile starts again, as a supervisor would see to it."""
        self.stack.revive()

    def pause_worker(self) -> None:
        """Past the end of its lease, so that somebody else works meanwhile."""
        part = self.rng.choice(self.stack.workers)
        part.pause()
        self.later(PAUSED_SECONDS, part.resume)

    def flush_broker(self) -> None:
        self.stack.broker.flush()

    def kill_broker(self) -> None:
        self.stack.broker.kill()
        self.later(self.rng.uniform(0.5, 4), lambda: None if self.stack.broker.is_running else self.stack.broker.start())

    def deliver_ten_times(self) -> None:
        for gateway in Gateway.objects.all():
            for _time in range(10):
                _ring_now(gateway.pk)
        with contextlib.suppress(Exception):  # the broker may be down just now
            tasks.sweep.delay()

    def cut_database(self) -> None:
        """Every connection of the product ends, as when the database restarts at once."""
        mine = connection.settings_dict["NAME"]
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND application_name = %s",
                [mine, NAME_IN_POSTGRES],
            )

    # --- The gateway

    def gateway_fault(self, lasting: float, **fault: Any) -> None:
        """Switch a fault on for about so long."""
        self.sandbox(lambda sandbox: sandbox.fault(seed=self.rng.randrange(2**31), **fault))
        self.later(lasting, lambda: self.sandbox(lambda sandbox: sandbox.clear_faults()))

    def throttle(self) -> None:
        self.gateway_fault(self.rng.uniform(0.5, 4), kind="throttle", probability=self.rng.choice([0.15, 0.5, 1.0]))

    def server_errors(self) -> None:
        status, probability = self.rng.choice([500, 502, 503]), self.rng.choice([0.15, 1.0])
        self.gateway_fault(self.rng.uniform(0.5, 4), kind="error", status=status, probability=probability)

    def conflicts(self) -> None:
        self.gateway_fault(3, kind="conflict", probability=0.5)

    def lost_answers(self) -> None:
        self.gateway_fault(4, kind="reset", work=True, probability=0.2)

    def refused_connections(self) -> None:
        self.gateway_fault(2, kind="reset", probability=0.5)

    def hangs(self) -> None:
        self.gateway_fault(6, kind="timeout", work=self.rng.random() < 0.5, count=self.rng.randint(1, 2))

    def short_pages(self) -> None:
        self.gateway_fault(4, kind="truncate", size=self.rng.choice([1, 7, 100]), count=50)

    def slow_answers(self) -> None:
        self.gateway_fault(3, kind="latency", seconds=self.rng.uniform(0.05, 0.5))

    def amnesia(self) -> None:
        """It restarts and knows nothing any more."""
        self.stack.restart_sandbox()
        self.foreign.clear()

    def outage(self) -> None:
        self.stack.restart_sandbox(down_seconds=self.rng.uniform(0.5, 3))
        self.foreign.clear()

    # --- Somebody at the AWS console

    def console(self) -> None:
        """One change behind our back."""
        try:
            self.sandbox(self._edit)
        except (ClientError, BotoCoreError):  # a fault that is on hit this one, or a worker was quicker
            return

    def _edit(self, sandbox: SandboxProcess) -> None:
        aws, state = sandbox.client(connect_timeout=1, read_timeout=2), sandbox.state()
        keys = [key for key in state["keys"] if key["name"] not in self.foreign]
        if not keys or not state["plans"]:
            return
        key, plan = self.rng.choice(keys), self.rng.choice(state["plans"])
        what = self.rng.choice(["delete", "switch", "detach", "limits", "foreign", "plan"])
        if what == "delete":
            aws.delete_api_key(apiKey=key["id"])
        elif what == "switch":
            value = str(not key["enabled"]).lower()
            aws.update_api_key(apiKey=key["id"], patchOperations=[{"op": "replace", "path": "/enabled", "value": value}])
        elif what == "detach" and key["plans"]:
            aws.delete_usage_plan_key(usagePlanId=key["plans"][0], keyId=key["id"])
        elif what == "limits":
            aws.update_usage_plan(usagePlanId=plan["id"], patchOperations=[{"op": "replace", "path": "/throttle/rateLimit", "value": "7"}])
        elif what == "plan" and key["plans"] and plan["id"] not in key["plans"]:
            aws.delete_usage_plan_key(usagePlanId=key["plans"][0], keyId=key["id"])
            aws.create_usage_plan_key(usagePlanId=plan["id"], keyId=key["id"], keyType="API_KEY")
        elif what == "foreign":
            name = f"{FOREIGN}-{len(self.foreign)}"
            aws.create_api_key(name=name, enabled=True)
            self.foreign.add(name)

    # --- Staff

    def change_limits(self) -> None:
        tier = self.rng.choice(list(Tier.objects.order_by("slug")))
        catalog.change_limits(
            tier=tier,
            throttle_rate=Decimal(self.rng.randint(8_000, 9_000)),
            throttle_burst=tier.throttle_burst,
            quota_limit=tier.quota_limit,
            quota_period=tier.quota_period,
            actor=SYSTEM,
        )

    def suspend(self) -> None:
        tenant = self.rng.choice(list(Tenant.objects.order_by("pk")))
        suspension.suspend(tenant=tenant, reason="soak", actor=SYSTEM)
        self.later(self.rng.uniform(0.5, 3), lambda: self._resume(tenant))

    @staticmethod
    def _resume(tenant: Tenant) -> None:
        suspension.resume(tenant=tenant, actor=SYSTEM)

    def resize_pool(self) -> None:
        pool = self.rng.choice(list(Pool.objects.select_related("tier").order_by("pk")))
        pools.resize_pool(tier=pool.tier, size=max(2, pool.size + self.rng.choice([-2, -1, 1, 2, 3])), actor=SYSTEM)

    def change_spares(self) -> None:
        tier = Tier.objects.get(slug="siloed-spares")
        catalog.change_tier(tier=tier, changes={"spare_target": self.rng.randint(0, 40)}, actor=SYSTEM)

    def sandbox(self, act: Callable[[SandboxProcess], Any]) -> None:
        """Ask the sandbox something; it may be busy with dropping what it is asked."""
        with contextlib.suppress(OSError, AssertionError):
            self.stack.sandbox_call(act)


# By name: how often, and what happens.
FAULTS: dict[str, tuple[int, Callable[[Chaos], None]]] = {
    "worker killed": (4, Chaos.kill_worker),
    "worker killed at a crash point": (6, Chaos.crash_worker),
    "worker paused past its lease": (1, Chaos.pause_worker),
    "web killed": (3, Chaos.kill_web),
    "beat killed": (1, Chaos.kill_beat),
    "broker flushed": (3, Chaos.flush_broker),
    "broker down": (2, Chaos.kill_broker),
    "task delivered 10 times": (2, Chaos.deliver_ten_times),
    "database connections cut": (2, Chaos.cut_database),
    "gateway 429": (3, Chaos.throttle),
    "gateway 5xx": (3, Chaos.server_errors),
    "gateway 409": (2, Chaos.conflicts),
    "gateway answers lost": (4, Chaos.lost_answers),
    "gateway connections reset": (2, Chaos.refused_connections),
    "gateway hangs": (1, Chaos.hangs),
    "gateway pages short": (2, Chaos.short_pages),
    "gateway slow": (2, Chaos.slow_answers),
    "gateway forgets all": (2, Chaos.amnesia),
    "gateway down, then forgets all": (1, Chaos.outage),
    "edit at the console": (8, Chaos.console),
    "limits changed": (2, Chaos.change_limits),
    "tenant suspended": (3, Chaos.suspend),
    "pool resized": (2, Chaos.resize_pool),
    "spares changed": (2, Chaos.change_spares),
    "what crashed started again": (6, Chaos.revive),
}
