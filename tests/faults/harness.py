"""The whole product as processes that can be broken: web, workers, beat, a broker of its own, and the sandbox.

    with Stack(tmp_path) as stack:                    # on the database of this process
        stack.workers[0].kill()                       # kill -9, with its children
        stack.workers[0].start()
        stack.broker.flush()                          # its queues are lost
        stack.restart_sandbox()                       # amnesia: it knows no key and no plan
        stack.quiet(60)                               # seconds it took until nothing was left to do; fails after 60
        oracle.check(stack, history)                  # see tests.faults.oracle

Rows are read and written through Django in this process, on the same database. Nothing but this process's own children is ever signalled.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from portal.laptop.children import following
from tests.support.sandbox import REGION, SandboxProcess
from tests.support.services import ROOT, Broker, database_url, free_port, is_at_rest, used_by_this_process
from tests.support.web import Answer

HOOK = Path(__file__).parent / "hook"
START_SECONDS = 60
# What PostgreSQL knows the connections of a stack by.
NAME_IN_POSTGRES = "tollgate-stack"
# Short, so that what waits for a time-out, a lease or a clock takes seconds. A lease lasts 5 + 2 + 2 x 2 = 11 seconds then.
QUICK = {
    "GATEWAY_TIMEOUT_SECONDS": "2",
    "GATEWAY_LEASE_SECONDS": "5",
    "HEARTBEAT_SECONDS": "1",
    "SWEEP_SECONDS": "1",
    "USAGE_SECONDS": "3600",
    "CANARY_SECONDS": "0",
    "QUARANTINE_SECONDS": "0",
    "GATEWAY_PACING": "off",
    "LOG_LEVEL": "INFO",
    **dict.fromkeys(("API_REQUESTS_PER_MINUTE", "API_SECRETS_PER_MINUTE", "API_SWITCHES_PER_MINUTE", "API_SENDS_PER_MINUTE"), "1000000"),
}


# The kernel ends what follows us when the thread ends that started it: this one lasts as long as the process.
_starter = ThreadPoolExecutor(1, thread_name_prefix="starter")


class StackFailure(AssertionError):
    """The stack did not do what it has to; the message says what."""


def await_that(condition: Callable[[], object], seconds: float, what: Callable[[], str] | str) -> float:
    """Wait until ``condition()`` is true; how many seconds it took. Raises StackFailure."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise StackFailure(f"not within {seconds:.0f} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.05)
    return time.monotonic() - began


def pace(seconds: float) -> None:
    """Let so much time pass: between two requests of a load, or while an outage lasts. Whoever waits for something: ``await_that``."""
    time.sleep(max(0.0, seconds))


class Part:
    """One process, leader of a group of its own, so that what it started dies with it."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str], folder: Path) -> None:
        self.name = name
        self.command = command
        self.environment = environment
        self.log = folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._paused = False

    def start(self, **changes: str) -> None:
        """Start it, without waiting for it; ``changes`` to its environment are for this time alone."""
        self.process = _starter.submit(self._start, {**self.environment, **changes}).result()

    def _start(self, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=following(os.getpid()),  # noqa: PLW1509 - two system calls, no lock is taken
                start_new_session=True,
            )

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """kill -9 for it and all its children; nothing when it is dead already."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
        self._paused = False

    def pause(self) -> None:
        """SIGSTOP: it lives, and does nothing."""
        if self.is_running:
            os.killpg(self.process.pid, signal.SIGSTOP)
            self._paused = True

    def resume(self) -> None:
        if self._paused and self.is_running:
            os.killpg(self.process.pid, signal.SIGCONT)
        self._paused = False

    def stop(self, seconds: float = 5) -> None:
        """Stop it as an operator would; kill what is left after that."""
        self.resume()
        if self.is_running:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        self.kill()

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""


