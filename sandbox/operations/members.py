"""Operations on the keys of a usage plan."""

from __future__ import annotations

from sandbox import errors, wire
from sandbox.model import ApiKey
from sandbox.store import Store
from sandbox.wire import Call, Json


def _member_json(key: ApiKey) -> Json:
    """Return a member; its value is always there."""
    body: Json = {"id": key.id, "type": "API_KEY", "value": key.value}
    if key.name:
        body["name"] = key.name
    return body


def create(store: Store, call: Call) -> Json:
    """CreateUsagePlanKey: one plan a stage for each key."""
    plan, body = store.plan(call.params[0]), call.json()
    if wire.text(body, "keyType") != "API_KEY":
        raise errors.bad_request("Invalid key type specified: only API_KEY is supported")
    key = store.key(wire.text(body, "keyId"))
    store.attach(key, plan)
    return _member_json(key)


def get(store: Store, call: Call) -> Json:
    """GetUsagePlanKey."""
    plan, key = store.plan(call.params[0]), store.key(call.params[1])
    if key.id not in plan.members:
        raise errors.not_found("Invalid API Key identifier specified")
    return _member_json(key)


def get_many(store: Store, call: Call) -> Json:
    """GetUsagePlanKeys: an unknown plan has no keys (as recorded, it is no error)."""
    plan = store.plans.get(call.params[0])
    if plan is None:
        return {"item": []}
    prefix = call.parameter("name") or ""
    keys = (store.keys[key_id] for key_id in reversed(plan.members))
    chosen = (key for key in keys if key.name.startswith(prefix))
    return wire.page(call, chosen, lambda key: plan.members[key.id], _member_json)


def delete(store: Store, call: Call) -> None:
    """DeleteUsagePlanKey: the key stays, without this plan."""
    store.detach(store.key(call.params[1]), store.plan(call.params[0]))
