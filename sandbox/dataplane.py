"""The data plane: what a tenant's request to a stage gets, and the access-log line about it.

Order (AWS documents the parts; the order between quota and account rate is a choice): method, key, the key's bucket in
its usage plan, the account's bucket, quota. Throttled and refused calls use up no quota (choice).
"""

from __future__ import annotations

import json
import secrets
from email.utils import formatdate
from http import HTTPStatus
from urllib.parse import unquote

from sandbox.access_log import Log
from sandbox.bucket import TokenBucket
from sandbox.clock import Clock
from sandbox.errors import ApiError
from sandbox.faults import INVOKE, Faults
from sandbox.http import DROPS, Response
from sandbox.model import StageRef
from sandbox.settings import Settings
from sandbox.store import Store
from sandbox.view import Grant, View

PREFIX = "/_aws/execute-api/"
ROUTES_KEPT = 1_000
GROCERIES = [
    {"id": 1, "name": "apples", "price": 2.49},
    {"id": 2, "name": "bread", "price": 3.2},
    {"id": 3, "name": "milk", "price": 1.15},
]
# resource path -> method -> (needs a key, body). Every API of the sandbox is this one.
METHODS: dict[str, dict[str, tuple[bool, object]]] = {
    "/api": {"GET": (True, GROCERIES)},
    "/health": {"GET": (False, {"status": "ok"})},
}
_CORS = "Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: x-amzn-RequestId,x-amzn-ErrorType,x-amz-apigw-id,Date\r\n"
_CORS_PREFLIGHT = (
    "Access-Control-Allow-Headers: Content-Type,X-Amz-Date,Authorization,X-Api-Key,X-Amz-Security-Token\r\n"
    "Access-Control-Allow-Methods: GET,OPTIONS\r\n"
    "Access-Control-Max-Age: 600\r\n"
)
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class Answer:
    """An answer that differs only in its ids and date: everything else is rendered once."""

    __slots__ = ("body", "error", "head", "length", "response_type", "status")

    def __init__(self, status: int, body: object, *, error: str = "", response_type: str = "-", more: str = "") -> None:
        self.status = status
        self.error = error
        self.response_type = response_type
        self.body = "" if body is None else json.dumps(body, separators=(",", ":"))
        self.length = len(self.body)
        kind = f"x-amzn-ErrorType: {error}\r\n" if error else ""
        about = f"Content-Type: application/json\r\nContent-Length: {self.length}\r\n" if self.body else ""
        self.head = f"{about}{kind}{_CORS}{more}"


FORBIDDEN = Answer(403, {"message": "Forbidden"}, error="ForbiddenException", response_type="INVALID_API_KEY")
NO_SUCH_STAGE = Answer(403, {"message": "Forbidden"}, error="ForbiddenException")
NO_SUCH_METHOD = Answer(
    403,
    {"message": "Missing Authentication Token"},
    error="MissingAuthenticationTokenException",
    response_type="MISSING_AUTHENTICATION_TOKEN",
)
THROTTLED = Answer(429, {"message": "Too Many Requests"}, error="TooManyRequestsException", response_type="THROTTLED")
QUOTA_EXCEEDED = Answer(429, {"message": "Limit Exceeded"}, error="LimitExceededException", response_type="QUOTA_EXCEEDED")
PREFLIGHT = Answer(204, None, more=_CORS_PREFLIGHT)


class Route:
    """A method of a stage, resolved from a URL once. ``answer`` is what it gives when nothing is in the way."""

    __slots__ = ("answer", "api_id", "grants", "method", "method_name", "needs_key", "resource", "stage", "stage_name")

    def __init__(self, stage: StageRef, method: str, resource: str, answer: Answer, grants: dict[str, Grant], *, needs_key: bool) -> None:
        self.stage = stage
        self.api_id, self.stage_name = stage
        self.method = method
        self.resource = resource
        self.method_name = f"{resource}/{method}" if resource != "/" else f"//{method}"
        self.answer = answer
        self.grants = grants
        self.needs_key = needs_key


