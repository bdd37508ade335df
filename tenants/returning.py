"""Where a person goes back to after a detour (signing in, confirming who they are)."""

from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.utils.http import url_has_allowed_host_and_scheme, urlencode


def page_to_return_to(request: HttpRequest) -> str:
    """Path of a page that can be opened by GET: this one, else the one it was reached from on this site, else the first page."""
    if request.method in {"GET", "HEAD"} and not request.headers.get("HX-Request"):
        return request.get_full_path()
    came_from = request.headers.get("HX-Current-URL") or request.headers.get("Referer") or ""
    if url_has_allowed_host_and_scheme(came_from, {request.get_host()}, require_https=request.is_secure()):
        parts = urlsplit(came_from)
        return f"{parts.path}?{parts.query}" if parts.query else parts.path or "/"
    return resolve_url(settings.LOGIN_REDIRECT_URL)


def detour(request: HttpRequest, url: str) -> HttpResponse:
    """Send the person to ``url``, and back afterwards. A fragment request of htmx takes the whole page along."""
    target = f"{resolve_url(url)}?{urlencode({'next': page_to_return_to(request)})}"
    if request.headers.get("HX-Request"):
        return HttpResponse(headers={"HX-Redirect": target})
    return HttpResponseRedirect(target)
