"""The only place that speaks boto3: thin typed functions, one a call.

One attempt a call: when to try again is decided by who calls, or by the guard, who know what else waits. Every failure leaves as one of
``keys.gateway.errors``. A guard is asked before each call and told after it: it keeps the pace and the lease.
"""

import csv
import datetime as dt
import hashlib
import io
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

import structlog
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from django.conf import settings

from keys.gateway.access import Access, client_for, forget
from keys.gateway.errors import GatewayError, Kind, NotFound, Permanent, TryLater, no_whole_answer, sort_error
from keys.gateway.patches import Patch, plain
from keys.gateway.probes import Probe
from keys.gateway.types import ImportRow, KeyUsage, Member, PlanSpec, RemoteKey, RemoteMethod, RemotePlan, ValuedKey
from keys.rates import PAGE

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient

log = structlog.get_logger(__name__)
Read = TypeVar("Read")

# Ids have about ten characters, values at least twenty (API Gateway, CreateApiKey).
SHORTEST_VALUE = 20
_INTERRUPTED = "interrupted"


class Guard(Protocol):
    """Who watches over the calls of one lease holder."""

    def before(self, operation: str) -> None:
        """Wait for the call's turn. Raises what forbids it."""

    def still(self) -> None:
        """Called after ``before`` where time passed until the call can be sent. Raises what forbids it by now."""

    def after(self, operation: str, error: GatewayError | None) -> bool | None:
        """Note how the call ended; True: it was refused unworked, and is to be made again. Not called where an exception of somebody else's
        broke the call off."""


