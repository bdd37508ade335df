"""Operations on REST APIs, stages and the account: read only."""

from __future__ import annotations

from sandbox import errors
from sandbox.dataplane import METHODS
from sandbox.model import RestApi, Stage
from sandbox.store import Store
from sandbox.wire import Call, Json

ACCOUNT_RATE, ACCOUNT_BURST = 10_000, 5_000


def _api_json(api: RestApi) -> Json:
    return {
        "id": api.id,
        "name": api.name,
        "createdDate": api.created,
        "apiKeySource": "HEADER",
        "endpointConfiguration": {"types": ["REGIONAL"]},
        "tags": api.tags,
        "disableExecuteApiEndpoint": False,
        "rootResourceId": f"{api.id}root"[-10:],
    }


def _stage_json(stage: Stage) -> Json:
    return {
        "deploymentId": "sandbox",
        "stageName": stage.name,
        "cacheClusterEnabled": False,
        "cacheClusterStatus": "NOT_AVAILABLE",
        "methodSettings": {},
        "tracingEnabled": False,
        "tags": stage.tags,
        "createdDate": stage.created,
        "lastUpdatedDate": stage.created,
    }


def _api(store: Store, api_id: str) -> RestApi:
    api = store.apis.get(api_id)
    if api is None:
        raise errors.not_found("Invalid API identifier specified")
    return api


def get_apis(store: Store, call: Call) -> Json:
    """GetRestApis: all on one page; an account of the sandbox has a handful."""
    return {"item": [_api_json(api) for api in store.apis.values()]}


def get_api(store: Store, call: Call) -> Json:
    """GetRestApi."""
    return _api_json(_api(store, call.params[0]))


def get_resources(store: Store, call: Call) -> Json:
    """GetResources: all on one page, with their methods when ``embed`` asks for them."""
    api = _api(store, call.params[0])
    with_methods = call.parameter("embed") == "methods"
    return {"item": [_resource_json(api, path, with_methods=with_methods) for path in METHODS]}


def _resource_json(api: RestApi, path: str, *, with_methods: bool) -> Json:
    resource: Json = {"id": f"{api.id}{path[1:]}"[-10:], "parentId": f"{api.id}root"[-10:], "pathPart": path[1:], "path": path}
    if with_methods:
        resource["resourceMethods"] = {
            method: {"httpMethod": method, "authorizationType": "NONE", "apiKeyRequired": needs_key}
            for method, (needs_key, _body) in METHODS[path].items()
        }
    return resource


def get_stages(store: Store, call: Call) -> Json:
    """GetStages."""
    return {"item": [_stage_json(stage) for stage in _api(store, call.params[0]).stages.values()]}


def get_stage(store: Store, call: Call) -> Json:
    """GetStage."""
    api_id, name = call.params
    stage = _api(store, api_id).stages.get(name)
    if stage is None:
        raise errors.not_found("Invalid stage identifier specified")
    return _stage_json(stage)


def get_account(store: Store, call: Call) -> Json:
    """GetAccount."""
    return {
        "throttleSettings": {"burstLimit": ACCOUNT_BURST, "rateLimit": float(ACCOUNT_RATE)},
        "features": ["UsagePlans"],
        "apiKeyVersion": "4",
    }
