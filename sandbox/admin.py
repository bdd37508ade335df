"""``/_sandbox/``: faults, clock, settings and state, for tests and for people who try things out. No part of AWS."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from sandbox.http import Request, Response, json_response
from sandbox.operations.plans import plan_json

if TYPE_CHECKING:
    from sandbox.app import Sandbox
    from sandbox.worlds import Worlds

PREFIX = "/_sandbox/"
LATEST = 1e11  # seconds since the epoch: the year 5138
Handler = Callable[["Sandbox", dict[str, Any]], Any]


def handle(worlds: Worlds, request: Request) -> Response:
    """Answer a request under ``/_sandbox/``. ``?world=222222222222:eu-west-1`` says which world it means; without, the default one."""
    if "origin" in request.headers:
        # A page that someone has open in a browser shall not switch anything here.
        return json_response(403, {"message": "Not for browsers"})
    path, _, query = request.target.removeprefix(PREFIX).partition("?")
    name = (request.method, path.strip("/"))
    if name not in HANDLERS and name not in HANDLERS_OF_ALL:
        known = sorted(f"{method} {PREFIX}{name}" for method, name in [*HANDLERS, *HANDLERS_OF_ALL])
        return json_response(404, {"message": "Not found", "known": known})
    try:
        if name in HANDLERS_OF_ALL:
            return json_response(200, HANDLERS_OF_ALL[name](worlds, _options(request)))
        world = worlds.named(parse_qs(query).get("world", [""])[0])
        return json_response(200, HANDLERS[name](world, _options(request)))
    except (ValueError, RecursionError, OverflowError) as error:
        return json_response(400, {"message": str(error)})


def _options(request: Request) -> dict[str, Any]:
    options = json.loads(request.body) if request.body else {}
    if isinstance(options, dict):
        return options
    raise ValueError("the body is not a JSON object")


def _state(sandbox: Sandbox, options: dict[str, Any]) -> Any:
    store = sandbox.store
    return {
        "keys": [
            {
                "id": key.id,
                "name": key.name,
                "value": mask(key.value),
                "enabled": key.enabled,
                "customerId": key.customer_id,
                "tags": key.tags,
                "plans": key.plan_ids,
            }
            for key in store.keys.values()
        ],
        "plans": [plan_json(plan, tags=True) | {"members": list(plan.members)} for plan in store.plans.values()],
        "apis": {api.id: list(api.stages) for api in store.apis.values()},
        "calls": sandbox.control.calls,
        "throttled": sandbox.control.throttled,
        "invocations": {"served": sandbox.dataplane.served, "throttled": sandbox.dataplane.throttled},
        "propagating": sandbox.view.pending,
        "faults": [fault.describe() for fault in sandbox.faults.active],
        "settings": asdict(sandbox.settings),
        "clock": _clock_json(sandbox),
    }


def mask(value: str) -> str:
    """Return a value as it may be shown: its last four characters."""
    return f"****{value[-4:]}"


def _clock_json(sandbox: Sandbox) -> dict[str, Any]:
    now = sandbox.clock.now()
    return {
        "now": now,
        "iso": datetime.fromtimestamp(now, UTC).isoformat(),
        "frozen": sandbox.clock.frozen,
        "offset": sandbox.clock.offset,
    }


def _show_calls(sandbox: Sandbox, options: dict[str, Any]) -> Any:
    return [{"at": at, "operation": operation} for at, operation in sandbox.control.recent]


def _show_clock(sandbox: Sandbox, options: dict[str, Any]) -> Any:
    return _clock_json(sandbox)


def _set_clock(sandbox: Sandbox, options: dict[str, Any]) -> Any:
    """Take ``offset`` or ``advance`` (seconds), or ``freeze`` (true, false, seconds or an ISO time with zone)."""
    if not options or options.keys() - {"offset", "advance", "freeze"}:
        raise ValueError("clock: offset, advance or freeze")
    if "offset" in options:
        sandbox.clock.set_offset(_seconds(options["offset"]))
    if "freeze" in options:
        _freeze(sandbox, options["freeze"])
    if "advance" in options:
        sandbox.clock.advance(_seconds(options["advance"]))
    if not 0 <= sandbox.clock.now() < LATEST:
        sandbox.clock.reset()
        raise ValueError("clock: from 1970 to 5138; it is back at real time")
    return _clock_json(sandbox)


def _freeze(sandbox: Sandbox, at: object) -> None:
    if at is False:
        sandbox.clock.unfreeze()
    elif at is True:
        sandbox.clock.freeze()
    elif isinstance(at, str):
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None:
            raise ValueError("freeze: the time needs a zone, such as Z")
        sandbox.clock.freeze(moment.timestamp())
    else:
        sandbox.clock.freeze(_seconds(at))


def _seconds(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < LATEST:
        raise ValueError("a number of seconds is needed")
    return float(value)


def _add_fault(sandbox: Sandbox, options: dict[str, Any]) -> Any:
    return sandbox.faults.add(options).describe()


def _show_faults(sandbox: Sandbox, options: dict[str, Any]) -> Any:
    return [fault.describe() for fault in sandbox.faults.active]


def _clear_faults(sandbox: Sandbox, options: dict[str, Any]) -> Any:
    sandbox.faults.clear()
    return []


def _show_settings(sandbox: Sandbox, options: dict[str, Any]) -> Any:
    return asdict(sandbox.settings)


def _change_settings(sandbox: Sandbox, options: dict[str, Any]) -> Any:
    sandbox.settings.change(options)
    sandbox.apply_settings()
    return asdict(sandbox.settings)


def _forget(sandbox: Sandbox, options: dict[str, Any]) -> Any:
    sandbox.forget()
    return {"keys": len(sandbox.store.keys)}


def _settle(sandbox: Sandbox, options: dict[str, Any]) -> Any:
    sandbox.view.settle()
    return {}


def _flush_log(sandbox: Sandbox, options: dict[str, Any]) -> Any:
    return {"lines": sandbox.log.flush()}


def _show_worlds(worlds: Worlds, options: dict[str, Any]) -> Any:
    return worlds.describe()


def _add_world(worlds: Worlds, options: dict[str, Any]) -> Any:
    """Take ``world`` (ACCOUNT:REGION) and, if wanted, ``apis`` (a list of ``ID:STAGE``)."""
    name, apis = options.get("world"), options.get("apis", [])
    if not isinstance(name, str) or not isinstance(apis, list) or options.keys() - {"world", "apis"}:
        raise ValueError("world: ACCOUNT:REGION; apis: a list of ID:STAGE")
    worlds.add(name, [read_api(api) for api in apis])
    return worlds.describe()


def read_api(text: object) -> tuple[str, str]:
    """Return the API's id and the stage that ``ID:STAGE`` names.

    Raises:
        ValueError: it names none.
    """
    api_id, _, stage = str(text).partition(":")
    if not all(part and part.replace("-", "").replace("_", "").isalnum() for part in (api_id, stage)):
        raise ValueError("ID:STAGE, of letters, digits, - and _")
    return api_id, stage


def _show_roles(worlds: Worlds, options: dict[str, Any]) -> Any:
    return [asdict(role) for role in worlds.identities.roles.values()]


def _describe_role(worlds: Worlds, options: dict[str, Any]) -> Any:
    return asdict(worlds.identities.describe_role(options))


def _reset(worlds: Worlds, options: dict[str, Any]) -> Any:
    worlds.reset()
    return {}


HANDLERS_OF_ALL: dict[tuple[str, str], Callable[[Worlds, dict[str, Any]], Any]] = {
    ("GET", "worlds"): _show_worlds,
    ("POST", "worlds"): _add_world,
    ("GET", "roles"): _show_roles,
    ("POST", "roles"): _describe_role,
    ("POST", "reset"): _reset,
}
HANDLERS: dict[tuple[str, str], Handler] = {
    ("GET", "state"): _state,
    ("GET", "calls"): _show_calls,
    ("GET", "clock"): _show_clock,
    ("POST", "clock"): _set_clock,
    ("GET", "faults"): _show_faults,
    ("POST", "faults"): _add_fault,
    ("DELETE", "faults"): _clear_faults,
    ("GET", "settings"): _show_settings,
    ("POST", "settings"): _change_settings,
    ("POST", "forget"): _forget,
    ("POST", "settle"): _settle,
    ("POST", "log/flush"): _flush_log,
}