class GatewayClient:
    """The management API of one account and Region. The workers' own credentials and the endpoint are boto3's own settings."""

    def __init__(self, access: Access, guard: Guard) -> None:
        self._access = access
        self._guard = guard

    # --- Keys

    def import_keys(self, rows: Sequence[ImportRow]) -> None:
        """ImportApiKeys: make, enable and attach all of ``rows``, or none of them. An upsert by value: a repeat is harmless."""
        self._call("ImportApiKeys", lambda api: api.import_api_keys(body=_csv(rows), format="csv", failOnWarnings=True), keys=len(rows))

    def create_key(self, name: str, value: str, *, enabled: bool) -> RemoteKey:
        """CreateApiKey. A value that is there already is refused as a DUPLICATE."""
        return _read(
            _key,
            self._call("CreateApiKey", lambda api: api.create_api_key(name=name, value=value, enabled=enabled)),
        )

    def list_keys(self, name_prefix: str = "") -> list[RemoteKey]:
        """GetApiKeys, all pages. ``name_prefix`` is case-sensitive."""
        query: dict[str, Any] = {"nameQuery": name_prefix} if name_prefix else {}
        pages = self._pages("GetApiKeys", lambda api, page: api.get_api_keys(includeValues=False, **query, **page))
        return [_read(_key, item) for item in pages]

    def list_keys_with_values(self) -> list[ValuedKey]:
        """GetApiKeys with their values, all pages: for keys that somebody else made and that are taken over."""
        pages = self._pages("GetApiKeys", lambda api, page: api.get_api_keys(includeValues=True, **page))
        return [_read(_valued_key, item) for item in pages]

    def get_key(self, key_id: str) -> RemoteKey:
        """GetApiKey. Raises NotFound."""
        return _read(_key, self._call("GetApiKey", lambda api: api.get_api_key(apiKey=key_id, includeValue=False)))

    def update_key_enabled(self, key_id: str, *, enabled: bool) -> None:
        """UpdateApiKey. Raises NotFound."""
        patch: Any = [{"op": "replace", "path": "/enabled", "value": "true" if enabled else "false"}]
        self._call("UpdateApiKey", lambda api: api.update_api_key(apiKey=key_id, patchOperations=patch))

    def rename_key(self, key_id: str, name: str) -> None:
        """UpdateApiKey: nothing but its name. Raises NotFound."""
        patch: Any = [{"op": "replace", "path": "/name", "value": name}]
        self._call("UpdateApiKey", lambda api: api.update_api_key(apiKey=key_id, patchOperations=patch))

    def delete_key(self, key_id: str) -> bool:
        """DeleteApiKey: it leaves its usage plans too. False when it was gone already."""
        return self._was_there("DeleteApiKey", lambda api: api.delete_api_key(apiKey=key_id))

    # --- Usage plans

    def list_plans(self, key_id: str = "") -> list[RemotePlan]:
        """GetUsagePlans, all pages: all of them, or those that a key is in."""
        query: dict[str, Any] = {"keyId": key_id} if key_id else {}
        pages = self._pages("GetUsagePlans", lambda api, page: api.get_usage_plans(**query, **page))
        return [_read(_plan, item) for item in pages]

    def get_plan(self, plan_id: str) -> RemotePlan:
        """GetUsagePlan. Raises NotFound."""
        return _read(_plan, self._call("GetUsagePlan", lambda api: api.get_usage_plan(usagePlanId=plan_id)))

    def create_plan(self, spec: PlanSpec) -> RemotePlan:
        """CreateUsagePlan. Not safe to repeat by itself: look for the name first."""
        request: Any = {"name": spec.name, "apiStages": [_stage(stage) for stage in sorted(spec.stages)]}
        if spec.rate is not None and spec.burst is not None:
            request["throttle"] = {"rateLimit": float(spec.rate), "burstLimit": spec.burst}
        if spec.quota_limit is not None:
            request["quota"] = {"limit": spec.quota_limit, "offset": 0, "period": spec.quota_period}
        return _read(_plan, self._call("CreateUsagePlan", lambda api: api.create_usage_plan(**request)))

    def update_plan(self, plan_id: str, patches: Sequence[Patch]) -> RemotePlan:
        """UpdateUsagePlan. Raises NotFound."""
        operations: Any = [
            {"op": patch.op, "path": patch.path, **({} if patch.value is None else {"value": patch.value})} for patch in patches
        ]
        return _read(
            _plan, self._call("UpdateUsagePlan", lambda api: api.update_usage_plan(usagePlanId=plan_id, patchOperations=operations))
        )

    # --- Keys of a usage plan

    def list_plan_members(self, plan_id: str, name_prefix: str = "") -> list[Member]:
        """GetUsagePlanKeys, all pages. A plan that does not exist has no members (so AWS answers)."""
        query: dict[str, Any] = {"nameQuery": name_prefix} if name_prefix else {}
        pages = self._pages("GetUsagePlanKeys", lambda api, page: api.get_usage_plan_keys(usagePlanId=plan_id, **query, **page))
        return [_read(_member, item) for item in pages]

    def attach(self, plan_id: str, key_id: str) -> None:
        """CreateUsagePlanKey. Raises NotFound."""
        self._call("CreateUsagePlanKey", lambda api: api.create_usage_plan_key(usagePlanId=plan_id, keyId=key_id, keyType="API_KEY"))

    def detach(self, plan_id: str, key_id: str) -> bool:
        """DeleteUsagePlanKey. False when the key was not in the plan."""
        return self._was_there("DeleteUsagePlanKey", lambda api: api.delete_usage_plan_key(usagePlanId=plan_id, keyId=key_id))

    # --- Usage

    def get_usage(self, plan_id: str, start: dt.date, end: dt.date) -> list[KeyUsage]:
        """GetUsage from ``start`` to ``end`` (UTC days, both included, at most 90), all keys of the plan, all pages."""
        dates: dict[str, Any] = {"startDate": start.isoformat(), "endDate": end.isoformat()}
        usage = []
        for answer in self._answers("GetUsage", lambda api, page: api.get_usage(usagePlanId=plan_id, **dates, **page)):
            usage += [_read(lambda item: _usage(item[0], item[1], start), item) for item in answer.get("items", {}).items()]
        return usage

    # --- Before a gateway is made use of

    def is_allowed(self, probe: Probe) -> bool:
        """Whether the credentials may do what the probe asks; it changes nothing. Raises GatewayError when that cannot be told now."""
        try:
            self._call(probe.operation, probe.call)
        except (NotFound, Permanent):
            pass
        except TryLater as error:
            if error.kind not in {Kind.FORBIDDEN, Kind.FULL, Kind.CONFLICT}:
                raise
            return error.kind is not Kind.FORBIDDEN
        return True

    def list_stages(self, rest_api_id: str) -> list[str]:
        """GetStages: the names of an API's deployed stages. Raises NotFound."""
        answer = self._call("GetStages", lambda api: api.get_stages(restApiId=rest_api_id))
        return [_read(lambda item: str(item["stageName"]), item) for item in answer.get("item", [])]

    def list_methods(self, rest_api_id: str) -> list[RemoteMethod]:
        """GetResources with their methods, all pages: as the API is now, which a stage may not serve yet. Raises NotFound."""
        pages = self._pages("GetResources", lambda api, page: api.get_resources(restApiId=rest_api_id, embed=["methods"], **page))
        return [method for item in pages for method in _read(_methods, item)]

    # --- How a call is made

    def _was_there(self, operation: str, call: "Callable[[APIGatewayClient], object]") -> bool:
        try:
            self._call(operation, call)
        except NotFound:
            return False
        return True

    def _pages(self, operation: str, call: "Callable[[APIGatewayClient, Any], Any]") -> Iterator[dict[str, Any]]:
        for answer in self._answers(operation, call):
            # botocore takes a body that is no JSON for an answer without anything in it; an empty list has its items too.
            if "items" not in answer:
                raise TryLater(no_whole_answer(), Kind.UNKNOWN)
            yield from answer["items"]

    def _answers(self, operation: str, call: "Callable[[APIGatewayClient, Any], Any]") -> Iterator[dict[str, Any]]:
        page: dict[str, Any] = {"limit": PAGE}
        seen = set()
        while True:
            answer = self._call(operation, lambda api, page=page: call(api, page))  # type: ignore[misc]
            yield answer
            position = answer.get("position")
            if not position:
                return
            if position in seen:
                raise TryLater("API Gateway gave the same page twice. The list is read again later.", Kind.UNKNOWN)
            seen.add(position)
            page = {"limit": PAGE, "position": position}

    def _call(self, operation: str, call: "Callable[[APIGatewayClient], Any]", **logged: object) -> dict[str, Any]:
        while True:
            self._guard.before(operation)
            api = self._api(operation)
            if api is None:
                continue
            started = time.monotonic()
            failure: GatewayError | None = None
            outcome = _INTERRUPTED
            try:
                answer = cast("dict[str, Any]", call(api))
                outcome = "ok"
                return answer
            except (ClientError, BotoCoreError, ResponseParserError) as error:
                failure = sort_error(error)
                outcome = str(failure.kind or "not_found")
                if failure.kind is Kind.REFUSED:
                    forget(self._access)  # credentials that were given meanwhile are read by a new client
            except (AttributeError, LookupError, TypeError, ValueError):
                # JSON of another shape than the operation's: botocore's parser trips over it.
                failure = TryLater(no_whole_answer(), Kind.UNKNOWN)
                outcome = str(failure.kind)
            finally:
                seconds = round(time.monotonic() - started, 3)
                log.info("gateway.call", operation=operation, outcome=outcome, seconds=seconds, region=self._access.region, **logged)
                # How an interrupted call ended is not known: it says nothing good of the gateway, and nothing bad.
                again = outcome != _INTERRUPTED and self._guard.after(operation, failure)
            if not again:
                raise failure  # not from its cause, which may hold headers

    def _api(self, operation: str) -> "APIGatewayClient | None":
        """The boto3 client; None when the guard says that the call is to be made again. Raises GatewayError."""
        try:
            api = client_for(self._access, settings.GATEWAY_TIMEOUT_SECONDS)
        except GatewayError as failure:
            log.info("gateway.access", operation=operation, outcome=str(failure.kind), region=self._access.region)
            if not self._guard.after(operation, failure):
                raise
            return None
        self._guard.still()
        return api


