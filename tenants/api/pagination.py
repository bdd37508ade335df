"""Lists that go on from a row, not from a number: a deep page costs what the first one costs, and nothing is ever counted.

Order is newest first, by ``created_at`` and id, so that rows that come or go during a walk neither repeat others nor hide them.
"""

import base64
import binascii
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import orjson
from django.conf import settings
from django.db.models import F, QuerySet, UUIDField
from django.db.models.fields.tuple_lookups import Tuple, TupleGreaterThan, TupleLessThan
from django.utils.translation import gettext as _
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.api.problems import Problem, invalid

DEFAULT_LIMIT = 25
LARGEST_LIMIT = 100
_EXAMPLE_URL = "https://portal.example.com/api/v1/tokens?cursor=WyJuIiwxNzYzNzExOTk5MDAwMDAwLCI1ZDBmNmEzZSJd"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class KeysetPagination(BasePagination):
    """``limit`` and an opaque ``cursor`` in; ``data``, ``next`` and ``previous`` (URLs or null) out.

    Rows are model instances, or dicts that hold both fields of ``order``. ``time_field`` and ``id_field`` name them.
    """

    time_field = "created_at"
    id_field = "pk"

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        self.request = request
        self.time_field = getattr(view, "keyset_time_field", self.time_field)
        self.id_field = getattr(view, "keyset_id_field", self.id_field)
        self.limit = limit_of(request)
        backwards, place = _read_cursor(request, _id_parser(queryset, self.id_field))
        rows = list(self._ordered(queryset, backwards=backwards, place=place)[: self.limit + 1])
        more = len(rows) > self.limit
        rows = rows[: self.limit]
        if backwards:
            rows.reverse()
        self.has_next = bool(rows) and (backwards or more)
        self.has_previous = bool(rows) and (more if backwards else place is not None)
        self.rows: Sequence[Any] = rows
        return rows

    def get_paginated_response(self, data: Any) -> Response:
        after = self._url("n", self.rows[-1]) if self.has_next else None
        before = self._url("p", self.rows[0]) if self.has_previous else None
        return Response({"data": data, "next": after, "previous": before})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """For the OpenAPI description."""
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["data", "next", "previous"],
            "properties": {
                "data": schema,
                "next": {**link, "example": _EXAMPLE_URL, "description": "The page after this one, with what is older; null at the end."},
                "previous": {**link, "example": None, "description": "The page before this one; null on the first page."},
            },
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """For the OpenAPI description."""
        return [
            {
                "name": "limit",
                "in": "query",
                "required": False,
                "description": "How many rows a page has.",
                "schema": {"type": "integer", "minimum": 1, "maximum": LARGEST_LIMIT, "default": DEFAULT_LIMIT},
            },
            {
                "name": "cursor",
                "in": "query",
                "required": False,
                "description": "Where to go on: take `next` or `previous` of an answer as it is.",
                "schema": {"type": "string", "maxLength": 200, "pattern": "^[A-Za-z0-9_-]+$"},
            },
        ]

    def _ordered(self, queryset: QuerySet[Any], *, backwards: bool, place: tuple[datetime, Any] | None) -> QuerySet[Any]:
        if place is not None:
            row = Tuple(F(self.time_field), F(self.id_field))
            queryset = queryset.filter(TupleGreaterThan(row, place) if backwards else TupleLessThan(row, place))
        sign = "" if backwards else "-"
        return queryset.order_by(f"{sign}{self.time_field}", f"{sign}{self.id_field}")

    def _url(self, direction: str, row: Any) -> str:
        at, pk = self._value(row, self.time_field), self._value(row, self.id_field)
        microseconds = (at - _EPOCH) // timedelta(microseconds=1)
        cursor = base64.urlsafe_b64encode(orjson.dumps([direction, microseconds, str(pk)])).decode().rstrip("=")
        parameters = [(name, value) for name, values in self.request.query_params.lists() for value in values if name != "cursor"]
        return f"{settings.PORTAL_URL}{self.request.path}?{urlencode([*parameters, ('cursor', cursor)])}"

    @staticmethod
    def _value(row: Any, name: str) -> Any:
        if isinstance(row, dict):
            return row["id"] if name == "pk" else row[name]
        return getattr(row, name)


def limit_of(request: Request) -> int:
    """``limit`` of the request. Raises Problem."""
    text = request.query_params.get("limit", str(DEFAULT_LIMIT))
    if not text.isascii() or not text.isdigit() or len(text) > 3 or not 1 <= int(text) <= LARGEST_LIMIT:
        raise invalid("limit", _("Give a whole number from 1 to %(largest)d.") % {"largest": LARGEST_LIMIT})
    return int(text)


def _id_parser(queryset: QuerySet[Any], name: str) -> Callable[[str], uuid.UUID | int]:
    """What turns a cursor's text into an id that the column can hold; it raises ValueError for others."""
    options = queryset.model._meta
    field = options.pk if name == "pk" else options.get_field(name)
    return uuid.UUID if isinstance(field, UUIDField) else _row_number


def _row_number(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**63:
        raise ValueError(number)
    return number


def _read_cursor(request: Request, parse_id: Callable[[str], uuid.UUID | int]) -> tuple[bool, tuple[datetime, Any] | None]:
    text = request.query_params.get("cursor")
    if text is None:
        return False, None
    try:
        direction, microseconds, pk = orjson.loads(base64.b64decode(f"{text}{'=' * (-len(text) % 4)}", altchars=b"-_", validate=True))
        if direction not in {"n", "p"} or not isinstance(microseconds, int) or not isinstance(pk, str):
            raise _unknown_cursor()
        return direction == "p", (_EPOCH + timedelta(microseconds=microseconds), parse_id(pk))
    except (ValueError, TypeError, OverflowError, binascii.Error):
        raise _unknown_cursor() from None


def _unknown_cursor() -> Problem:
    return invalid("cursor", _("This cursor is not one of ours. Take `next` or `previous` of an answer as it is, or leave it out."))
