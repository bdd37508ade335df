"""Operations on usage plans, except UpdateUsagePlan (``plan_patch``)."""

from __future__ import annotations

import math

from sandbox import errors, wire
from sandbox.model import StageRef, Throttle, UsagePlan, throttle_json
from sandbox.operations.tags import check_tags
from sandbox.quota import OFFSET_BOUNDS, PERIODS, Quota
from sandbox.store import Store
from sandbox.wire import Call, Json

METHOD_THROTTLES_MAX = 20
INTEGER_MAX = 2**31 - 1


def plan_json(plan: UsagePlan, *, tags: bool = False) -> Json:
    """Return a usage plan as the protocol writes it. ``tags``: also when there are none."""
    stages: list[Json] = []
    for (api_id, stage), methods in plan.stages.items():
        entry: Json = {"apiId": api_id, "stage": stage}
        if methods:
            entry["throttle"] = {method: throttle_json(throttle) for method, throttle in methods.items()}
        stages.append(entry)
    body: Json = {"id": plan.id, "name": plan.name, "apiStages": stages}
    optional = {"description": plan.description, "productCode": plan.product_code}
    body |= {name: content for name, content in optional.items() if content}
    if plan.throttle:
        body["throttle"] = throttle_json(plan.throttle)
    if plan.quota:
        body["quota"] = {"limit": plan.quota.limit, "offset": plan.quota.offset, "period": plan.quota.period}
    if tags or plan.tags:
        body["tags"] = plan.tags
    return body


def make_throttle(rate: float | None, burst: int | None) -> Throttle:
    """Return a throttle (what is not given is 0, as AWS stores it), or raise 400.

    Fractional rates are fine, and so is a burst below or above the rate.
    """
    rate, burst = rate or 0.0, burst or 0
    if not math.isfinite(rate) or rate < 0 or not 0 <= burst <= INTEGER_MAX:
        raise errors.bad_request("Invalid throttle settings specified: rateLimit and burstLimit cannot be negative")
    return Throttle(rate, burst)


def make_quota(limit: int | None, period: str, offset: int | None) -> Quota:
    """Return a quota, or raise 400."""
    if limit is None or not 0 <= limit <= INTEGER_MAX:
        raise errors.bad_request("Invalid quota limit specified")
    if period not in PERIODS:
        raise errors.bad_request(f"Invalid quota period specified. Must be one of: [{', '.join(PERIODS)}]")
    if not 0 <= (offset or 0) < OFFSET_BOUNDS[period]:
        raise errors.bad_request(f"Invalid quota offset specified for period {period}")
    return Quota(limit, period, offset or 0)


def check_stage(store: Store, ref: StageRef, plan_id: str) -> StageRef:
    """Return the (API id, stage) if it exists, or raise 404 in AWS's words."""
    if not store.has_stage(ref):
        raise errors.not_found(f"Invalid API Stage {{api: {ref[0]}, stage: {ref[1]}}} specified for usageplan {plan_id}")
    return ref


def check_plan(plan: UsagePlan) -> UsagePlan:
    """Return the plan, or raise 400 when a stage has too many method throttles."""
    if any(len(methods) > METHOD_THROTTLES_MAX for methods in plan.stages.values()):
        raise errors.bad_request(f"Too many method throttles: at most {METHOD_THROTTLES_MAX} per stage")
    return plan


def _stage_of(store: Store, entry: Json, plan_id: str) -> tuple[StageRef, dict[str, Throttle]]:
    ref = check_stage(store, (wire.text(entry, "apiId"), wire.text(entry, "stage")), plan_id)
    overrides = wire.mapping(entry, "throttle") or {}
    methods = {}
    for name in overrides:
        settings = wire.mapping(overrides, name) or {}
        methods[name] = make_throttle(wire.number(settings, "rateLimit"), wire.integer(settings, "burstLimit"))
    return ref, methods


def create(store: Store, call: Call) -> Json:
    """CreateUsagePlan."""
    body = call.json()
    if not wire.text(body, "name"):
        raise errors.bad_request("Usage Plan name cannot be empty")
    plan = UsagePlan(store.new_plan_id(), wire.text(body, "name"), wire.text(body, "description"))
    plan.tags = check_tags(wire.mapping(body, "tags") or {})
    throttle, quota = wire.mapping(body, "throttle"), wire.mapping(body, "quota")
    if throttle:
        plan.throttle = make_throttle(wire.number(throttle, "rateLimit"), wire.integer(throttle, "burstLimit"))
    if quota:
        plan.quota = make_quota(wire.integer(quota, "limit"), wire.text(quota, "period"), wire.integer(quota, "offset"))
    plan.stages = dict(_stage_of(store, entry, plan.id) for entry in wire.items(body, "apiStages"))
    plan.sequence = store.tick()
    store.put_plan(check_plan(plan))
    return plan_json(plan)


def get(store: Store, call: Call) -> Json:
    """GetUsagePlan."""
    return plan_json(store.plan(call.params[0]), tags=True)


def get_many(store: Store, call: Call) -> Json:
    """GetUsagePlans; ``keyId`` keeps those that the key is in."""
    key_id = call.parameter("keyId")
    plans = (plan for plan in reversed(store.plans.values()) if not key_id or key_id in plan.members)
    return wire.page(call, plans, lambda plan: plan.sequence, plan_json)


def delete(store: Store, call: Call) -> None:
    """DeleteUsagePlan: refused while it has stages."""
    store.remove_plan(store.plan(call.params[0]))
