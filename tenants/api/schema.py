"""How endpoints are described in OpenAPI: what every one of them shares.

What an endpoint does is read off its handler (does it show a version? does it look at ``If-Match``?), so that a description cannot fall
behind. Problem answers and headers are components that ``add_shared_parts`` puts in once.
"""

import inspect
from collections.abc import Mapping
from types import CodeType, FunctionType
from typing import Any

from django.core.validators import RegexValidator
from drf_spectacular.contrib.django_filters import DjangoFilterExtension
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

from tenants.api.fields import Input, Moment, Text
from tenants.api.filters import SEARCH
from tenants.api.idempotency import LONGEST_KEY
from tenants.api.problems import KINDS, MEDIA_TYPE

EXAMPLE_ORIGIN = "https://portal.example.com"
EXAMPLE_REQUEST_ID = "0b3d7c5e-6f1a-4f0e-9a55-0c6a3b7d1f42"

# What str.strip takes off, written so that every dialect of regular expressions reads the same.
_SPACE = r"\u0009-\u000d\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
NO_NUL = r"^[^\u0000]*$"
NOT_BLANK = rf"^[^\u0000]*[^\u0000{_SPACE}][^\u0000]*$"
# What str.isprintable lets through of Latin-1, and something that is no space.
VISIBLE = r"^[ -~\u00a1-\u00ac\u00ae-\u00ff]*[!-~\u00a1-\u00ac\u00ae-\u00ff][ -~\u00a1-\u00ac\u00ae-\u00ff]*$"
# RFC 3339 with an offset, in the years that a database can hold.
MOMENT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[+-][0-9]{2}:[0-9]{2})$"

# The problem answers by status: name of the component, and what stands before the list of its kinds.
PROBLEMS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    412: "PreconditionFailed",
    413: "BodyTooLarge",
    415: "UnsupportedMediaType",
    422: "IdempotencyKeyReused",
    429: "TooManyRequests",
    500: "ServerError",
    503: "Unavailable",
}
# Its methods are looked for by name, not looked into.
_GLUE = {"tenants.api.views", "rest_framework.generics", "rest_framework.views"}
_ALWAYS = {400, 401, 403, 429, 500, 503}
_HEADERS_OF_PROBLEMS = {
    401: ("WWW-Authenticate",),
    403: ("WWW-Authenticate",),
    409: ("Retry-After", "Idempotent-Replayed"),
    412: ("ETag",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}
_LIMITS = ("RateLimit", "RateLimit-Policy")

HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-Id": {
        "description": "The request's id: yours, if you sent one of 8 to 64 letters, digits, `.`, `_` and `-`. Tell it to support.",
        "schema": {"type": "string", "minLength": 8, "maxLength": 64},
        "example": EXAMPLE_REQUEST_ID,
    },
    "RateLimit-Policy": {
        "description": "The limits that count: `q` requests in `w` seconds.",
        "schema": {"type": "string"},
        "example": '"default";q=1200;w=60',
    },
    "RateLimit": {
        "description": "What is left of each: `r` requests, and `t` seconds until it starts anew.",
        "schema": {"type": "string"},
        "example": '"default";r=1199;t=42',
    },
    "Retry-After": {
        "description": "Seconds to wait before the same request makes sense again.",
        "schema": {"type": "integer", "minimum": 0},
        "example": 42,
    },
    "ETag": {
        "description": "The version of what is shown, for `If-Match` and `If-None-Match`.",
        "schema": {"type": "string", "pattern": '^"[0-9a-f]{32}"$'},
        "example": '"9f86d081884c7d659a2feaa0c55ad015"',
    },
    "Location": {
        "description": "Where the thing that was made is found.",
        "schema": {"type": "string", "format": "uri-reference"},
        "example": "/api/v1/tokens/8a1f6c3e-0d5b-4c7e-9b1a-2f6d3c4e5a70",
    },
    "Idempotent-Replayed": {
        "description": "`true` where this is the answer of an earlier request with the same `Idempotency-Key`.",
        "schema": {"type": "string", "const": "true"},
        "example": "true",
    },
    "WWW-Authenticate": {
        "description": "How to authenticate, by RFC 6750.",
        "schema": {"type": "string"},
        "example": 'Bearer realm="tollgate"',
    },
}

PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "What went wrong, by RFC 9457.",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "The kind of problem: a page that says what it means and what to do."},
        "title": {"type": "string", "description": "The kind of problem in words; the same for each of its kind."},
        "status": {"type": "integer", "minimum": 400, "maximum": 599, "description": "The HTTP status."},
        "detail": {"type": "string", "description": "What went wrong this time."},
        "request_id": {"type": "string", "description": "As the header `X-Request-Id`. Tell it to support."},
        "errors": {
            "type": "array",
            "description": "Which fields are wrong, where some are.",
            "items": {"$ref": "#/components/schemas/FieldError"},
        },
    },
}
FIELD_ERROR: dict[str, Any] = {
    "type": "object",
    "description": "What is wrong with one field.",
    "required": ["field", "detail"],
    "properties": {
        "field": {"type": "string", "description": "Its name; dotted inside of lists and objects, as `items.3.name`."},
        "detail": {"type": "string", "description": "What is wrong with it."},
    },
}


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # drf-spectacular registers subclasses untyped
    """A token in ``Authorization``."""

    target_class = "tenants.api.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "tgp...",
            "description": "A token of your organisation's settings, or one made by `POST /tokens`. Cookies are ignored beside it.",
        }


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # as above
    """A session of the portal; what changes something needs the CSRF token too."""

    target_class = "tenants.api.authentication.SessionAuthentication"
    name = ["session", "csrf"]

    def get_security_requirement(self, auto_schema: AutoSchema) -> dict[str, list[str]]:
        return {"session": []} if auto_schema.method == "GET" else {"session": [], "csrf": []}

    def get_security_definition(self, auto_schema: AutoSchema) -> list[dict[str, Any]]:
        return [
            {
                "type": "apiKey",
                "in": "cookie",
                "name": "__Host-session",
                "description": "A session of the portal, as the interactive docs use it.",
            },
            {
                "type": "apiKey",
                "in": "header",
                "name": "X-CSRFToken",
                "description": "The CSRF token of a page of the portal. Sessions need it for whatever changes something.",
            },
        ]