class Web(Part):
    """granian with the real settings, on a port that stays over restarts."""

    def __init__(self, name: str, environment: dict[str, str], folder: Path, threads: int) -> None:
        self.port = free_port()
        options = ["--interface", "wsgi", "--host", "127.0.0.1", "--port", str(self.port), "--no-access-log", "--log-level", "error"]
        size = ["--workers", "1", "--blocking-threads", str(threads), "--backlog", "256"]
        super().__init__(name, [sys.executable, "-m", "granian", *options, *size, "portal.wsgi:application"], environment, folder)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answers(self) -> bool:
        try:
            return self.call("GET", "/healthz", timeout=2).status == 200
        except (OSError, http.client.HTTPException):
            return False

    def call(self, method: str, path: str, body: bytes | None = None, *, timeout: float = 30, **headers: str) -> Answer:
        """One request on a connection of its own. Raises OSError or HTTPException when the answer does not come whole."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()


class Worker(Part):
    """A Celery worker for both queues."""

    def __init__(self, name: str, environment: dict[str, str], folder: Path, concurrency: int) -> None:
        self.node = f"{name}-{uuid.uuid4().hex[:8]}@localhost"
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        size = ["-Q", "sync,webhooks", "-n", self.node, "-l", "INFO", "-P", "threads", "-c", str(concurrency)]
        super().__init__(name, [sys.executable, "-m", "celery", "-A", "portal", "worker", *size, *quiet], environment, folder)

    def answers(self) -> bool:
        from portal.celery import app  # the project is imported once Django is set up

        return self.is_running and bool(app.control.ping(destination=[self.node], timeout=0.3))


class RedisBroker(Part):
    """A Redis server of this stack alone, so that it may be flushed, paused and killed."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.broker = Broker("redis", f"redis://127.0.0.1:{self.port}/0", folder)
        command = [
            "redis-server",
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            str(folder),
        ]
        super().__init__("redis", command, dict(os.environ), folder)

    def answers(self) -> bool:
        import redis  # only where it is the broker

        with contextlib.suppress(redis.RedisError), redis.Redis(port=self.port, socket_timeout=1) as client:
            return bool(client.ping())
        return False

    def flush(self) -> None:
        """Lose every message."""
        import redis  # only where it is the broker

        with contextlib.suppress(redis.RedisError), redis.Redis(port=self.port, socket_timeout=1) as client:
            client.flushall()

    def queued(self) -> int:
        """Messages that wait."""
        import redis  # only where it is the broker

        with redis.Redis(port=self.port, socket_timeout=1) as client:
            return int(client.llen("sync")) + int(client.llen("webhooks"))


class FileBroker:
    """The broker of a laptop. It is no process, so it cannot be killed."""

    def __init__(self, folder: Path) -> None:
        self.broker = Broker("file", "safefs://localhost//", folder)
        self.is_running = True

    def start(self) -> None:
        pass

    kill = stop = pause = resume = start

    def answers(self) -> bool:
        return True

    def flush(self) -> None:
        """Lose every message that nobody has in hand."""
        for message in (self.broker.data_dir / "broker" / "queues").glob("*/*"):
            with contextlib.suppress(OSError):
                message.unlink()

    def queued(self) -> int:
        return 0 if is_at_rest(self.broker) else 1


