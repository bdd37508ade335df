"""For monitoring: figures in Prometheus's text format."""

import secrets

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from keys.metrics import exposition


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Figures for whoever sends METRICS_TOKEN; without that setting there is no such page."""
    if not settings.METRICS_TOKEN:
        raise Http404
    given = request.headers.get("Authorization", "")
    if not secrets.compare_digest(given.encode(), f"Bearer {settings.METRICS_TOKEN}".encode()):
        answer = HttpResponse("Send METRICS_TOKEN as a bearer token.\n", status=401, content_type="text/plain")
        answer.headers["WWW-Authenticate"] = 'Bearer realm="metrics"'
        return answer
    return HttpResponse(exposition(), content_type=CONTENT_TYPE_LATEST)
