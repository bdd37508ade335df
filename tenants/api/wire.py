"""JSON as it comes in and goes out."""

from collections.abc import Mapping
from decimal import Decimal
from io import BytesIO
from typing import IO, Any

import orjson
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from tenants.api.problems import Problem

LARGEST_BODY = 1024 * 1024
DEEPEST = 32


class JsonParser(BaseParser):
    """One JSON object in UTF-8, of at most LARGEST_BODY bytes, nested at most DEEPEST deep. NaN and Infinity are no JSON."""

    media_type = "application/json"

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> dict[str, Any]:
        raw: bytes = stream.read(LARGEST_BODY + 1)
        if len(raw) > LARGEST_BODY:
            raise Problem("body-too-large")
        request = (parser_context or {}).get("request")
        if request is not None and len(raw) < int(request.META.get("CONTENT_LENGTH") or 0):
            # Whoever hung up in the middle did not mean what came so far, though it may be an object by itself.
            raise Problem("malformed-body", _("The body ends before its Content-Length."))
        if not raw:
            return {}
        try:
            data = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            place = _("line %(line)d, column %(column)d") % {"line": error.lineno, "column": error.colno}
            raise Problem("malformed-body", _("This is not JSON in UTF-8 (%(place)s).") % {"place": place}) from None
        if not isinstance(data, dict):
            raise Problem("malformed-body", _("Send a JSON object, with { and } around it."))
        if _depth_exceeds(data, DEEPEST):
            raise Problem("malformed-body", _("The body is nested more than %(deepest)d deep.") % {"deepest": DEEPEST})
        return data


def take_chunked_body(request: HttpRequest) -> None:
    """Read a body that came in chunks, without its length, as many HTTP clients send one.

    Django takes a length that is not told for 0: fields would be lost without a word. What is longer than LARGEST_BODY the parser refuses.
    """
    if isinstance(request, WSGIRequest) and request.META.get("HTTP_TRANSFER_ENCODING", "").strip().lower() == "chunked":
        source, body = request.environ["wsgi.input"], BytesIO()
        while (missing := LARGEST_BODY + 1 - body.tell()) > 0 and (part := source.read(missing)):
            body.write(part)
        request.META["CONTENT_LENGTH"] = str(body.tell())
        body.seek(0)
        request._stream = body  # where Django reads from


class JsonRenderer(BaseRenderer):
    """JSON; times are RFC 3339 in UTC, exact numbers of a database become plain numbers."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None) -> bytes:
        return b"" if data is None else dumps(data)


class AlwaysJson(BaseContentNegotiation):
    """Whatever is accepted, JSON is what there is; whoever wants a page gets no HTML here, nor a 406."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        content_type = (request.content_type or "").partition(";")[0].strip().lower()
        return next((parser for parser in parsers if content_type in {parser.media_type, ""}), None)

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> tuple[Any, str]:
        return renderers[0], renderers[0].media_type


def dumps(data: Any) -> bytes:
    """``data`` as compact JSON."""
    return orjson.dumps(data, default=_plain, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, Promise):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


def _depth_exceeds(data: Any, deepest: int) -> bool:
    level: list[Any] = [data]
    for _number in range(deepest):
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return False
    return True


def _inside(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [each for each in inner if isinstance(each, dict | list)]
