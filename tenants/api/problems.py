"""Errors of the REST API: RFC 9457 problem documents, each with a type that is a page of the docs.

``KINDS`` is the catalogue: the docs, the OpenAPI description and the answers come from it. An endpoint raises ``Problem``; what else
goes wrong (a form's errors, a service's refusal, a method that is not there) is turned into one by ``handle``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson
import structlog
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import exceptions
from rest_framework.response import Response

MEDIA_TYPE = "application/problem+json"
# So many errors a document names, and so much of what was sent it says again: an answer is never many times the request.
MOST_ERRORS = 100
LONGEST_ECHO = 1000


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of error: its slug (the last part of its type), its HTTP status, and what the docs say of it."""

    slug: str
    status: int
    title: str | Promise
    meaning: str | Promise
    remedy: str | Promise

    @property
    def url(self) -> str:
        return f"{settings.PORTAL_URL}/docs/errors/{self.slug}/"


def _kind(slug: str, status: int, title: str | Promise, meaning: str | Promise, remedy: str | Promise) -> tuple[str, Kind]:
    return slug, Kind(slug=slug, status=status, title=title, meaning=meaning, remedy=remedy)


_l = gettext_lazy

KINDS: dict[str, Kind] = dict(
    [
        _kind(
            "malformed-body",
            400,
            _l("The body cannot be read"),
            _l("The body is not a JSON object in UTF-8, or is nested too deeply."),
            _l("Send one JSON object; the detail says where reading stopped."),
        ),
        _kind(
            "invalid-fields",
            400,
            _l("Some fields are wrong"),
            _l("A field or query parameter is missing, unknown, or has a value that it cannot have. Nothing was done."),
            _l("Mend what `errors` names, field by field, and send the request again."),
        ),
        _kind(
            "bad-request",
            400,
            _l("The request cannot be understood"),
            _l("The request itself is broken: its host, a header, or its encoding."),
            _l("Compare it with the examples in the reference."),
        ),
        _kind(
            "not-authenticated",
            401,
            _l("A token is needed"),
            _l("The request bears no token, as in `Authorization: Bearer tgp...`."),
            _l("Make a token in the settings of your organisation and send it as `Authorization: Bearer tgp...`."),
        ),
        _kind(
            "malformed-token",
            401,
            _l("This is not a token"),
            _l("What was sent does not have the form of a token: its checksum is wrong. It was cut off or mistyped."),
            _l("Copy the token again, whole."),
        ),
        _kind(
            "unknown-token",
            401,
            _l("No such token"),
            _l("The token has the right form, but there is none like it here."),
            _l("Check that it belongs to this portal, or make another one."),
        ),
        _kind(
            "expired-token",
            401,
            _l("The token has expired"),
            _l("The token was made to work until a moment that is past."),
            _l("Make another one. Tokens without an end can be made as well."),
        ),
        _kind(
            "revoked-token",
            401,
            _l("The token was revoked"),
            _l("Somebody ended the token, or the person who made it no longer belongs to the organisation."),
            _l("Make another one."),
        ),
        _kind(
            "insufficient-scope",
            403,
            _l("The token lacks a scope"),
            _l("The token works, but not for this. Its maker may have lost the right as well."),
            _l("Make a token with the scope that the detail names."),
        ),
        _kind(
            "forbidden",
            403,
            _l("This is not allowed"),
            _l("Whoever calls does not have the right to do this."),
            _l("Ask an owner of the organisation, or whoever runs the portal."),
        ),
        _kind(
            "csrf-failed",
            403,
            _l("The request may be forged"),
            _l("A request with a session's cookie changes something only with the CSRF token of a page of this portal."),
            _l("Open the page again. Scripts use a token and no cookies."),
        ),
        _kind(
            "reauthentication-required",
            403,
            _l("Confirm that it is you"),
            _l("Secrets are shown only to a session that proved a few minutes ago whose it is."),
            _l("Confirm it at `/accounts/reauthenticate/`, then repeat the request. Tokens need no such proof."),
        ),
        _kind(
            "not-found",
            404,
            _l("There is nothing here"),
            _l("There is no such thing, or it belongs to somebody else: the two are not told apart."),
            _l("Check the path and the id; list the collection to see what there is. Ids are UUIDs, and no path ends with a slash."),
        ),
        _kind(
            "method-not-allowed",
            405,
            _l("Not with this method"),
            _l("The URL exists, but not for this method."),
            _l("The `Allow` header names the methods that it has."),
        ),
        _kind(
            "refused",
            409,
            _l("This cannot be done now"),
            _l("The request is right, but the state of things forbids it: a limit is reached, a key is revoked, a tier is closed."),
            _l("The detail says what stands in the way and what to do."),
        ),
        _kind(
            "request-in-progress",
            409,
            _l("The same request is under way"),
            _l("A request with this Idempotency-Key is being worked on at this moment."),
            _l("Send it again after `Retry-After` seconds: you get the first one's answer."),
        ),
        _kind(
            "precondition-failed",
            412,
            _l("It has changed meanwhile"),
            _l("`If-Match` names a version that is no longer the current one."),
            _l("Read it again, decide again, and send the new `ETag`."),
        ),
        _kind(
            "body-too-large",
            413,
            _l("The body is too large"),
            _l("A body may have 1 MiB."),
            _l("Send less at once; a batch can be split."),
        ),
        _kind(
            "unsupported-media-type",
            415,
            _l("Send JSON"),
            _l("Bodies are JSON and say so: `Content-Type: application/json`."),
            _l("Set the header: without it, many programs send something else. Forms are not read."),
        ),
        _kind(
            "idempotency-key-reused",
            422,
            _l("This Idempotency-Key stands for another request"),
            _l("The key was used before, with another method, URL or body, or by another token."),
            _l("Make a fresh key for each request, and repeat it only with the same one."),
        ),
        _kind(
            "rate-limited",
            429,
            _l("Too many requests"),
            _l("More requests came than the limit in `RateLimit-Policy` allows."),
            _l("Wait for `Retry-After` seconds."),
        ),
        _kind(
            "server-error",
            500,
            _l("Something broke here"),
            _l("The fault is ours. It was logged under the request id."),
            _l(
                "Try again with the same Idempotency-Key. If the answer then bears `Idempotent-Replayed`, nothing was done: take a "
                "fresh key. If it stays, tell support the request id."
            ),
        ),
        _kind(
            "unavailable",
            503,
            _l("Not available just now"),
            _l("A part of the portal does not answer. Nothing was done."),
            _l("Try again after `Retry-After` seconds."),
        ),
    ]
)


