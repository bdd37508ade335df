"""UpdateUsagePlan: patches are checked and applied to a copy, which then takes the plan's place."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from sandbox import errors, wire
from sandbox.model import StageRef, Throttle, UsagePlan
from sandbox.operations.plans import check_plan, check_stage, make_quota, make_throttle, plan_json
from sandbox.store import Store, clash_message
from sandbox.wire import Call, Json, Patch

_STAGE_THROTTLE = re.compile(r"/apiStages/(?P<stage>[^/]+)/throttle(?:/(?P<method>.+?)(?:/(?P<limit>rateLimit|burstLimit))?)?")
_TEXTS = {"/name": "name", "/description": "description", "/productCode": "product_code"}
_INVALID_STAGE = "Invalid API Stage specified"


@dataclass(slots=True)
class _Draft:
    """A plan being patched. Quota and throttle are loose here, since several patches make one of them."""

    plan: UsagePlan
    quota: dict[str, str] | None
    throttle: dict[str, str] | None
    methods: dict[tuple[StageRef, str], dict[str, str]] = field(default_factory=dict)


def update(store: Store, call: Call) -> Json:
    """UpdateUsagePlan: all patches or none."""
    plan = store.plan(call.params[0])
    draft = _open(plan)
    for patch in wire.patches(call):
        _apply(store, draft, patch)
    changed = check_plan(_close(draft))
    other = store.member_clash(changed)
    if other is not None:
        raise errors.conflict(clash_message(changed, other))
    store.put_plan(changed)
    return plan_json(changed, tags=True)


def _open(plan: UsagePlan) -> _Draft:
    copy = replace(plan, stages={ref: dict(methods) for ref, methods in plan.stages.items()})
    quota = None
    if plan.quota is not None:
        quota = {"limit": str(plan.quota.limit), "period": plan.quota.period, "offset": str(plan.quota.offset)}
    return _Draft(copy, quota, _loose(plan.throttle))


def _close(draft: _Draft) -> UsagePlan:
    plan, quota = draft.plan, draft.quota
    plan.throttle = None if draft.throttle is None else _firm(draft.throttle)
    plan.quota = None
    if quota is not None:
        limit = _integer(quota["limit"]) if "limit" in quota else None
        plan.quota = make_quota(limit, quota.get("period", ""), _integer(quota.get("offset", "0")))
    for (ref, method), throttle in draft.methods.items():
        plan.stages[ref][method] = _firm(throttle)
    return plan


def _apply(store: Store, draft: _Draft, patch: Patch) -> None:
    if patch.path in _TEXTS:
        _patch_text(draft.plan, patch)
    elif patch.path == "/apiStages":
        _patch_stages(store, draft, patch)
    elif patch.path.startswith("/apiStages/"):
        _patch_method(draft, patch)
    elif patch.path in {"/quota", "/throttle"} and patch.op == "remove":
        setattr(draft, patch.path[1:], None)
    elif patch.path in {"/quota/limit", "/quota/offset", "/quota/period"} and patch.op in {"add", "replace"}:
        draft.quota = (draft.quota or {}) | {patch.path.rsplit("/", 1)[1]: patch.text}
    elif patch.path in {"/throttle/rateLimit", "/throttle/burstLimit"} and patch.op in {"add", "replace"}:
        draft.throttle = (draft.throttle or {}) | {patch.path.rsplit("/", 1)[1]: patch.text}
    else:
        raise wire.invalid_path(patch)


def _patch_text(plan: UsagePlan, patch: Patch) -> None:
    if patch.op not in {"add", "replace", "remove"} or (patch.path == "/name" and patch.op == "remove"):
        raise wire.invalid_path(patch)
    content = "" if patch.op == "remove" else patch.text
    if patch.path == "/name" and not content:
        raise errors.bad_request("Usage Plan name cannot be empty")
    setattr(plan, _TEXTS[patch.path], content)


def _patch_stages(store: Store, draft: _Draft, patch: Patch) -> None:
    if patch.op not in {"add", "remove"}:
        raise wire.invalid_path(patch)
    ref = check_stage(store, _reference(patch.text), draft.plan.id)
    if patch.op == "add":
        draft.plan.stages.setdefault(ref, {})
    elif draft.plan.stages.pop(ref, None) is None:
        raise errors.not_found(_INVALID_STAGE)
    else:
        draft.methods = {target: throttle for target, throttle in draft.methods.items() if target[0] != ref}


def _patch_method(draft: _Draft, patch: Patch) -> None:
    """Handle ``/apiStages/{apiId:stage}/throttle[/{path}/{METHOD}[/rateLimit|burstLimit]]``."""
    match = _STAGE_THROTTLE.fullmatch(patch.path)
    if match is None:
        raise wire.invalid_path(patch)
    ref = _reference(match["stage"])
    methods = draft.plan.stages.get(ref)
    if methods is None:
        raise errors.not_found(_INVALID_STAGE)
    method = "/" + (match["method"] or "").replace("~1", "/").removeprefix("/")
    if patch.op == "remove" and not match["limit"]:
        _remove_methods(draft, ref, method if match["method"] else None)
    elif patch.op in {"add", "replace"} and match["limit"]:
        target = (ref, method)
        loose = draft.methods.get(target) or _loose(methods.get(method)) or {}
        draft.methods[target] = loose | {match["limit"]: patch.text}
    else:
        raise wire.invalid_path(patch)


def _remove_methods(draft: _Draft, ref: StageRef, method: str | None) -> None:
    stage = draft.plan.stages[ref]
    draft.plan.stages[ref] = {name: value for name, value in stage.items() if method not in {None, name}}
    draft.methods = {target: value for target, value in draft.methods.items() if target[0] != ref or method not in {None, target[1]}}


def _reference(value: str) -> StageRef:
    api_id, colon, stage = value.partition(":")
    if not api_id or not colon or not stage or ":" in stage:
        raise errors.bad_request(_INVALID_STAGE)
    return api_id, stage


def _loose(throttle: Throttle | None) -> dict[str, str] | None:
    return None if throttle is None else {"rateLimit": str(throttle.rate), "burstLimit": str(throttle.burst)}


def _firm(loose: dict[str, str]) -> Throttle:
    return make_throttle(_number(loose.get("rateLimit", "0")), _integer(loose.get("burstLimit", "0")))


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise errors.bad_request(f"Invalid value '{text}' specified: not an integer") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise errors.bad_request(f"Invalid value '{text}' specified: not a number") from None