class Schema(AutoSchema):
    """drf-spectacular's view of an endpoint."""

    method: str

    # --- The operation

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        operation: dict[str, Any] | None = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        scope = getattr(self.view, "scopes", {}).get(self.method)
        if scope is not None:
            operation["description"] = f"{operation.get('description', '').strip()}\n\nScope: `{scope.value}`.".strip()
            operation["x-required-scope"] = scope.value
        described = {parameter["name"] for parameter in operation.get("parameters", [])}
        missing = set(getattr(self.view, "parameters", ())) - described if self.method == "GET" else set()
        if missing:
            raise AssertionError(f"{operation['operationId']} does not describe the parameters {', '.join(sorted(missing))}.")
        return operation

    def get_override_parameters(self) -> list[Any]:
        """Headers of the request. ``@extend_schema(parameters=...)`` adds to them."""
        headers = []
        if self.method == "POST":
            schema = {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": VISIBLE}
            text = "Any text of your choice, a UUID for example. The same request with the same key is carried out once."
            headers.append(_header("Idempotency-Key", text, schema, "6f2d8f0e-6f0e-4f6c-8a5e-2b9d8f3c1a7e"))
        if self._uses("if_match", "check_unchanged"):
            text = "Do it only if this is still the version, as `ETag` told it; 412 otherwise."
            headers.append(_header("If-Match", text, {"type": "string"}, None))
        if self.method == "GET" and self._uses("shown", "is_unchanged"):
            text = "Answer 304 without a body if this is still the version."
            headers.append(_header("If-None-Match", text, {"type": "string"}, None))
        return headers

    def _uses(self, *names: str) -> bool:
        """Whether the handler, or a method of its view that it calls, uses one of these."""
        return any(name in each.co_names for each in self._codes() for name in names)

    def _codes(self) -> list[CodeType]:
        """The code of the handler and of the methods of its view that it calls."""
        view = type(self.view)
        found: dict[str, CodeType] = {}
        wanted = [self.method.lower()]
        while wanted:
            name = wanted.pop()
            method = inspect.unwrap(inspect.getattr_static(view, name, None))
            if name in found or not isinstance(method, FunctionType) or method.__module__ in _GLUE:
                continue
            found[name] = method.__code__
            wanted += method.__code__.co_names
        return list(found.values())

    def _get_filter_parameters(self) -> list[dict[str, Any]]:
        """Of the filter set alone: a queryset needs a caller."""
        filterset = getattr(self.view, "filterset_class", None)
        if filterset is None or not self._is_list_view():
            return []
        described = DjangoFilterExtension(None)  # type: ignore[no-untyped-call]  # drf-spectacular is untyped here
        parameters: list[dict[str, Any]] = []
        for name, each in filterset.base_filters.items():
            found = described.resolve_filter_field(self, filterset._meta.model, filterset, name, each)  # type: ignore[no-untyped-call]
            for parameter in found:
                _narrow(name, parameter["schema"], each)
            parameters += found
        return parameters

    # --- Its answers

    def _get_examples(self, serializer: Any, direction: Any, media_type: Any, status_code: Any = None, extras: Any = None) -> Any:
        """Examples of serializers are for 200 and 201; what was begun (202) looks the same."""
        code = "200" if status_code == "202" else status_code
        return super()._get_examples(serializer, direction, media_type, code, extras)  # type: ignore[no-untyped-call]

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        for status, body in bodies.items():
            names = ["X-Request-Id", *_LIMITS]
            if self._uses("shown", "etag_of", "versioned") and status in {"200", "201"}:
                names.append("ETag")
            if status == "201":
                names.append("Location")
            if self.method == "POST":
                names.append("Idempotent-Replayed")
            body["headers"] = {**body.get("headers", {}), **_headers(names)}
            body["description"] = body.get("description") or _DESCRIPTIONS.get(status, "Done.")
        if self.method == "GET" and self._uses("shown", "is_unchanged"):
            bodies["304"] = {"description": "It is still this version.", "headers": _headers(["X-Request-Id", *_LIMITS, "ETag"])}
        for code in sorted(self._problems()):
            bodies.setdefault(str(code), {"$ref": f"#/components/responses/{PROBLEMS[code]}"})
        return dict(sorted(bodies.items()))

    def _problems(self) -> set[int]:
        codes = set(_ALWAYS)
        # A handler that raises Problem("not-found") names it among its constants.
        codes |= {KINDS[name].status for code in self._codes() for name in code.co_consts if isinstance(name, str) and name in KINDS}
        if "{" in self.path or self._uses("get_object_or_404"):
            codes.add(404)
        if self.method in {"POST", "PUT", "PATCH"}:
            codes |= {413, 415}
        if self.method == "POST":
            codes |= {409, 422}
        if self._uses("if_match", "check_unchanged"):
            codes.add(412)
        if self.method != "GET":
            codes |= {KINDS[slug].status for slug in getattr(self.view, "refusals", {}).values()}
        return codes

    # --- Schemas

    def get_serializer_name(self, serializer: Any, direction: Any) -> str:
        """Readers of the description have no shapes, but tokens and keys."""
        return str(type(serializer).__name__).removesuffix("Shape")

    def get_paginated_name(self, serializer_name: str) -> str:
        return f"{serializer_name}Page"

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> dict[str, Any]:
        schema: dict[str, Any] = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]  # as above
        if isinstance(serializer, Input):
            schema["additionalProperties"] = False
        return schema

    def _insert_field_validators(self, field: Any, schema: dict[str, Any]) -> None:
        super()._insert_field_validators(field, schema)  # type: ignore[no-untyped-call]  # drf-spectacular is untyped here
        if isinstance(field, Text):
            # A text may be blank or not, and never holds NUL: what drf-spectacular makes of blank texts is put right here.
            schema.pop("oneOf", None)
            schema.setdefault("type", ["string", "null"] if field.allow_null else "string")
            if not field.allow_blank:
                schema["minLength"] = max(1, schema.get("minLength", 1))
            schema.setdefault("pattern", NO_NUL if field.allow_blank else NOT_BLANK)
        elif isinstance(field, Moment):
            schema.setdefault("pattern", MOMENT)

    def _map_serializer_field(self, field: Any, *args: Any, **kwargs: Any) -> Any:
        if type(field) is serializers.JSONField:
            # Any JSON, null too. drf-spectacular would say "anything, or else null", which null is not: it is both.
            return {"description": str(field.help_text)} if field.help_text else {}
        return super()._map_serializer_field(field, *args, **kwargs)  # type: ignore[no-untyped-call]