@dataclass(frozen=True, kw_only=True)
class FieldError:
    """What is wrong with one field; ``field`` may be a path as ``items.3.name``."""

    field: str
    detail: str


class Problem(exceptions.APIException):
    """An error by its slug. ``detail`` says it for this one case; without it the kind's meaning stands."""

    def __init__(
        self,
        slug: str,
        detail: str | Promise = "",
        *,
        errors: Iterable[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.kind = KINDS[slug]
        self.status_code = self.kind.status
        self.errors = list(errors)
        self.headers = dict(headers or {})
        super().__init__(str(detail or self.kind.meaning), slug)


def invalid(field: str, detail: str | Promise) -> Problem:
    """``invalid-fields`` for one field."""
    return Problem("invalid-fields", f"{field}: {detail}", errors=[FieldError(field=field, detail=str(detail))])


def document(slug: str, detail: str | Promise = "", errors: Iterable[FieldError] = ()) -> dict[str, Any]:
    """The problem document, with the request's id."""
    kind = KINDS[slug]
    body: dict[str, Any] = {
        "type": kind.url,
        "title": str(kind.title),
        "status": kind.status,
        "detail": str(detail or kind.meaning)[: 2 * LONGEST_ECHO],
        "request_id": str(structlog.contextvars.get_contextvars().get("request_id", "")),
    }
    listed = [{"field": error.field[:LONGEST_ECHO], "detail": error.detail[:LONGEST_ECHO]} for error in islice(errors, MOST_ERRORS)]
    return {**body, "errors": listed} if listed else body


def plain_response(slug: str, detail: str = "") -> HttpResponse:
    """The problem as an answer of Django's, for what goes wrong outside of an endpoint."""
    return HttpResponse(orjson.dumps(document(slug, detail)), status=KINDS[slug].status, content_type=MEDIA_TYPE)


def handle(exception: Exception, context: Mapping[str, Any]) -> Response | None:
    """REST framework's EXCEPTION_HANDLER. None for what nobody foresaw: Django reports that, and answers 500 in the same form."""
    refusals: Mapping[type[Exception], str] = getattr(context.get("view"), "refusals", {})
    problem = _as_problem(exception, refusals)
    if problem is None:
        return None
    response = Response(document(problem.kind.slug, str(problem.detail), problem.errors), status=problem.kind.status)
    response.content_type = MEDIA_TYPE
    for name, value in problem.headers.items():
        response.headers[name] = value
    return response


def _as_problem(exception: Exception, refusals: Mapping[type[Exception], str]) -> Problem | None:
    for kind, slug in refusals.items():
        if isinstance(exception, kind):
            field = getattr(exception, "field", "")
            return Problem(slug, str(exception), errors=[FieldError(field=field, detail=str(exception))] if field else [])
    if isinstance(exception, Http404):
        return Problem("not-found")
    if isinstance(exception, PermissionDenied):
        return Problem("forbidden")
    return _of_framework(exception) if isinstance(exception, exceptions.APIException) else None


def _of_framework(exception: exceptions.APIException) -> Problem | None:
    if isinstance(exception, Problem):
        return exception
    if isinstance(exception, exceptions.ValidationError):
        errors = list(_field_errors(exception.detail))
        first = errors[0]
        more = _(" (and %(count)d more)") % {"count": len(errors) - 1} if len(errors) > 1 else ""
        return Problem("invalid-fields", f"{first.field}: {first.detail}{more}" if first.field else first.detail, errors=errors)
    slugs: dict[type[exceptions.APIException], str] = {
        exceptions.ParseError: "malformed-body",
        exceptions.NotAuthenticated: "not-authenticated",
        exceptions.AuthenticationFailed: "unknown-token",
        exceptions.PermissionDenied: "forbidden",
        exceptions.NotFound: "not-found",
        exceptions.UnsupportedMediaType: "unsupported-media-type",
        exceptions.Throttled: "rate-limited",
    }
    if isinstance(exception, exceptions.MethodNotAllowed):
        return Problem("method-not-allowed")
    slug = next((slug for kind, slug in slugs.items() if isinstance(exception, kind)), "bad-request")
    headers = {"WWW-Authenticate": CHALLENGE} if KINDS[slug].status == 401 else None
    return Problem(slug, headers=headers)


# RFC 6750, 3: what a 401 has to say.
CHALLENGE = 'Bearer realm="tollgate"'


def _field_errors(detail: Any, path: str = "") -> Iterable[FieldError]:
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            own = "" if name == "non_field_errors" else str(name)
            yield from _field_errors(inner, ".".join(part for part in (path, own) if part))
    elif isinstance(detail, list):
        for place, inner in enumerate(detail):
            nested = isinstance(inner, Mapping | list)
            yield from _field_errors(inner, f"{path}.{place}" if nested and path else path)
    else:
        yield FieldError(field=path, detail=str(detail))
