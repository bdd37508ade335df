"""What surrounds every request: its id and its line in the log, the headers of its answer, and a calm 503 for what is down."""

import re
import time
import uuid
from collections.abc import Callable

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from portal.unavailable import is_unavailable
from portal.views import errors

logger = structlog.get_logger("portal.requests")

GetResponse = Callable[[HttpRequest], HttpResponseBase]

WELL_FORMED_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
# Asked every few seconds by load balancers: told at DEBUG only, as static files are.
QUIET_PATHS = ("/healthz", "/readyz", "/metrics")


class RequestLogMiddleware:
    """Gives each request an id and one line in the log. Stands outermost, so that every answer bears the id.

    A well-formed X-Request-Id that comes in is kept (it says which lines belong together and grants nothing); the answer
    carries it out, and tasks that the request starts inherit it.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        given = request.headers.get("X-Request-Id", "")
        request_id = given if WELL_FORMED_ID.fullmatch(given) else str(uuid.uuid4())
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            response = self.get_response(request)
            response.headers["X-Request-Id"] = request_id
            _log(request, response, milliseconds=(time.perf_counter() - started) * 1000)
        # Django would write a second line for 4xx and 5xx, outside of everything and so without the id.
        response._has_been_logged = True  # type: ignore[attr-defined]  # Django's own mark, which the stubs do not know
        return response


def _log(request: HttpRequest, response: HttpResponseBase, *, milliseconds: float) -> None:
    quiet = request.path in QUIET_PATHS or request.path.startswith(settings.STATIC_URL)
    log = logger.debug if quiet and response.status_code < 500 else logger.info
    # Of the REST API: the token's id (never the token), or the session's person.
    caller = {"caller": request.api_caller} if hasattr(request, "api_caller") else {}
    log(
        "request",
        method=request.method,
        path=request.path,
        status=response.status_code,
        ms=round(milliseconds, 1),
        user_id=_known_user_id(request),
        **caller,
    )


def _known_user_id(request: HttpRequest) -> str | None:
    """The signed-in person, when the request looked; asking here would cost a query."""
    user = getattr(request, "_cached_user", None)
    return str(user.pk) if user is not None and user.is_authenticated else None


class SecurityHeadersMiddleware:
    """Headers that Django has no setting for, and ``no-store`` on whatever belongs to one person.

    A page is personal when the browser sent or got a session, and everything under /accounts/, /staff/ and /_mail/ is (links
    with secrets in their path lead there), and what the REST API answers.
    """

    PERMISSIONS = ", ".join(
        f"{feature}=()"
        for feature in ("accelerometer", "camera", "display-capture", "geolocation", "gyroscope", "microphone", "payment", "usb")
    )
    PRIVATE_PATHS = ("/accounts/", "/staff/", "/_mail/", "/api/v1/")

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response.headers.setdefault("Permissions-Policy", self.PERMISSIONS)
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        if self._is_personal(request, response) and "no-store" not in response.headers.get("Cache-Control", ""):
            response.headers["Cache-Control"] = "no-store, private"
        return response

    def _is_personal(self, request: HttpRequest, response: HttpResponseBase) -> bool:
        cookie = settings.SESSION_COOKIE_NAME
        return cookie in request.COOKIES or cookie in response.cookies or request.path.startswith(self.PRIVATE_PATHS)


class UnavailableMiddleware:
    """Turns "the database is down" and "the cache is down" into the 503 page with Retry-After.

    This is what keeps guarded actions shut while the rate limits cannot count: the limit is asked first, fails, and the action
    never runs. Stands innermost, so that it is asked first about an exception of a view.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        if not is_unavailable(exception):
            return None
        logger.error("dependency.unavailable", path=request.path, error=type(exception).__name__)
        return errors.unavailable(request)