class DataPlane:
    """Answers tenants' requests."""

    def __init__(self, store: Store, view: View, settings: Settings, faults: Faults, log: Log) -> None:
        self.store = store
        self.view = view
        self.clock: Clock = store.clock
        self.settings = settings
        self.faults = faults
        self.log = log
        self.served = 0
        self.throttled = 0
        self._routes: dict[tuple[str, str], Route] = {}
        self._account = TokenBucket(settings.account_rate, settings.account_burst, self.clock.now())
        # Request ids are a random prefix of this run and a number: as unique as random ones, and cheap.
        head = secrets.token_hex(10)
        self._id_head = f"{head[:8]}-{head[8:12]}-4{head[12:15]}-a{head[15:18]}-"
        self._extended_head = secrets.token_urlsafe(16).replace("-", "A").replace("_", "B")[:7]
        self._number = 0
        self._date = (0, "")

    # The path of every request

    def answer(self, method: str, target: str, api_key: str | None, ip: str) -> bytes:
        """Return the whole HTTP answer to a request that no fault hits."""
        now = self.clock.now()
        route = self._routes.get((method, target)) or self._route(method, target)
        grant = None
        if route.needs_key:
            answer, grant = self._check(route, api_key, now)
        else:
            answer = route.answer if self._account_allows(now) else THROTTLED
        return self._finish(route, answer, grant.key_id if grant else "-", ip, now)

    def _check(self, route: Route, api_key: str | None, now: float) -> tuple[Answer, Grant | None]:
        view = self.view
        if view.pending:
            view.catch_up(now)
        if not api_key:
            return FORBIDDEN, None
        grant = route.grants.get(api_key) or view.resolve(api_key, route.stage, now)
        if grant is None:
            return FORBIDDEN, None
        # A throttle of the method takes the place of the plan's (choice).
        bucket = grant.methods.get(route.method_name) or grant.bucket if grant.methods else grant.bucket
        if (bucket is not None and not bucket.take(now)) or not self._account_allows(now):
            return THROTTLED, grant
        counter = grant.counter
        if not counter.take(now):
            return QUOTA_EXCEEDED, grant
        if self.settings.usage_lag:
            counter.note(now)
        return route.answer, grant

    def _account_allows(self, now: float) -> bool:
        return not self.settings.account_rate or self._account.take(now)

    def _finish(self, route: Route, answer: Answer, key_id: str, ip: str, now: float) -> bytes:
        """Count, log and render."""
        self.served += 1
        if answer.status == 429:
            self.throttled += 1
        self._number = number = self._number + 1
        request_id = f"{self._id_head}{number:012x}"
        extended_id = f"{self._extended_head}{number:08x}="
        if route.answer is not NO_SUCH_STAGE:
            self.log.write(_log_line(route, answer, (request_id, extended_id, key_id, ip), now), now)
        return (
            f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}\r\nDate: {self._http_date(now)}\r\n{answer.head}"
            f"x-amzn-RequestId: {request_id}\r\nx-amz-apigw-id: {extended_id}\r\n\r\n{answer.body}"
        ).encode()

    # Everything else

    def answer_faulty(self, method: str, target: str, api_key: str | None, ip: str) -> Response:
        """Answer a request while faults for ``Invoke`` are on."""
        hitting = self.faults.hitting(INVOKE)
        delay = sum(fault.seconds for fault in hitting if fault.kind == "latency")
        drop = next((fault for fault in hitting if fault.kind in {"reset", "timeout"}), None)
        if drop is not None and not drop.works:
            return Response(0, drop=DROPS[drop.kind], delay=delay)
        error = next(filter(None, (fault.error() for fault in hitting)), None)
        if error is None:
            raw = self.answer(method, target, api_key, ip)
        else:
            answer = _fault_answer(error)
            route = self._routes.get((method, target)) or self._route(method, target)
            raw = self._finish(route, answer, "-", ip, self.clock.now())
        return Response(200, raw=raw, delay=delay, drop=DROPS[drop.kind] if drop else None)

    def _route(self, method: str, target: str) -> Route:
        """Resolve a URL; what was found is kept, what was not is not (there is no end to wrong URLs)."""
        path = target.partition("?")[0]
        api_id, _, rest = path.removeprefix(PREFIX).partition("/")
        stage_name, slash, resource = rest.partition("/")
        stage = (unquote(api_id), unquote(stage_name))
        if not self.store.has_stage(stage):
            return Route(("-", "-"), method, "-", NO_SUCH_STAGE, {}, needs_key=False)
        methods = METHODS.get(slash + unquote(resource), {})
        if method == "OPTIONS" and methods:
            route = Route(stage, method, slash + resource, PREFLIGHT, {}, needs_key=False)
        elif method in methods:
            needs_key, body = methods[method]
            grants = self.view.grants(stage)
            route = Route(stage, method, slash + unquote(resource), Answer(200, body), grants, needs_key=needs_key)
        else:
            return Route(stage, method, "-", NO_SUCH_METHOD, {}, needs_key=False)
        if len(self._routes) < ROUTES_KEPT and path == target:
            self._routes[method, target] = route
        return route

    def reset(self) -> None:
        """Start the counts and the account's bucket anew."""
        self.served = self.throttled = 0
        self._account = TokenBucket(self.settings.account_rate, self.settings.account_burst, self.clock.now())

    def _http_date(self, now: float) -> str:
        second = int(now)
        if self._date[0] != second:
            self._date = (second, formatdate(second, usegmt=True))
        return self._date[1]


def _fault_answer(error: ApiError) -> Answer:
    kind = "DEFAULT_5XX" if error.status >= 500 else "DEFAULT_4XX"
    if error.code == THROTTLED.error:
        kind = THROTTLED.response_type
    return Answer(error.status, {"message": error.message}, error=error.code, response_type=kind)


def _log_line(route: Route, answer: Answer, ids: tuple[str, str, str, str], now: float) -> str:
    """Return the access-log line, in the format that a stage is configured with in production.

    What is absent is "-", so everything is quoted. ``ids`` are of the request, the extended one, of the key (its value
    is never logged), and the caller's address. Latencies are what AWS would count in milliseconds: at least one.
    """
    reached = answer is route.answer and answer.status < 400
    return (
        f'{{"requestId":"{ids[0]}","extendedRequestId":"{ids[1]}","apiId":"{route.api_id}",'
        f'"stage":"{route.stage_name}","ts":"{int(now * 1000)}","apiKeyId":"{ids[2]}","principalId":"-",'
        f'"tenantId":"-","method":"{route.method}","resource":"{route.resource}","status":"{answer.status}",'
        f'"error":"{answer.response_type}","latencyMs":"1",'
        f'"integrationMs":"{1 if reached else "-"}","bytes":"{answer.length}","ip":"{ids[3]}"}}\n'
    )
