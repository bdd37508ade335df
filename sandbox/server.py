"""HTTP over asyncio: one Protocol object a connection, httptools as the parser.

A full web framework would cost most of the time of a request here (see docs/performance.md): a gateway needs method,
path, two headers, keep-alive, and limits.
"""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import Final, cast

import httptools

from sandbox import dataplane
from sandbox.control import report_defect
from sandbox.http import Drop, Request, Response, json_response
from sandbox.worlds import Worlds

URL_MAX: Final = 8_192
HEADERS_MAX: Final = 10_240
BODY_MAX: Final = 10 * 1024 * 1024
IDLE_SECONDS: Final = 75.0
QUEUE_MAX: Final = 100


class Connection(asyncio.Protocol):
    """One connection. Answers go out in the order of the requests, also when one of them is delayed."""

    def __init__(self, worlds: Worlds, connections: set[Connection]) -> None:
        self.worlds = worlds
        self.connections = connections
        self.transport: asyncio.Transport
        self.parser = httptools.HttpRequestParser(self)
        self.ip = "-"
        self.seen = time.monotonic()
        self.waiting: list[tuple[Request, bool]] = []
        self.busy = False
        self.hanging = False
        self.closing = False
        self._begin()

    def _begin(self) -> None:
        self.url = b""
        self.size = 0
        self.api_key: str | None = None
        self.headers: dict[str, str] = {}
        self.body: list[bytes] = []
        self.too_large: HTTPStatus | None = None

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's does not derive from asyncio's
        self.connections.add(self)
        peer = transport.get_extra_info("peername")
        self.ip = peer[0] if peer else "-"

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections.discard(self)
        self.closing = True
        self.waiting.clear()

    def pause_writing(self) -> None:
        self.transport.pause_reading()  # who does not read answers may not send more requests

    def resume_writing(self) -> None:
        self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self.seen = time.monotonic()
        if self.closing:
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            if self.too_large is None:
                report_defect(error.__context__ or error)
            self.refuse(self.too_large or HTTPStatus.INTERNAL_SERVER_ERROR)
        except httptools.HttpParserError:
            self.refuse(HTTPStatus.BAD_REQUEST)
        except httptools.HttpParserUpgrade:
            # The request was answered as any other; the protocol that it would rather speak is not spoken here.
            self.close()

    # httptools

    def on_message_begin(self) -> None:
        self._begin()

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > URL_MAX:
            self._stop(HTTPStatus.REQUEST_URI_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.size += len(name) + len(value)
        if self.size > HEADERS_MAX:
            self._stop(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        length = self.headers.get("content-length", "0")
        if length.isdigit() and int(length) > BODY_MAX:
            self._stop(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if self.headers.get("expect", "").lower() == "100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.size = 0

    def on_body(self, body: bytes) -> None:
        self.size += len(body)
        if self.size > BODY_MAX:
            self._stop(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        self.body.append(body)

    def on_message_complete(self) -> None:
        if self.too_large:
            return
        method = self.parser.get_method().decode("ascii")
        target = _path_of(self.url)
        keep_alive = self.parser.should_keep_alive()
        if method == "GET" and keep_alive and not self.busy and target.startswith(dataplane.PREFIX):
            world = self.worlds.serving(target)
            if not world.faults.active:
                # The path of nearly every request: no objects, no queue.
                self.transport.write(world.dataplane.answer(method, target, self.headers.get("x-api-key"), self.ip))
                return
        request = Request(method, target, self.headers, b"".join(self.body), self.ip)
        if self.busy:
            self._queue(request, keep_alive=keep_alive)
        else:
            self._serve(request, keep_alive=keep_alive)

    # Answers

    def _stop(self, status: HTTPStatus) -> None:
        """Give the request up; raising ends the parser, which ``data_received`` answers."""
        self.too_large = status
        raise ValueError(status.phrase)

    def _queue(self, request: Request, *, keep_alive: bool) -> None:
        if len(self.waiting) >= QUEUE_MAX:
            self.transport.abort()
        else:
            self.waiting.append((request, keep_alive))

    def _serve(self, request: Request, *, keep_alive: bool) -> None:
        response = self.worlds.handle(request)
        if request.method == "HEAD" and response.drop is None:
            whole = response.raw if response.raw is not None else _render(response, keep_alive)
            response.raw = whole.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        if response.delay > 0:
            self.busy = True
            asyncio.get_running_loop().call_later(response.delay, self._send_late, response, keep_alive)
        else:
            self._send(response, keep_alive=keep_alive)

    def _send_late(self, response: Response, keep_alive: bool) -> None:  # noqa: FBT001 - called by the loop
        self.busy = False
        self._send(response, keep_alive=keep_alive)
        while self.waiting and not self.busy and not self.closing:
            request, keep = self.waiting.pop(0)
            self._serve(request, keep_alive=keep)

    def _send(self, response: Response, *, keep_alive: bool) -> None:
        if response.done is not None:
            response.done()
        if self.closing:
            return
        if response.drop is Drop.RESET:
            self.closing = True
            self.transport.abort()
        elif response.drop is Drop.HANG:
            self.busy = self.hanging = True  # nothing more comes out of this connection
        else:
            self.transport.write(response.raw if response.raw is not None else _render(response, keep_alive))
            if not keep_alive:
                self.close()

    def refuse(self, status: HTTPStatus) -> None:
        """Answer what cannot be read, and close: where the next request begins is not known."""
        if not self.closing:
            message = {HTTPStatus.REQUEST_ENTITY_TOO_LARGE: f"HTTP content length exceeded {BODY_MAX} bytes."}
            kind = "RequestTooLargeException" if status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE else "BadRequestException"
            body = {"message": message.get(status, status.phrase)}
            self.transport.write(_render(json_response(status, body, **{"x-amzn-ErrorType": kind}), keep_alive=False))
            self.close()

    def close(self) -> None:
        """Close when what was written has gone out."""
        self.closing = True
        self.transport.close()


def _path_of(url: bytes) -> str:
    """Return path and query; a URL in absolute form (as proxies send it) loses scheme and host."""
    text = url.decode("latin-1")
    if text.startswith("/"):
        return text
    _, _, rest = text.partition("://")
    _, slash, path = rest.partition("/")
    return slash + path or "/"


def _render(response: Response, keep_alive: bool) -> bytes:  # noqa: FBT001 - one of two arguments
    status = HTTPStatus(response.status)
    head = [f"HTTP/1.1 {status.value} {status.phrase}"]
    head += [f"{name}: {value}" for name, value in response.headers.items()]
    if status is not HTTPStatus.NO_CONTENT:
        head.append(f"Content-Length: {len(response.body)}")
    if not keep_alive:
        head.append("Connection: close")
    return "\r\n".join([*head, "", ""]).encode("latin-1") + response.body


async def sweep(connections: set[Connection]) -> None:
    """Close connections that have been silent for too long; those that hang on purpose stay."""
    while True:
        await asyncio.sleep(5)
        limit = time.monotonic() - IDLE_SECONDS
        for connection in [each for each in connections if each.seen < limit and not each.hanging]:
            connection.close()
