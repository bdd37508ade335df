"""The portal's web server as a process of its own, on the test's database: for races, crashes and servers that are down."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from portal.laptop.children import following
from tests.support.services import ROOT, database_url, free_port, wait_until


@dataclass(frozen=True)
class Answer:
    """An answer as it came over the wire. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class WebProcess:
    """granian with the real settings."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.port = free_port()
        self.log = folder / f"web-{uuid.uuid4().hex[:8]}.log"
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "portal.settings",
            "DEMO": "1",
            "DATA_DIR": str(folder),
            "DATABASE_URL": environment.pop("DATABASE_URL", "") or database_url(),
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *, workers: int = 1, threads: int = 4) -> WebProcess:
        """Start it and wait until it answers."""
        options = ["--interface", "wsgi", "--host", "127.0.0.1", "--port", str(self.port), "--no-access-log", "--log-level", "error"]
        size = ["--workers", str(workers), "--blocking-threads", str(threads), "--backlog", "256"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "granian", *options, *size, "portal.wsgi:application"],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=following(os.getpid()),  # noqa: PLW1509 - two system calls, no lock is taken
            )
        wait_until(self._answers, seconds=30, what=f"a web server that answers ({self.log.read_text()[-2000:]})")
        return self

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-4000:]
        try:
            return self.call("GET", "/healthz").status == 200
        except OSError:
            return False

    def call(self, method: str, path: str, body: Any = None, *, secret: str = "", **headers: str) -> Answer:
        """One request on a connection of its own; ``body``: bytes as they are, else as JSON."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if secret:
            given["Authorization"] = f"Bearer {secret}"
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        if data is not None:
            given.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, data, given)
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)


@contextmanager
def web_process(folder: Path, *, workers: int = 1, threads: int = 4, **environment: str) -> Iterator[WebProcess]:
    """A web server that answers. Needs a test with ``django_db(transaction=True)``: it sees what is committed."""
    process = WebProcess(folder, **environment)
    try:
        yield process.start(workers=workers, threads=threads)
    finally:
        process.stop()
