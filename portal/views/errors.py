"""Error pages. 400, 500 and 503 are drawn without user, database or session: those may be what is broken."""

import math
import sys

import structlog
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext as _

from portal.unavailable import is_unavailable
from tenants.api.problems import plain_response
from tenants.current import Refused
from tenants.ratelimits import TooManyTries

RETRY_AFTER_SECONDS = 30
SECONDS_COUNTED_SINGLY = 90  # a longer wait is told in minutes


API_PATH = "/api/v1/"


def _is_api(request: HttpRequest) -> bool:
    """Scripts get problem documents, never HTML."""
    return f"{request.path}/".startswith(API_PATH)


def _still_page(template: str, status: int) -> HttpResponse:
    """A page of ``base_static.html``; the request id is what a person can name to support."""
    request_id = structlog.contextvars.get_contextvars().get("request_id", "")
    return HttpResponse(render_to_string(template, {"request_id": request_id}), status=status)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return plain_response("bad-request") if _is_api(request) else _still_page("400.html", 400)


def permission_denied(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """403; or 429 where what was refused is one try too many. Only reasons of ours are shown."""
    if isinstance(exception, PermissionDenied) and isinstance(exception, TooManyTries):
        return ratelimited(request, exception)
    if _is_api(request):
        return plain_response("forbidden")
    reason = str(exception) if isinstance(exception, Refused) else ""
    return render(request, "403.html", {"reason": reason}, status=403)


def page_not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    if not _is_api(request):
        return render(request, "404.html", status=404)
    # No endpoint was reached: the path is wrong, whoever asks.
    text = _("There is no such URL. Compare it with %(docs)s: ids are UUIDs, and no path ends with a slash.")
    return plain_response("not-found", text % {"docs": f"{settings.PORTAL_URL}{reverse('api_docs')}"})


def ratelimited(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """429 with the limit's name and the seconds until its window ends. allauth calls it without an exception."""
    names = {
        "buy": _("buying keys"),
        "reveal": _("revealing credentials and secrets"),
        "rotate": _("rotating credentials and secrets"),
        "switch": _("turning keys on and off"),
        "token": _("making tokens"),
        "webhook": _("changing webhooks"),
        "webhook-test": _("sending tests to webhooks"),
        "replay": _("replaying deliveries"),
        "sign-up": _("creating accounts"),
        "sign-in": _("signing in"),
        "reset": _("resetting passwords"),
        "reauthenticate": _("confirming that it is you"),
    }
    seconds = exception.seconds if isinstance(exception, TooManyTries) else None
    minutes = math.ceil(seconds / 60) if seconds and seconds > SECONDS_COUNTED_SINGLY else None
    name = names.get(exception.group, "") if isinstance(exception, TooManyTries) else ""
    response = render(request, "429.html", {"limit_name": name, "retry_after": seconds, "retry_minutes": minutes}, status=429)
    response.headers["Retry-After"] = str(seconds or 60)
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    """500; or 503 where a middleware stumbled over a server that is down (views are ``UnavailableMiddleware``'s)."""
    if is_unavailable(sys.exc_info()[1]):
        return unavailable(request)
    return plain_response("server-error") if _is_api(request) else _still_page("500.html", 500)


def unavailable(request: HttpRequest) -> HttpResponse:
    response = plain_response("unavailable") if _is_api(request) else _still_page("503.html", 503)
    response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """CSRF_FAILURE_VIEW. The reason is for developers and stands in the log."""
    return plain_response("csrf-failed") if _is_api(request) else _still_page("403_csrf.html", 403)
