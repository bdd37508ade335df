"""One call of a stage, as a tenant would make it: bound in time and size. Redirects are not followed, nothing of the environment (proxies)
is used, and neither the credential nor anything of the answer's body is kept."""

import contextlib
import http.client
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from django.utils.translation import gettext as _

# From the connection to the answer's head, however slowly bytes drip in.
TOTAL_SECONDS = 5.0
LONGEST_KIND = 60


@dataclass(frozen=True)
class Answer:
    """How a call ended. ``status`` None: there was no answer. ``error`` is empty after 200, else words for staff."""

    status: int | None
    error: str


def call(url: str, value: str) -> Answer:
    """GET ``url`` with this credential. Never raises for what the other side does."""
    started = time.monotonic()
    try:
        status, kind = _exchange(url, value, started + TOTAL_SECONDS)
    except (http.client.HTTPException, OSError, ValueError) as failure:
        return Answer(None, _explain(url, failure, timed_out=time.monotonic() - started >= TOTAL_SECONDS))
    if status == http.HTTPStatus.OK:
        return Answer(status, "")
    return Answer(status, _("%(url)s answered %(status)s.") % {"url": url, "status": f"{status} {kind}".strip()})


def _exchange(url: str, value: str, deadline: float) -> tuple[int, str]:
    """The answer's status, and what API Gateway calls the error."""
    parts = urlsplit(url)
    connection = _connection(parts.scheme, parts.hostname or "", parts.port)
    # Time-outs of sockets begin anew with each byte; this does not.
    watchdog = threading.Timer(deadline - time.monotonic(), _break_off, [connection])
    watchdog.daemon = True
    watchdog.start()
    try:
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        connection.request("GET", path, headers={"X-Api-Key": value, "User-Agent": "tollgate-canary", "Connection": "close"})
        answer = connection.getresponse()
        kind = (answer.getheader("x-amzn-ErrorType") or "").partition(":")[0]
        return answer.status, kind[:LONGEST_KIND] if kind.isalnum() and kind.isascii() else ""
    finally:
        watchdog.cancel()
        connection.close()


def _connection(scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=TOTAL_SECONDS, context=_tls())
    return http.client.HTTPConnection(host, port, timeout=TOTAL_SECONDS)


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _break_off(connection: http.client.HTTPConnection) -> None:
    with contextlib.suppress(OSError, AttributeError):  # there may be no socket yet, or no more
        connection.sock.shutdown(socket.SHUT_RDWR)


def _explain(url: str, failure: Exception, *, timed_out: bool) -> str:
    if timed_out or isinstance(failure, TimeoutError):
        return _("%(url)s did not answer within %(seconds)d seconds.") % {"url": url, "seconds": TOTAL_SECONDS}
    if isinstance(failure, ssl.SSLError):
        return _("%(url)s: no TLS connection could be made, or its certificate is not valid.") % {"url": url}
    if isinstance(failure, socket.gaierror):
        return _("%(url)s: the name is not known.") % {"url": url}
    if isinstance(failure, OSError):
        return _("%(url)s: nobody answers there.") % {"url": url}
    return _("%(url)s: the answer was not HTTP.") % {"url": url}
