"""The docs of the REST API: its description, a page to try it, and a page for each kind of error."""

import functools
import json
import re
from pathlib import Path

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.http import etag, require_safe

from tenants.api.etags import etag_of
from tenants.api.problems import KINDS, MEDIA_TYPE
from tenants.api.schema import problem_example

# `make openapi` writes it, `make check` compares it.
DESCRIPTION = Path(settings.BASE_DIR) / "docs" / "openapi.yaml"
_CODE = re.compile(r"`([^`]+)`")


@functools.cache
def _description() -> tuple[bytes, str]:
    """The description and its ETag. A file of the release: it does not change while a process lives."""
    text = DESCRIPTION.read_bytes()
    return text, etag_of(text.decode())


@require_safe
@etag(lambda _request: _description()[1])
def openapi(_request: HttpRequest) -> HttpResponse:
    """``/api/openapi.yaml``."""
    return HttpResponse(_description()[0], content_type="application/yaml", headers={"Cache-Control": "no-cache"})


@require_safe
def api_docs(request: HttpRequest) -> HttpResponse:
    """``/api/docs``: everybody may read it; whoever is signed in may try it with their session."""
    is_signed_in = request.user.is_authenticated
    return render(request, "portal/docs/api.html", {"csrf": get_token(request) if is_signed_in else ""})


@require_safe
def errors(request: HttpRequest) -> HttpResponse:
    """``/docs/errors/``."""
    kinds = [
        {"slug": kind.slug, "status": kind.status, "title": kind.title, "meaning": _with_code(kind.meaning)} for kind in KINDS.values()
    ]
    return render(request, "portal/docs/errors.html", {"kinds": kinds})


@require_safe
def error(request: HttpRequest, slug: str) -> HttpResponse:
    """``/docs/errors/<slug>/``: the ``type`` of a problem document leads here."""
    kind = KINDS.get(slug)
    if kind is None:
        raise Http404
    document = json.dumps(problem_example(slug, settings.PORTAL_URL), indent=2, ensure_ascii=False)
    context = {
        "title": kind.title,
        "status": kind.status,
        "slug": slug,
        "meaning": _with_code(kind.meaning),
        "remedy": _with_code(kind.remedy),
        "example": f"HTTP/1.1 {kind.status}\nContent-Type: {MEDIA_TYPE}\n\n{document}",
    }
    return render(request, "portal/docs/error.html", context)


def _with_code(text: object) -> SafeString:
    """What stands between backticks, as code."""
    return mark_safe(_CODE.sub(r"<code>\1</code>", escape(str(text))))  # noqa: S308 - escaped just here
