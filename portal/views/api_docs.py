"""The docs of the REST API: its description, a page to try it, and a page for each kind of error."""

import functools
import json
import re
from pathlib import Path

import yaml
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.http import etag, require_safe

from portal.api_description import for_tenants
from tenants.api.etags import etag_of
from tenants.api.problems import KINDS, MEDIA_TYPE
from tenants.api.schema import problem_example

# `make openapi` writes it, `make check` compares it.
DESCRIPTION = Path(settings.BASE_DIR) / "docs" / "openapi.yaml"
_CODE = re.compile(r"`([^`]+)`")


@functools.cache
def _description(*, whole: bool) -> tuple[bytes, str]:
    """The description, whole or as ``for_tenants`` leaves it, and its ETag. A file of the release: it does not change while we live."""
    text = DESCRIPTION.read_bytes()
    if not whole:
        described = for_tenants(yaml.load(text, Loader=yaml.CSafeLoader))
        text = yaml.dump(described, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True, width=120).encode()
    return text, etag_of(text.decode())


def _description_for(request: HttpRequest) -> tuple[bytes, str]:
    return _description(whole=request.user.is_authenticated and request.user.is_staff)


@require_safe
@etag(lambda request: _description_for(request)[1])
def openapi(request: HttpRequest) -> HttpResponse:
    """``/api/openapi.yaml``: what is for staff is told to their sessions alone, since it says how tenants are kept apart."""
    return HttpResponse(_description_for(request)[0], content_type="application/yaml", headers={"Cache-Control": "private, no-cache"})


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
