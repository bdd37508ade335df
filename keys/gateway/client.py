"""The only place that speaks boto3: thin typed functions, one a call.

One attempt a call: when to try again is decided by who calls, who knows what else waits. Every failure leaves as one of
``keys.gateway.errors``. A guard is asked before each call and told after it: it keeps the pace and the lease.
"""

import csv
import datetime as dt
import hashlib
import io
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

import boto3
import structlog
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from django.conf import settings

from keys.gateway.errors import GatewayError, Kind, NotFound, TryLater, no_whole_answer, sort_error
from keys.gateway.patches import Patch, plain
from keys.gateway.types import ImportRow, KeyUsage, Member, PlanSpec, RemoteKey, RemotePlan

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient

log = structlog.get_logger(__name__)
Read = TypeVar("Read")

PAGE = 500  # the largest page of every list (botocore, "The maximum number of returned results per page")
CONNECT_SECONDS = 5
# Ids have about ten characters, values at least twenty (API Gateway, CreateApiKey).
SHORTEST_VALUE = 20


class Guard(Protocol):
    """Who watches over the calls of one lease holder."""

    def before(self, operation: str) -> None:
        """Wait for the call's turn. Raises what forbids it."""

    def after(self, operation: str, error: GatewayError | None) -> None:
        """Note how the call ended."""


class GatewayClient:
    """The management API of one account and Region. Credentials and endpoint are boto3's own settings."""

    def __init__(self, region: str, guard: Guard) -> None:
        self._region = region
        self._guard = guard

    # --- Keys

    def import_keys(self, rows: Sequence[ImportRow]) -> None:
        """ImportApiKeys: make, enable and attach all of ``rows``, or none of them. An upsert by value: a repeat is harmless."""
        self._call("ImportApiKeys", lambda api: api.import_api_keys(body=_csv(rows), format="csv", failOnWarnings=True), keys=len(rows))

    def list_keys(self, name_prefix: str = "") -> list[RemoteKey]:
        """GetApiKeys, all pages. ``name_prefix`` is case-sensitive."""
        query: dict[str, Any] = {"nameQuery": name_prefix} if name_prefix else {}
        pages = self._pages("GetApiKeys", lambda api, page: api.get_api_keys(includeValues=False, **query, **page))
        return [_read(_key, item) for item in pages]

    def get_key(self, key_id: str) -> RemoteKey:
        """GetApiKey. Raises NotFound."""
        return _read(_key, self._call("GetApiKey", lambda api: api.get_api_key(apiKey=key_id, includeValue=False)))

    def update_key_enabled(self, key_id: str, *, enabled: bool) -> None:
        """UpdateApiKey. Raises NotFound."""
        patch: Any = [{"op": "replace", "path": "/enabled", "value": "true" if enabled else "false"}]
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

    # --- How a call is made

    def _was_there(self, operation: str, call: "Callable[[APIGatewayClient], object]") -> bool:
        try:
            self._call(operation, call)
        except NotFound:
            return False
        return True

    def _pages(self, operation: str, call: "Callable[[APIGatewayClient, Any], Any]") -> Iterator[dict[str, Any]]:
        for answer in self._answers(operation, call):
            yield from answer.get("items", [])

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
        self._guard.before(operation)
        endpoint = os.environ.get("AWS_ENDPOINT_URL_API_GATEWAY", "")
        started = time.monotonic()
        failure: GatewayError | None = None
        outcome = "interrupted"
        try:
            answer = cast("dict[str, Any]", call(_client(self._region, endpoint, settings.GATEWAY_TIMEOUT_SECONDS)))
            outcome = "ok"
            return answer
        except (ClientError, BotoCoreError, ResponseParserError) as error:
            failure = sort_error(error)
            outcome = str(failure.kind or "not_found")
            if failure.kind is Kind.REFUSED:
                _client.cache_clear()  # credentials that were given meanwhile are read by a new client
            raise failure from None  # the cause may hold headers
        finally:
            seconds = round(time.monotonic() - started, 3)
            log.info("gateway.call", operation=operation, outcome=outcome, seconds=seconds, region=self._region, **logged)
            self._guard.after(operation, failure)


@lru_cache(maxsize=32)
def _client(region: str, endpoint: str, timeout: int) -> "APIGatewayClient":
    """One boto3 client a Region and endpoint: making one costs a tenth of a second, and it keeps connections open."""
    config = Config(
        connect_timeout=min(CONNECT_SECONDS, timeout),
        read_timeout=timeout,
        retries={"total_max_attempts": 1, "mode": "standard"},
    )
    return boto3.session.Session().client("apigateway", region_name=region, endpoint_url=endpoint or None, config=config)


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


def _member(item: Any) -> Member:
    return Member(item["id"], item.get("name", ""))


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
