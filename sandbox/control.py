"""The control plane: from an HTTP request to an operation and back (REST-JSON, as boto3 speaks it)."""

from __future__ import annotations

import logging
import re
import uuid
from collections import Counter, deque
from collections.abc import Callable
from urllib.parse import parse_qs, unquote, unquote_to_bytes

from sandbox import errors
from sandbox.errors import ApiError
from sandbox.faults import Fault, Faults
from sandbox.http import DROPS, Drop, Request, Response, json_response
from sandbox.identity import Caller
from sandbox.limits import AccountLimits
from sandbox.operations import apis, imports, keys, members, plan_patch, plans, tags, usage
from sandbox.settings import Settings
from sandbox.store import Store
from sandbox.wire import Call, Json

log = logging.getLogger("sandbox.control")

Operation = Callable[[Store, Call], Json | None]

# (method, path with {} for parameters): name, function, status of success.
ROUTES: dict[tuple[str, str], tuple[str, Operation, int]] = {
    ("POST", "apikeys"): ("CreateApiKey", keys.create, 201),
    ("GET", "apikeys"): ("GetApiKeys", keys.get_many, 200),
    ("GET", "apikeys/{}"): ("GetApiKey", keys.get, 200),
    ("PATCH", "apikeys/{}"): ("UpdateApiKey", keys.update, 200),
    ("DELETE", "apikeys/{}"): ("DeleteApiKey", keys.delete, 202),
    ("POST", "usageplans"): ("CreateUsagePlan", plans.create, 201),
    ("GET", "usageplans"): ("GetUsagePlans", plans.get_many, 200),
    ("GET", "usageplans/{}"): ("GetUsagePlan", plans.get, 200),
    ("PATCH", "usageplans/{}"): ("UpdateUsagePlan", plan_patch.update, 200),
    ("DELETE", "usageplans/{}"): ("DeleteUsagePlan", plans.delete, 202),
    ("POST", "usageplans/{}/keys"): ("CreateUsagePlanKey", members.create, 201),
    ("GET", "usageplans/{}/keys"): ("GetUsagePlanKeys", members.get_many, 200),
    ("GET", "usageplans/{}/keys/{}"): ("GetUsagePlanKey", members.get, 200),
    ("DELETE", "usageplans/{}/keys/{}"): ("DeleteUsagePlanKey", members.delete, 202),
    ("GET", "usageplans/{}/usage"): ("GetUsage", usage.get, 200),
    ("PATCH", "usageplans/{}/keys/{}/usage"): ("UpdateUsage", usage.update, 200),
    ("PUT", "tags/{}"): ("TagResource", tags.tag, 204),
    ("DELETE", "tags/{}"): ("UntagResource", tags.untag, 204),
    ("GET", "tags/{}"): ("GetTags", tags.get, 200),
    ("GET", "restapis"): ("GetRestApis", apis.get_apis, 200),
    ("GET", "restapis/{}"): ("GetRestApi", apis.get_api, 200),
    ("GET", "restapis/{}/resources"): ("GetResources", apis.get_resources, 200),
    ("GET", "restapis/{}/stages"): ("GetStages", apis.get_stages, 200),
    ("GET", "restapis/{}/stages/{}"): ("GetStage", apis.get_stage, 200),
    ("GET", "account"): ("GetAccount", apis.get_account, 200),
}
IMPORT: tuple[str, Operation, int] = ("ImportApiKeys", imports.import_keys, 201)

# Calls of which the time is kept.
MOST_RECENT = 10_000

_SIGNATURE = re.compile(
    r"AWS4-HMAC-SHA256 Credential=[^/,\s]+/\d{8}/[a-z0-9-]+/apigateway/aws4_request,\s*"
    r"SignedHeaders=[^,\s]+,\s*Signature=[0-9a-f]{64}"
)


