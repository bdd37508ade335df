"""``Idempotency-Key``: the same request sent twice is carried out once, and answered twice alike.

The key's row, the work and the answer are one transaction. So there is never work without its answer, a crash leaves neither, and a
twin that comes while the first is at work waits on the row's unique key: PostgreSQL lets its INSERT wait until the first one is
committed (SQLite lets one writer in at a time), and then it finds the answer. After a while
(``answers.TWIN_SECONDS``) it is told to come again: a first that hangs must not keep the threads of all its twins.
"""

import functools
import hashlib
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import orjson
import structlog
from django.db import Error as DatabaseFailure
from django.db import transaction
from django.utils.translation import gettext as _
from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.response import Response

from tenants import secret_values
from tenants.api import problems
from tenants.api.caller import Caller, caller_of
from tenants.api.problems import Problem, invalid
from tenants.api.wire import dumps
from tenants.models import IdempotentAnswer
from tenants.services import answers

log = structlog.get_logger(__name__)

LONGEST_KEY = 255
REPLAYED = "Idempotent-Replayed"
# Headers of an answer that are kept with it; the others are made anew each time.
_KEPT_HEADERS = ("Location", "ETag", "Retry-After")


class HandlesExceptions(Protocol):
    """An APIView, as far as it matters here."""

    def handle_exception(self, exc: Exception) -> Response: ...


V = TypeVar("V", bound=HandlesExceptions)
Handler = Callable[..., Response]


def idempotent(handler: Handler) -> Handler:
    """For the POST handlers of endpoints. Without the header the handler runs as it is."""

    @functools.wraps(handler)
    def wrapped(view: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return handler(view, request, *args, **kwargs)
        if not key.strip() or len(key) > LONGEST_KEY or not key.isprintable():
            raise invalid("Idempotency-Key", _("Give 1 to %(longest)d visible characters, for example a UUID.") % {"longest": LONGEST_KEY})
        return _once(view, request, key, lambda: handler(view, request, *args, **kwargs))

    wrapped.is_idempotent = True  # type: ignore[attr-defined]  # a test looks for POST handlers without it
    return wrapped


def _once(view: HandlesExceptions, request: Request, key: str, work: Callable[[], Response]) -> Response:
    caller = caller_of(request)
    owner = f"tenant:{caller.tenant.pk}" if caller.tenant else f"staff:{caller.user.pk}"
    fingerprint = _fingerprint(request, caller)
    with transaction.atomic():
        try:
            answer, is_new = answers.claim(caller=owner, key=key, fingerprint=fingerprint)
        except answers.TwinAtWork:
            raise Problem("request-in-progress", headers={"Retry-After": "1"}) from None
        if not is_new:
            return _repeat(answer, fingerprint)
        response = _carry_out(view, work)
        if response.status_code in {400, 401, 403, 404, 429}:
            # Refused before any work began: the key is still free for the mended request.
            answers.give_up(answer)
        else:
            headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
            answers.keep(answer, status=response.status_code, headers=headers, body=dumps(response.data))
    return response


def _carry_out(view: HandlesExceptions, work: Callable[[], Response]) -> Response:
    """The handler's answer, or its failure as an answer, with what it wrote taken back."""
    try:
        with transaction.atomic():
            return work()
    except (DatabaseFailure, RedisError):
        raise  # a server that is down: nothing can be kept, or nothing is worth keeping
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this request's answer
        try:
            return view.handle_exception(error)
        except Exception:
            log.exception("api.failed")
            response = Response(problems.document("server-error"), status=500)
            response.content_type = problems.MEDIA_TYPE
            return response


def _repeat(answer: IdempotentAnswer, fingerprint: str) -> Response:
    if answer.fingerprint != fingerprint:
        raise Problem("idempotency-key-reused")
    try:
        body = orjson.loads(secret_values.decrypt(answer.body))
    except secret_values.UnreadableValue:
        raise Problem("refused", _("The first answer can no longer be read. It was carried out; look at the list.")) from None
    response = Response(body, status=answer.status, headers={**answer.headers, REPLAYED: "true"})
    if answer.status >= 400:
        response.content_type = problems.MEDIA_TYPE
    return response


def _fingerprint(request: Request, caller: Caller) -> str:
    """What has to be the same. The caller too: an answer may hold a secret that another token of the tenant could not have got."""
    body = orjson.dumps(request.data, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(f"{caller.id} {request.method} {request.get_full_path()}\n".encode() + body).hexdigest()
