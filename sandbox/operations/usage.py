"""Operations on usage: what keys have used, and extensions of their quota."""

from __future__ import annotations

from datetime import UTC, datetime

from sandbox import errors, wire
from sandbox.model import ApiKey, UsagePlan
from sandbox.quota import Counter, day_number
from sandbox.store import Store
from sandbox.wire import Call, Json

DAYS_MAX = 90
REMAINING_DIGITS = 10


def get(store: Store, call: Call) -> Json:
    """GetUsage: a pair ``[used, remaining]`` for each day, by key id. At most 90 days."""
    plan = store.plan(call.params[0])
    start, end = _date(call, "startDate"), _date(call, "endDate")
    first, last = day_number(start), day_number(end)
    if last < first:
        raise errors.bad_request("Invalid date range specified: endDate is before startDate")
    if last - first >= DAYS_MAX:
        raise errors.bad_request(f"Invalid date range specified: it may not exceed {DAYS_MAX} days")
    listing = wire.page(
        call,
        _keys(store, plan, call.parameter("keyId")),
        lambda key: plan.members.get(key.id, 0),
        lambda key: (key.id, _days(store, plan, key, first, last)),
    )
    body: Json = {"usagePlanId": plan.id, "startDate": start, "endDate": end, "values": dict(listing["item"])}
    if "position" in listing:
        body["position"] = listing["position"]
    return body


def update(store: Store, call: Call) -> Json:
    """UpdateUsage: ``replace /remaining`` sets what the key may still send in the present period."""
    plan, key = store.plan(call.params[0]), store.key(call.params[1])
    if key.id not in plan.members:
        raise errors.not_found("Invalid API Key identifier specified")
    remaining = None
    for patch in wire.patches(call):
        if patch.op != "replace" or patch.path != "/remaining":
            raise wire.invalid_path(patch, ["/remaining"])
        if not (patch.text.isascii() and patch.text.isdigit() and len(patch.text) <= REMAINING_DIGITS):
            raise errors.bad_request(f"Invalid value '{patch.text}' specified: remaining is a number of requests")
        remaining = int(patch.text)
    if plan.quota is None:
        raise errors.bad_request("Usage Plan has no quota")
    now = store.clock.now()
    if remaining is not None:
        store.usage.counter(plan.id, key.id, plan.quota).set_remaining(remaining, now)
    today = datetime.fromtimestamp(now, UTC).date().isoformat()
    day = day_number(today)
    values = {key.id: _days(store, plan, key, day, day)}
    return {"usagePlanId": plan.id, "startDate": today, "endDate": today, "values": values}


def _keys(store: Store, plan: UsagePlan, key_id: str | None) -> list[ApiKey]:
    if key_id is None:
        return [store.keys[member] for member in reversed(plan.members)]
    key = store.key(key_id)
    return [key] if key.id in plan.members or store.usage.find(plan.id, key.id) else []


def _days(store: Store, plan: UsagePlan, key: ApiKey, first: int, last: int) -> list[list[int]]:
    now = store.clock.now()
    counter = store.usage.find(plan.id, key.id) or Counter(plan.quota, now)
    return counter.usage(first, last, now, quota=plan.quota, lag=store.usage.lag)


def _date(call: Call, name: str) -> str:
    value = call.parameter(name) or ""
    try:
        day_number(value)
    except ValueError:
        raise errors.bad_request(f"Invalid {name} specified: dates are written YYYY-MM-DD") from None
    return value