class Stack:
    """See above. ``broker``: redis (a server of its own) or file. ``environment``: variables of all processes, over QUICK."""

    def __init__(
        self,
        folder: Path,
        *,
        broker: str = "redis",
        webs: int = 1,
        workers: int = 2,
        web_threads: int = 8,
        worker_threads: int = 4,
        sandbox_flags: tuple[str, ...] = (),
        **environment: str,
    ) -> None:
        self.folder = folder
        self.broker: Any = RedisBroker(folder) if broker == "redis" and shutil.which("redis-server") else FileBroker(folder)
        self.sandbox = SandboxProcess("--port", str(free_port()), *sandbox_flags)
        self._own = environment
        self._sizes = (webs, web_threads, workers, worker_threads)
        self.webs: list[Web] = []
        self.workers: list[Worker] = []
        self.beat: Part
        self._sandbox_lock = threading.RLock()
        self._stack = ExitStack()

    def __enter__(self) -> Stack:
        try:
            return self._start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *exc: object) -> None:
        for part in self.parts:
            part.resume()
            part.kill()
        self.broker.stop()
        with contextlib.suppress(AssertionError, OSError, ValueError):
            self.sandbox.stop()
        self._stack.close()

    @property
    def parts(self) -> list[Part]:
        """The product's own processes."""
        return [*self.webs, *self.workers, *([self.beat] if hasattr(self, "beat") else [])]

    @property
    def environment(self) -> dict[str, str]:
        """Of each process of the product."""
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "portal.settings",
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": f"{HOOK}{os.pathsep}{ROOT}",
            "PGAPPNAME": NAME_IN_POSTGRES,
            "DEMO": "1",
            "DATA_DIR": str(self.folder),
            "CELERY_BROKER_URL": self.broker.broker.url,
            "DATABASE_URL": database_url(),
            "AWS_ENDPOINT_URL_API_GATEWAY": self.sandbox.url,
            "AWS_ACCESS_KEY_ID": "sandbox",
            "AWS_SECRET_ACCESS_KEY": "sandbox",
            "AWS_DEFAULT_REGION": REGION,
            **QUICK,
            **self._own,
        }

    def _start(self) -> Stack:
        self.sandbox.start()
        self.broker.start()
        await_that(self.broker.answers, START_SECONDS, "a broker that answers")
        self._stack.enter_context(used_by_this_process(self.broker.broker))
        webs, web_threads, workers, worker_threads = self._sizes
        environment = self.environment
        self.webs = [Web(f"web-{number}", environment, self.folder, web_threads) for number in range(webs)]
        self.workers = [Worker(f"worker-{number}", environment, self.folder, worker_threads) for number in range(workers)]
        schedule = ["-s", str(self.folder / "beat-schedule"), "--pidfile="]
        self.beat = Part("beat", [sys.executable, "-m", "celery", "-A", "portal", "beat", *schedule], environment, self.folder)
        for part in self.parts:
            part.start()
        for part in (*self.webs, *self.workers):
            await_that(part.answers, START_SECONDS, lambda part=part: f"{part.name} that answers: {part.tail()}")
        return self

    def sandbox_call(self, act: Callable[[SandboxProcess], Any]) -> Any:
        """Ask the sandbox something, not while it is restarted."""
        with self._sandbox_lock:
            return act(self.sandbox)

    def restart_sandbox(self, *, down_seconds: float = 0) -> None:
        """Kill it and start it on the same port: it knows nothing any more. Settings that were switched are lost with it, too."""
        with self._sandbox_lock:
            process = self.sandbox.process
            assert process is not None
            process.kill()
            self.sandbox.stop()
            pace(down_seconds)
            self.sandbox._clients.clear()
            self.sandbox.start()

    def whole(self) -> None:
        """Let everything run again that was stopped or killed, and switch the sandbox's faults off."""
        self.sandbox_call(lambda sandbox: sandbox.clear_faults())
        self.broker.resume()
        if not self.broker.is_running:
            self.broker.start()
        await_that(self.broker.answers, START_SECONDS, "a broker that answers")
        for part in self.parts:
            part.resume()
            if not part.is_running:
                part.start()

    def revive(self) -> None:
        """Start again what died, as a supervisor would: a worker may come to the point where it is to crash when nobody breaks things any
        more."""
        for part in self.parts:
            if not part.is_running:
                part.start()

    def quiet(self, seconds: float = 60, *, compared: bool = True) -> float:
        """Wait until nothing is left to do, then once more after a full comparison of each gateway (unless not ``compared``); the seconds
        until it was quiet the first time. Raises StackFailure, which says what is left."""
        from keys.models import Gateway
        from keys.services import gateways
        from tenants.audit import SYSTEM

        began = timezone.now()

        def seen_since() -> bool:
            self.revive()
            late = Q(last_seen_at=None) | Q(last_seen_at__lt=began)
            return not Gateway.objects.filter(late).exists() and not left_to_do()

        took = await_that(seen_since, seconds, lambda: f"quiet; left: {left_to_do() or 'a heartbeat'}")
        if compared:
            asked = timezone.now()
            for gateway in Gateway.objects.all():
                gateways.request_reconcile(gateway=gateway, actor=SYSTEM)

            def done() -> bool:
                late = Q(last_reconciled_at=None) | Q(last_reconciled_at__lt=asked)
                return not Gateway.objects.filter(late).exists() and not left_to_do()

            await_that(done, seconds, lambda: f"quiet after a comparison; left: {left_to_do() or 'a comparison'}")
        return took


def left_to_do() -> list[str]:
    """What the rows say is left to do, and who is at work, in words."""
    from keys.models import Gateway

    working = Gateway.objects.exclude(lease_owner="").filter(lease_expires_at__gt=Now())
    return [*undone(), *(f"{gateway} is held by {gateway.lease_owner}" for gateway in working)]


def undone() -> list[str]:
    """What the rows say is left to do. What waits for a person counts, too: it must not come to that. Who is at work does not: a heartbeat
    comes at any time."""
    from keys.models import Gateway, GatewayKey, UsagePlan  # the project is imported once Django is set up
    from keys.sync import due
    from keys.sync.adoption import LOOK_AGAIN

    now = timezone.now()
    found = []
    for rows in (GatewayKey.objects.pending(now), UsagePlan.objects.filter(synced_revision__lt=F("revision"))):
        for one in rows.order_by("-attempts")[:1]:
            trouble = f"tried {one.attempts} times, waits for a person: {one.permanent}, {one.last_error[:200]!r}"
            found.append(f"{rows.count()} of {rows.model.__name__}, one: {one.pk} {trouble}")
    for gateway in Gateway.objects.all():
        if due.has_rows(gateway.pk, now):
            found.append(f"{gateway} has rows that are due")
        if due.check_is_due(gateway) or due.comparison_is_due(gateway) or due.adoptions(gateway.pk, now + LOOK_AGAIN).exists():
            found.append(f"{gateway} was asked something that no worker answered")
        if gateway.failures:
            found.append(f"{gateway} failed {gateway.failures} times: {gateway.last_error[:200]!r}")
    return found


@contextmanager
def a_stack(folder: Path, **options: Any) -> Iterator[Stack]:
    """A stack that runs; ``folder`` is made."""
    folder.mkdir(parents=True, exist_ok=True)
    with Stack(folder, **options) as stack:
        yield stack
