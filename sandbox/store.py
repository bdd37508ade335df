"""The state of one API Gateway account and Region, and the rules that hold whoever changes it."""

from __future__ import annotations

import secrets
import string
from collections.abc import Iterable, Iterator
from typing import Protocol

from sandbox import errors
from sandbox.clock import Clock
from sandbox.model import ApiKey, RestApi, Stage, StageRef, UsagePlan
from sandbox.usage import UsageBook

_ID_LETTERS = string.ascii_lowercase + string.digits
_VALUE_LETTERS = string.ascii_letters + string.digits
PLANS_PER_ACCOUNT = 300
PLANS_PER_KEY = 10


class Listener(Protocol):
    """Who wants to know about changes: the data plane, which sees them after the propagation delay."""

    def key_changed(self, key: ApiKey) -> None:
        """A key was made or changed, or its usage plans were."""

    def key_removed(self, key: ApiKey) -> None:
        """A key was deleted."""

    def plan_changed(self, plan: UsagePlan) -> None:
        """A usage plan was made or changed."""

    def plan_removed(self, plan: UsagePlan) -> None:
        """A usage plan was deleted."""


class Store:
    """Keys, usage plans, their members, and the APIs that plans refer to."""

    def __init__(self, clock: Clock, listener: Listener, *, key_cap: int = 10_000) -> None:
        self.clock = clock
        self.listener = listener
        self.key_cap = key_cap
        self.keys: dict[str, ApiKey] = {}
        self.by_value: dict[str, ApiKey] = {}
        self.plans: dict[str, UsagePlan] = {}
        self.apis: dict[str, RestApi] = {}
        self.usage = UsageBook(clock)
        self._sequence = 0

    # APIs

    def add_api(self, api_id: str, name: str, stage: str) -> None:
        """Make an API with a stage, or add the stage to the API."""
        created = int(self.clock.now())
        api = self.apis.setdefault(api_id, RestApi(api_id, name, created, {}))
        api.stages[stage] = Stage(stage, created)

    def has_stage(self, ref: StageRef) -> bool:
        """Whether (API id, stage) exists."""
        api = self.apis.get(ref[0])
        return api is not None and ref[1] in api.stages

    # Keys

    def key(self, key_id: str) -> ApiKey:
        """Return a key by its id, or raise 404."""
        key = self.keys.get(key_id)
        if key is None:
            raise errors.not_found("Invalid API Key identifier specified")
        return key

    def check_room(self, more: int = 1) -> None:
        """Raise 429 LimitExceeded unless ``more`` keys fit under the cap (the text is a choice)."""
        if len(self.keys) + more > self.key_cap:
            raise errors.limit_exceeded(f"API Keys limit exceeded: at most {self.key_cap} per account and Region")

    def add_key(self, value: str, *, name: str = "", description: str = "", enabled: bool = False) -> ApiKey:
        """Make a key. An empty value is generated.

        Raises:
            ApiError: 409 the value exists; 429 the account is full.
        """
        value = value or "".join(secrets.choice(_VALUE_LETTERS) for _ in range(40))
        if value in self.by_value:
            raise errors.conflict("API Key already exists")
        self.check_room()
        now = int(self.clock.now())
        key = ApiKey(
            self._new_id(10, self.keys),
            value,
            name,
            description,
            enabled,
            created=now,
            updated=now,
            sequence=self.tick(),
        )
        self.keys[key.id] = self.by_value[value] = key
        self.listener.key_changed(key)
        return key

    def touch_key(self, key: ApiKey) -> None:
        """Record that a key was changed."""
        key.updated = int(self.clock.now())
        self.listener.key_changed(key)

    def remove_key(self, key: ApiKey) -> None:
        """Delete a key; it leaves its usage plans."""
        del self.keys[key.id]
        del self.by_value[key.value]
        for plan_id in key.plan_ids:
            del self.plans[plan_id].members[key.id]
        self.usage.drop(key.id)
        self.listener.key_removed(key)

    # Usage plans

    def plan(self, plan_id: str) -> UsagePlan:
        """Return a usage plan by its id, or raise 404."""
        plan = self.plans.get(plan_id)
        if plan is None:
            raise errors.not_found("Invalid Usage Plan ID specified")
        return plan

    def new_plan_id(self) -> str:
        """Return an id for a plan to be added, or raise 429 when the account has all it may have."""
        if len(self.plans) >= PLANS_PER_ACCOUNT:
            raise errors.limit_exceeded(f"Usage Plans limit exceeded: at most {PLANS_PER_ACCOUNT} per account and Region")
        return self._new_id(6, self.plans)

    def put_plan(self, plan: UsagePlan) -> None:
        """Add a usage plan, or replace it by a changed copy."""
        self.plans[plan.id] = plan
        self.listener.plan_changed(plan)

    def remove_plan(self, plan: UsagePlan) -> None:
        """Delete a usage plan; its keys stay.

        Raises:
            ApiError: 400 the plan still has stages.
        """
        if plan.stages:
            raise errors.bad_request(f"Cannot delete Usage Plan {plan.id} because there are API Stages associated with it")
        del self.plans[plan.id]
        for key_id in plan.members:
            key = self.keys[key_id]
            key.plan_ids.remove(plan.id)
            self.listener.key_changed(key)
        self.listener.plan_removed(plan)

    # Members

    def attach(self, key: ApiKey, plan: UsagePlan) -> None:
        """Make the key a member of the plan.

        Raises:
            ApiError: 409 it is one already, or is in another plan of one of the plan's stages; 429 too many plans.
        """
        if key.id in plan.members:
            raise errors.conflict(f"API Key {key.id} is already a member of Usage Plan {plan.id}")
        other = self.clash(key.plan_ids, plan)
        if other is not None:
            raise errors.conflict(clash_message(plan, other))
        if len(key.plan_ids) >= PLANS_PER_KEY:
            raise errors.limit_exceeded(f"Usage Plans per API Key limit exceeded: at most {PLANS_PER_KEY}")
        plan.members[key.id] = self.tick()
        key.plan_ids.append(plan.id)
        self.listener.key_changed(key)

    def detach(self, key: ApiKey, plan: UsagePlan) -> None:
        """Take the key out of the plan, or raise 404 when it is not in it."""
        if plan.members.pop(key.id, None) is None:
            raise errors.not_found("Invalid API Key identifier specified")
        key.plan_ids.remove(plan.id)
        self.listener.key_changed(key)

    def clash(self, plan_ids: Iterable[str], plan: UsagePlan) -> UsagePlan | None:
        """Return which of the plans shares a stage with ``plan``: a key may be in one plan a stage."""
        for plan_id in plan_ids:
            other = self.plans[plan_id]
            if other.id != plan.id and not other.stages.keys().isdisjoint(plan.stages.keys()):
                return other
        return None

    def member_clash(self, plan: UsagePlan) -> UsagePlan | None:
        """Return a plan that a member of ``plan`` is in as well, for one of its stages."""
        return next(filter(None, (self.clash(self.keys[key_id].plan_ids, plan) for key_id in plan.members)), None)

    # The rest

    def forget(self) -> None:
        """Lose all keys and plans. APIs stay: a deployment is not undone by a lost key store."""
        for key in list(self.keys.values()):
            self.remove_key(key)
        for plan in list(self.plans.values()):
            plan.stages = {}
            self.remove_plan(plan)

    def tick(self) -> int:
        """Return the next number of a sequence; lists are ordered and paged by it."""
        self._sequence += 1
        return self._sequence

    def newest_keys(self) -> Iterator[ApiKey]:
        """Iterate over all keys, newest first, as AWS was seen to list them."""
        return reversed(self.keys.values())

    @staticmethod
    def _new_id(length: int, taken: Iterable[str]) -> str:
        while True:
            new = "".join(secrets.choice(_ID_LETTERS) for _ in range(length))
            if new not in taken:
                return new


def clash_message(plan: UsagePlan, other: UsagePlan) -> str:
    """Say that a key cannot be in both plans (AWS's text is not known; the wording is a choice)."""
    shared = sorted(plan.stages.keys() & other.stages.keys())
    names = ", ".join(f"{api_id}:{stage}" for api_id, stage in shared)
    return f"Usage Plan {plan.id} cannot be added to the API Key: it is in Usage Plan {other.id} for API Stage {names}"