class ControlPlane:
    """Answers the management API for one store."""

    def __init__(self, store: Store, settings: Settings, faults: Faults) -> None:
        self.store = store
        self.settings = settings
        self.faults = faults
        self.limits = AccountLimits(store.clock)
        self.calls: Counter[str] = Counter()
        self.throttled: Counter[str] = Counter()
        # The last calls, answered or not: when by the sandbox's clock, and which operation.
        self.recent: deque[tuple[float, str]] = deque(maxlen=MOST_RECENT)
        self._attaching = False

    def handle(self, request: Request, caller: Caller | None = None) -> Response:
        """Answer a request; never raises. Without a caller nobody looks whether it is allowed."""
        try:
            response = self._dispatch(request, caller)
        except ApiError as error:
            response = error_response(error)
        except Exception as error:  # noqa: BLE001 - a defect of the sandbox is answered as AWS's own failures are
            report_defect(error)
            response = error_response(ApiError(500, "InternalServerErrorException", "Internal server error"))
        response.headers["x-amzn-RequestId"] = str(uuid.uuid4())
        return response

    def _dispatch(self, request: Request, caller: Caller | None) -> Response:
        _check_signature(request)
        path, _, query_text = request.target.partition("?")
        query = parse_qs(query_text, keep_blank_values=True)
        segments = path.strip("/").split("/")
        shape = "/".join("{}" if index % 2 else segment for index, segment in enumerate(segments))
        found = ROUTES.get((request.method, shape))
        if found is None:
            raise errors.missing_authentication_token()
        if found[0] == "CreateApiKey" and "mode" in query:
            found = IMPORT
        if caller is not None:
            caller.may(found[0], request.method, "/".join(segments))
        call = Call(tuple(_parameter(each) for each in segments[1::2]), query, request.body)
        return self._run(*found, call)

    def _run(self, name: str, function: Operation, status: int, call: Call) -> Response:
        self.calls[name] += 1
        self.recent.append((self.store.clock.now(), name))
        hitting = self.faults.hitting(name)
        delay = self.settings.latency + sum(fault.seconds for fault in hitting if fault.kind == "latency")
        try:
            drop = self._before(name, hitting, call)
            if drop is not None:
                return Response(0, drop=drop, delay=delay)
            body = function(self.store, call)
        except ApiError as error:
            if error.code == "TooManyRequestsException":
                self.throttled[name] += 1
            response = error_response(error)
            response.delay = delay
            return response
        response = Response(status) if body is None else json_response(status, body)
        response.delay = delay
        response.drop = next((DROPS[fault.kind] for fault in hitting if fault.kind in {"reset", "timeout"}), None)
        self._hold_attachment(name, response)
        return response

    def _before(self, name: str, hitting: list[Fault], call: Call) -> Drop | None:
        """Raise or return what happens instead of the work."""
        if self.settings.aws_limits and not self.limits.allow(name):
            raise errors.too_many_requests()
        for fault in hitting:
            error = fault.error()
            if error is not None:
                raise error
            if fault.kind in {"reset", "timeout"} and not fault.works:
                return DROPS[fault.kind]
            if fault.kind == "truncate":
                call.page_cap = fault.size
        if name == "CreateUsagePlanKey" and self._attaching:
            raise errors.conflict(errors.CONCURRENT_MODIFICATION)
        return None

    def _hold_attachment(self, name: str, response: Response) -> None:
        """AWS attaches one key at a time: while one attachment is being answered, others conflict."""
        if name == "CreateUsagePlanKey" and self.settings.aws_limits:
            self._attaching = True
            response.delay += self.settings.attach_seconds
            response.done = self._end_attachment

    def _end_attachment(self) -> None:
        self._attaching = False

    def reset(self) -> None:
        """Forget calls, rates and what is under way."""
        self.calls.clear()
        self.throttled.clear()
        self.recent.clear()
        self.limits.reset()
        self._attaching = False


def _check_signature(request: Request) -> None:
    """Raise 403 unless the request is signed: the shape is checked, not the signature."""
    header = request.headers.get("authorization", "")
    if not header:
        raise errors.missing_authentication_token()
    if _SIGNATURE.fullmatch(header.strip()) is None:
        raise ApiError(403, "IncompleteSignatureException", "The Authorization header is not a complete signature")


def _parameter(segment: str) -> str:
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise errors.bad_request(f"The path is not UTF-8: {unquote(segment)}") from None


def error_response(error: ApiError) -> Response:
    """Return an error as API Gateway writes it."""
    return json_response(error.status, {"message": error.message}, **{"x-amzn-ErrorType": error.code})


def report_defect(error: BaseException) -> None:
    """Log an exception that should not have come: its type and place, not its text, which may hold a key value."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "?" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
    log.error("%s at %s", type(error).__name__, place)