_DESCRIPTIONS = {"200": "As it is now.", "201": "It was made.", "202": "It was begun.", "204": "Done; there is nothing to show."}


def _header(name: str, description: str, schema: dict[str, Any], example: str | None) -> OpenApiParameter:
    if example is not None:
        schema = {**schema, "examples": [example]}
    return OpenApiParameter(name, schema, OpenApiParameter.HEADER, required=False, description=description)


def _headers(names: list[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _narrow(name: str, schema: dict[str, Any], each: Any) -> None:
    """What a filter refuses, said in the schema of its parameter."""
    if schema.get("type") == "string" and "enum" not in schema:
        longest = each.extra.get("max_length")
        if longest:
            schema.setdefault("maxLength", longest)
        for validator in each.extra.get("validators", ()):
            if isinstance(validator, RegexValidator):
                pattern = str(getattr(validator.regex, "pattern", validator.regex))
                schema.setdefault("pattern", pattern.replace(r"\A", "^").replace(r"\Z", "$"))
        if "format" not in schema:
            schema.setdefault("pattern", NO_NUL)
            if name != SEARCH:
                schema.setdefault("minLength", 1)
    if schema.get("type") == "number":
        schema["type"] = "integer"  # the numbers that lists are filtered by are ids and counts


def problem_example(slug: str, origin: str = EXAMPLE_ORIGIN) -> dict[str, Any]:
    """A document of this kind, as the docs show it."""
    kind = KINDS[slug]
    example: dict[str, Any] = {
        "type": f"{origin}/docs/errors/{slug}/",
        "title": str(kind.title),
        "status": kind.status,
        "detail": str(kind.meaning),
        "request_id": EXAMPLE_REQUEST_ID,
    }
    if slug == "invalid-fields":
        wrong = {"field": "name", "detail": "This field is required."}
        example |= {"detail": f"{wrong['field']}: {wrong['detail']}", "errors": [wrong]}
    return example


def _problem_response(status: int) -> dict[str, Any]:
    kinds = [kind for kind in KINDS.values() if kind.status == status]
    listed = "".join(f"\n- `{kind.slug}`: {kind.meaning}" for kind in kinds)
    return {
        "description": f"{kinds[0].title}." if len(kinds) == 1 else f"One of:\n{listed}",
        "headers": _headers(["X-Request-Id", *([] if status in {401, 500, 503} else _LIMITS), *_HEADERS_OF_PROBLEMS.get(status, ())]),
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": {kind.slug: {"summary": str(kind.title), "value": problem_example(kind.slug)} for kind in kinds},
            }
        },
    }


def add_shared_parts(result: dict[str, Any], **_kwargs: Any) -> dict[str, Any]:
    """POSTPROCESSING_HOOKS of drf-spectacular: components that operations refer to, and links from what is made to what it can do."""
    components = result.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Problem"], schemas["FieldError"] = PROBLEM, FIELD_ERROR
    components["schemas"] = dict(sorted(schemas.items()))
    components["headers"] = dict(sorted(HEADERS.items()))
    components["responses"] = {name: _problem_response(status) for status, name in PROBLEMS.items()}
    _add_links(result["paths"])
    return result


def _add_links(paths: Mapping[str, Any]) -> None:
    """From the answer of a POST to a collection to each operation on one of its things."""
    for path, item in paths.items():
        made = item.get("post", {}).get("responses", {}).get("201")
        inner = f"{path}/{{id}}"
        if made is None or "content" not in made:
            continue
        links = {
            operation["operationId"]: {"operationId": operation["operationId"], "parameters": {"id": "$response.body#/id"}}
            for other, operations in paths.items()
            if other == inner or (other.startswith(f"{inner}/") and other.count("{") == inner.count("{"))
            for operation in operations.values()
        }
        if links:
            made["links"] = links
