"""One POST to a receiver that nobody here chose: bound in time and size, and to public addresses.

The host is resolved once, every address it has is checked, and the connection goes to the very address that was checked: a name
that answers otherwise a moment later (DNS rebinding) gains nothing. Redirects are not followed, nothing of the environment (proxies,
.netrc) is used, no cookie is kept.
"""

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _
from urllib3 import connection as urllib3_connection
from urllib3.exceptions import HTTPError

from tenants.webhooks.addresses import may_be_sent_to
from tenants.webhooks.urls import BadUrl, Target, not_public, read_url

CONNECT_SECONDS = 5.0
# From the first look at the name to the last byte of the answer, however slowly bytes drip in.
TOTAL_SECONDS = 12.0
# More of an answer is not read. What was read is thrown away: the status is all that counts.
MOST_BYTES = 64 * 1024
GONE = 410


@dataclass(frozen=True)
class Answer:
    """How a POST ended. ``status`` None: there was no answer. ``error`` empty: it was delivered (2xx); else words for the tenant."""

    status: int | None
    error: str
    milliseconds: int

    @property
    def is_delivered(self) -> bool:
        return not self.error


class _Refused(Exception):
    """Not sent; the message is fit for the page."""


def post(url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Send ``body`` there. Never raises for what a receiver, or its URL, does."""
    started = time.monotonic()
    status: int | None = None
    error = ""
    try:
        status = _exchange(read_url(url), body, headers, started + TOTAL_SECONDS)
        error = _judge(status)
    except (BadUrl, _Refused) as refusal:
        error = str(refusal)
    except (HTTPError, http.client.HTTPException, OSError, ValueError) as failure:
        error = _explain(failure, timed_out=time.monotonic() - started >= TOTAL_SECONDS)
    return Answer(status=status, error=error, milliseconds=int((time.monotonic() - started) * 1000))


def _exchange(target: Target, body: bytes, headers: Mapping[str, str], deadline: float) -> int:
    connection = _connection(target, deadline)
    # Time-outs of sockets begin anew with each byte; this does not.
    watchdog = threading.Timer(max(0.0, deadline - time.monotonic()), connection.break_off)
    watchdog.daemon = True
    watchdog.start()
    try:
        connection.request("POST", target.path, body=body, headers=dict(headers), preload_content=False, decode_content=False)
        response = connection.getresponse()
        status: int = response.status
        # The receiver has spoken: whatever happens to the rest of its answer, which nobody needs, the status stands.
        with contextlib.suppress(HTTPError, http.client.HTTPException, OSError, ValueError):
            response.read(MOST_BYTES)
        if time.monotonic() >= deadline:
            raise TimeoutError
        return status
    finally:
        watchdog.cancel()
        connection.close()
        connection.forget()


def _judge(status: int) -> str:
    if 200 <= status < 300:
        return ""
    if 300 <= status < 400:
        return _("The receiver answered %(status)d, a redirect. Redirects are not followed: register the URL that it leads to.") % {
            "status": status
        }
    if status == GONE:
        return _("The receiver answered 410 (gone), so this webhook was disabled.")
    return _("The receiver answered %(status)d.") % {"status": status}


def _explain(failure: Exception, *, timed_out: bool) -> str:
    if timed_out or isinstance(failure, TimeoutError):
        return _("The receiver did not answer within %(seconds)d seconds.") % {"seconds": TOTAL_SECONDS}
    cause: BaseException | None = failure
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _("The receiver's certificate is not valid: %(reason)s.") % {"reason": cause.verify_message}
        if isinstance(cause, ssl.SSLError):
            return _("No TLS connection could be made with the receiver.")
        if isinstance(cause, ConnectionRefusedError):
            return _("The receiver refused the connection: nothing listens there.")
        cause = cause.__cause__ or cause.__context__
    if isinstance(failure, OSError | HTTPError):
        return _("The connection to the receiver failed or ended before an answer.")
    return _("The receiver's answer was not HTTP.")


# --- The connection


class _Guarded:
    """What our two connections do otherwise than urllib3's: how a socket is opened."""

    def __init__(self, host: str, port: int, *, deadline: float, **options: Any) -> None:
        super().__init__(host, port, timeout=TOTAL_SECONDS, **options)  # type: ignore[call-arg]
        self._deadline = deadline
        self._handle: socket.socket | None = None
        self._broken_off = False
        self._turn = threading.Lock()

    def _new_conn(self) -> socket.socket:
        made = _open_checked(self._dns_host, self.port, self._deadline)  # type: ignore[attr-defined]
        made.settimeout(TOTAL_SECONDS)
        with self._turn:
            if self._broken_off:
                made.close()
                raise TimeoutError
            # TLS takes the socket over and leaves it empty; a handle of our own can still end the connection.
            self._handle = made.dup()
        return made

    def break_off(self) -> None:
        """End the connection from another thread, wherever it is."""
        with self._turn:
            self._broken_off = True
            if self._handle is not None:
                with contextlib.suppress(OSError):
                    self._handle.shutdown(socket.SHUT_RDWR)

    def forget(self) -> None:
        """Give the handle back."""
        with self._turn:
            if self._handle is not None:
                self._handle.close()
                self._handle = None


class _Plain(_Guarded, urllib3_connection.HTTPConnection):
    pass


class _Encrypted(_Guarded, urllib3_connection.HTTPSConnection):
    pass


def _connection(target: Target, deadline: float) -> _Plain | _Encrypted:
    if target.scheme == "https":
        return _Encrypted(target.host, target.port, deadline=deadline, ssl_context=_tls())
    return _Plain(target.host, target.port, deadline=deadline)


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    """Certificates are checked against the system's authorities, with the host's name."""
    return ssl.create_default_context()


def _open_checked(host: str, port: int, deadline: float) -> socket.socket:
    """A connection to an address of ``host`` that was checked. One address that is not public spoils them all: nobody has both."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise _Refused(_("The name %(host)s is not known. Look for a typing error in the URL.") % {"host": host}) from None
    if not found or not all(may_be_sent_to(str(place[0]), settings.WEBHOOK_PRIVATE_ADDRESSES) for *_rest, place in found):
        raise _Refused(not_public(host))
    connect_until = min(deadline, time.monotonic() + CONNECT_SECONDS)
    failure: OSError = TimeoutError()
    for family, kind, protocol, _name, place in found:
        left = connect_until - time.monotonic()
        if left <= 0:
            break
        opened = socket.socket(family, kind, protocol)
        try:
            opened.settimeout(left)
            opened.connect(place)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            opened.close()
            failure = error
        else:
            return opened
    raise failure
