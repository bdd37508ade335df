"""A proxy between the workers and the sandbox that changes answers on their way: what the sandbox's own faults cannot do to lists."""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import urlsplit

from tests.support.sandbox import SandboxProcess

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


class HasSandbox(Protocol):
    """A stack, or a world of crash points."""

    sandbox: SandboxProcess


class Proxy:
    """Use as a context manager; give ``url`` to those who call, and the stack behind it to ``stand_before``."""

    def __init__(self) -> None:
        self.mangled = 0
        self._target: Callable[[], str] = lambda: ""
        self._pattern: re.Pattern[str] | None = None
        self._change: Callable[[bytes], bytes] = bytes
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                with suppress(OSError):  # whoever called has left
                    proxy._pass_on(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815 - names that the base class looks for

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def stand_before(self, stack: HasSandbox) -> None:
        self._target = lambda: stack.sandbox.url

    def mangle(self, pattern: str, change: Callable[[bytes], bytes]) -> None:
        """Change the bodies of GET requests whose path the pattern finds."""
        self.mangled = 0
        self._change, self._pattern = change, re.compile(pattern)

    def truth(self) -> None:
        """Pass on everything as it is."""
        self._pattern = None

    def _pass_on(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        connection = http.client.HTTPConnection(urlsplit(self._target()).netloc, timeout=60)
        try:
            headers = {name: value for name, value in request.headers.items() if name.lower() not in {"connection", "content-length"}}
            connection.request(request.command, request.path, body or None, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            request.close_connection = True
            return
        finally:
            connection.close()
        if request.command == "GET" and self._pattern is not None and self._pattern.search(urlsplit(request.path).path):
            self.mangled += 1
            content = self._change(content)
        request.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP:
                request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)