def _csv(rows: Iterable[ImportRow]) -> bytes:
    """The file of developer guide, "API Gateway API key file format", every field quoted."""
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(["Name", "Key", "Description", "Enabled", "UsagePlanIds"])
    for row in rows:
        writer.writerow([row.name, row.value, "", "TRUE" if row.enabled else "FALSE", row.plan_id])
    return text.getvalue().encode()


def _read(parse: Callable[[Any], Read], item: Any) -> Read:
    """An item as a value of ours. An answer without what API Gateway always sends is a broken one."""
    try:
        return parse(item)
    except (KeyError, TypeError, ValueError, ArithmeticError):
        raise TryLater(no_whole_answer(), Kind.UNKNOWN) from None


def _key(item: Any) -> RemoteKey:
    return RemoteKey(item["id"], item.get("name", ""), item.get("enabled", False))


def _valued_key(item: Any) -> ValuedKey:
    return ValuedKey(item["id"], item.get("name", ""), item.get("enabled", False), item["value"])


def _member(item: Any) -> Member:
    return Member(item["id"], item.get("name", ""))


def _methods(item: Any) -> list[RemoteMethod]:
    return [
        RemoteMethod(item["path"], name, needs_key=bool(method.get("apiKeyRequired")))
        for name, method in item.get("resourceMethods", {}).items()
    ]


def _plan(item: Any) -> RemotePlan:
    throttle, quota = item.get("throttle") or {}, item.get("quota") or {}
    stages = frozenset(f"{stage['apiId']}:{stage['stage']}" for stage in item.get("apiStages", []))
    rate = throttle.get("rateLimit")
    spec = PlanSpec(
        name=item.get("name", ""),
        rate=None if rate is None else Decimal(plain(Decimal(str(rate)))),
        burst=throttle.get("burstLimit"),
        quota_limit=quota.get("limit"),
        quota_period=quota.get("period", ""),
        stages=stages,
    )
    return RemotePlan(item["id"], spec)


def _stage(stage: str) -> dict[str, str]:
    api_id, _, name = stage.partition(":")
    return {"apiId": api_id, "stage": name}


def _usage(key: str, days: Sequence[Sequence[int]], start: dt.date) -> KeyUsage:
    """One pair a day from ``start``. A day in another form (AWS was seen to write idle days otherwise) counts as no calls."""
    pairs = [(int(day[0]), int(day[1])) if len(day) >= 2 else (0, 0) for day in days]
    dated = tuple((start + dt.timedelta(days=index), used, left) for index, (used, left) in enumerate(pairs))
    if len(key) < SHORTEST_VALUE:
        return KeyUsage(key, "", dated)
    return KeyUsage("", hashlib.sha256(key.encode()).hexdigest(), dated)
