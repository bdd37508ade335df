"""A receiver of webhooks for tests: real HTTP on a free port of this machine, which answers as it is told and keeps what it got."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


@dataclass(frozen=True)
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


class Receiver:
    """``answer`` is called with each request and the connection's socket; it returns a status, or None when it wrote by itself."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answer: Callable[[Received, socket.socket], int | None] = lambda _request, _socket: 204
        self.headers: dict[str, str] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def url(self, path: str = "/hooks") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def start(self) -> Receiver:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                request = Received(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                receiver.received.append(request)
                status = receiver.answer(request, self.connection)
                self.close_connection = True
                if status is not None:
                    with suppress(OSError):
                        self.send_response(status)
                        for name, value in receiver.headers.items():
                            self.send_header(name, value)
                        self.send_header("Content-Length", "0")
                        self.end_headers()

            do_GET = do_POST  # noqa: N815 - what a followed redirect would send

            def log_message(self, *args: Any) -> None:
                pass

        return Handler


@contextmanager
def a_receiver() -> Iterator[Receiver]:
    receiver = Receiver().start()
    try:
        yield receiver
    finally:
        receiver.stop()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Answers 204 until it is told otherwise."""
    with a_receiver() as made:
        yield made


def drip(connection: socket.socket, head: bytes, seconds: float) -> None:
    """Write ``head``, then a byte at a time, until nobody listens any more or the time is over."""
    until = time.monotonic() + seconds
    with suppress(OSError):
        connection.sendall(head)
        while time.monotonic() < until:
            connection.sendall(b"x")
            time.sleep(0.05)
