"""What the data plane knows: keys and plans as they were ``delay`` seconds ago.

On AWS a change to a key takes effect after its propagation time. Here every change is queued with its due time and
applied when the data plane next looks, so the order of changes is kept and no timer is needed.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from sandbox.bucket import TokenBucket
from sandbox.clock import Clock
from sandbox.model import ApiKey, StageRef, Throttle, UsagePlan
from sandbox.quota import Counter, Quota
from sandbox.usage import UsageBook


@dataclass(frozen=True, slots=True)
class _Key:
    id: str
    enabled: bool
    plan_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Plan:
    id: str
    throttle: Throttle | None
    quota: Quota | None
    stages: dict[StageRef, dict[str, Throttle]]


class Grant:
    """What a key may do at one stage: resolved once, used by every request until something changes."""

    __slots__ = ("bucket", "counter", "key_id", "methods", "plan_id")

    def __init__(
        self, key_id: str, plan_id: str, bucket: TokenBucket | None, methods: dict[str, TokenBucket] | None, counter: Counter
    ) -> None:
        self.key_id = key_id
        self.plan_id = plan_id
        self.bucket = bucket
        self.methods = methods
        self.counter = counter


Change = tuple[str, str, _Key | _Plan | None]


class View:
    """Keys by value and plans by id, and from them the grants of each stage. A ``store.Listener``."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.delay = 0.0
        self.usage: UsageBook
        self._keys: dict[str, _Key] = {}
        self._plans: dict[str, _Plan] = {}
        self._grants: dict[StageRef, dict[str, Grant]] = {}
        self._buckets: dict[str, dict[tuple[str, ...], TokenBucket]] = {}
        self._queue: list[tuple[float, int, Change]] = []
        self._number = 0

    # Changes

    def key_changed(self, key: ApiKey) -> None:
        """See ``store.Listener``."""
        self._publish(("key", key.value, _Key(key.id, key.enabled, tuple(key.plan_ids))))

    def key_removed(self, key: ApiKey) -> None:
        """See ``store.Listener``."""
        self._publish(("key", key.value, None))

    def plan_changed(self, plan: UsagePlan) -> None:
        """See ``store.Listener``."""
        stages = {ref: dict(methods) for ref, methods in plan.stages.items()}
        self._publish(("plan", plan.id, _Plan(plan.id, plan.throttle, plan.quota, stages)))

    def plan_removed(self, plan: UsagePlan) -> None:
        """See ``store.Listener``."""
        self._publish(("plan", plan.id, None))

    def _publish(self, change: Change) -> None:
        if self.delay <= 0.0 and not self._queue:
            self._apply(change)
            return
        self._number += 1
        heapq.heappush(self._queue, (self.clock.now() + self.delay, self._number, change))

    def catch_up(self, now: float) -> None:
        """Apply the changes that are due."""
        while self._queue and self._queue[0][0] <= now:
            self._apply(heapq.heappop(self._queue)[2])

    def settle(self) -> None:
        """Apply all changes, due or not."""
        while self._queue:
            self._apply(heapq.heappop(self._queue)[2])

    @property
    def pending(self) -> int:
        """How many changes wait for their time."""
        return len(self._queue)

    def _apply(self, change: Change) -> None:
        kind, name, state = change
        if kind == "key":
            old = self._keys.pop(name, None)
            if isinstance(state, _Key):
                self._keys[name] = state
            elif old is not None:
                self._buckets.pop(old.id, None)
            for grants in self._grants.values():
                grants.pop(name, None)
            return
        self._plans.pop(name, None)
        if isinstance(state, _Plan):
            self._plans[name] = state
        for grants in self._grants.values():
            grants.clear()

    # Requests

    def grants(self, stage: StageRef) -> dict[str, Grant]:
        """Return the grants resolved so far for a stage, by key value: one dict that lives as long as the view."""
        return self._grants.setdefault(stage, {})

    def resolve(self, value: str, stage: StageRef, now: float) -> Grant | None:
        """Return the grant of a key value at a stage; None when it is unknown, disabled or in no plan of the stage."""
        key = self._keys.get(value)
        if key is None or not key.enabled:
            return None
        for plan_id in key.plan_ids:
            plan = self._plans.get(plan_id)
            if plan is not None and stage in plan.stages:
                grant = self._grant(key, plan, stage, now)
                self.grants(stage)[value] = grant
                return grant
        return None

    def fill_buckets(self) -> None:
        """Start all buckets anew (full)."""
        self._buckets.clear()
        for grants in self._grants.values():
            grants.clear()

    def _grant(self, key: _Key, plan: _Plan, stage: StageRef, now: float) -> Grant:
        """Resolve: one bucket a plan and key, and one more for each method with a throttle of its own."""
        methods = {
            method: self._bucket(key.id, (plan.id, *stage, method), throttle, now) for method, throttle in plan.stages[stage].items()
        }
        bucket = self._bucket(key.id, (plan.id,), plan.throttle, now) if plan.throttle else None
        return Grant(key.id, plan.id, bucket, methods or None, self.usage.counter(plan.id, key.id, plan.quota))

    def _bucket(self, key_id: str, name: tuple[str, ...], throttle: Throttle, now: float) -> TokenBucket:
        buckets = self._buckets.setdefault(key_id, {})
        bucket = buckets.get(name)
        if bucket is None:
            bucket = buckets[name] = TokenBucket(throttle.rate, throttle.burst, now)
        elif (bucket.rate, bucket.burst) != (throttle.rate, throttle.burst):
            bucket.change(throttle.rate, throttle.burst, now)
        return bucket
