"""Servers that tests may use: where they are, whether they answer, and a real Celery worker on any of the brokers.

A test marked ``postgres``, ``redis``, ``rabbitmq`` or ``browser`` is skipped where its part is missing - or fails, when
TOLLGATE_REQUIRE_SERVICES=1 says that everything has to be here. ``python -m tests.support.services postgres`` prints the URL
of a server that answers.
"""

from __future__ import annotations

import atexit
import itertools
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from tests.support.sandbox import SandboxProcess

ROOT = Path(__file__).resolve().parents[2]
REQUIRED = os.environ.get("TOLLGATE_REQUIRE_SERVICES") == "1"
URLS = {
    "postgres": os.environ.get("POSTGRES_URL") or "postgres://postgres@127.0.0.1:5432/tollgate",
    "redis": os.environ.get("REDIS_URL") or "redis://127.0.0.1:6379",
    "rabbitmq": os.environ.get("RABBITMQ_URL") or "amqp://guest:guest@127.0.0.1:5672",
}
DEFAULT_PORTS = {"postgres": 5432, "redis": 6379, "rabbitmq": 5672}
WORKER_SECONDS = 30


def answers(name: str) -> bool:
    """Whether something listens where the service should be."""
    address = urlsplit(URLS[name])
    with suppress(OSError), socket.create_connection((address.hostname, address.port or DEFAULT_PORTS[name]), timeout=2):
        return True
    return False


def _ports() -> Iterator[int]:
    """Below those that the system gives to who asks for any, 3,000 for each process of pytest-xdist, from anywhere in them."""
    first = 20_000 + 3_000 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 4)
    start = secrets.randbelow(3_000)
    return (first + (start + number) % 3_000 for number in itertools.count())


_next_port = _ports()


def free_port() -> int:
    """A port where nobody listens, and that nobody else is given before it is listened on."""
    for number in _next_port:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", number))
            return number
    raise AssertionError("ports do not end")


def chromium() -> str | None:
    """The path of an installed Chromium or Chrome."""
    return next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)


def missing(reason: str) -> None:
    """Skip the test, or fail it where every part is required."""
    if REQUIRED:
        pytest.fail(f"{reason} (TOLLGATE_REQUIRE_SERVICES=1)", pytrace=False)
    pytest.skip(reason)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or fail where everything is required, what this machine has no part for."""
    from django.db import connection  # Django is set up by then

    if item.get_closest_marker("postgres") and connection.vendor != "postgresql":
        pytest.skip("runs on PostgreSQL: set TEST_DATABASE_URL (make test does)")
    for name in ("redis", "rabbitmq"):
        if item.get_closest_marker(name) and not answers(name):
            missing(f"no {name} server answers at {urlsplit(URLS[name]).hostname}")
    if item.get_closest_marker("browser") and chromium() is None:
        missing("no Chromium is installed")


def wait_until(condition: Callable[[], object], *, seconds: float = 10, what: str = "the condition") -> None:
    """Wait until ``condition()`` is true; fails the test after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come true within {seconds} s", pytrace=False)
        time.sleep(0.02)


@dataclass(frozen=True)
class Broker:
    """A broker with nothing in it. ``data_dir`` is where the file broker keeps its messages."""

    kind: str
    url: str
    data_dir: Path


@contextmanager
def used_by_this_process(broker: Broker) -> Iterator[None]:
    """Publish to this broker, as a web process with that CELERY_BROKER_URL would."""
    from kombu import pools  # only where a test wants it

    from portal.broker import transport_options  # the project is imported once Django is set up
    from portal.celery import app

    def switch(url: str, options: dict[str, object]) -> None:
        pools.reset()  # kombu keeps pools by URL alone; the file broker's folder is another one each time
        app._pool = None
        app.amqp._producer_pool = None
        app.conf.broker_url = url
        app.conf.broker_transport_options = options

    before = app.conf.broker_url, app.conf.broker_transport_options
    switch(broker.url, transport_options(broker.url, broker.data_dir / "broker"))
    try:
        yield
    finally:
        switch(*before)


def is_at_rest(broker: Broker) -> bool:
    """Whether the workers of a file broker have nothing in hand and nothing waits for them."""
    from portal.spool import Spool  # the project is imported once Django is set up

    return Spool(broker.data_dir / "broker").is_idle()


@contextmanager
def redis_broker(data_dir: Path) -> Iterator[Broker]:
    """One of Redis's databases 9 to 15 that no other test run uses."""
    import redis  # only where a test wants it

    for number in range(9, 16):
        client = redis.Redis.from_url(f"{URLS['redis']}/{number}")
        with client:
            if client.set("tollgate-tests", os.getpid(), nx=True, ex=900):
                try:
                    yield Broker("redis", f"{URLS['redis']}/{number}", data_dir)
                finally:
                    client.flushdb()
                return
    missing("Redis databases 9 to 15 are all in use")


@contextmanager
def rabbitmq_broker(data_dir: Path) -> Iterator[Broker]:
    """The virtual host of this run, with nothing in it."""
    broker = Broker("rabbitmq", f"{URLS['rabbitmq']}/{_rabbitmq_vhost()}", data_dir)
    _purge(broker.url)
    yield broker
    _purge(broker.url)


@cache
def _rabbitmq_vhost() -> str:
    """One of this process's own where rabbitmqctl may make it (each of its calls takes seconds); else the server's default one."""
    vhost = f"tollgate-tests-{uuid.uuid4().hex[:12]}"
    user = urlsplit(URLS["rabbitmq"]).username or "guest"
    if _rabbitmqctl("add_vhost", vhost) and _rabbitmqctl("set_permissions", "-p", vhost, user, ".*", ".*", ".*"):
        atexit.register(_rabbitmqctl, "delete_vhost", vhost)
        return vhost
    return ""


def _rabbitmqctl(*arguments: str) -> bool:
    command = shutil.which("rabbitmqctl")
    return command is not None and subprocess.run([command, *arguments], capture_output=True, timeout=60, check=False).returncode == 0


def _purge(url: str) -> None:
    from kombu import Connection  # only where a test wants it

    with Connection(url) as connection:
        for queue in ("sync", "webhooks"):
            with suppress(connection.channel_errors):
                connection.channel().queue_purge(queue)


@contextmanager
def a_broker(kind: str, data_dir: Path) -> Iterator[Broker]:
    """A broker of this kind (file, redis, rabbitmq), used by this process while it is open."""
    if kind != "file" and not answers(kind):
        missing(f"no {kind} server answers at {urlsplit(URLS[kind]).hostname}")
    if kind == "file":
        with used_by_this_process(broker := Broker("file", "safefs://localhost//", data_dir)):
            yield broker
        return
    with {"redis": redis_broker, "rabbitmq": rabbitmq_broker}[kind](data_dir) as broker, used_by_this_process(broker):
        yield broker


def database_url() -> str:
    """The test database, as a URL that another process can open."""
    from django.db import connection  # Django is set up by then

    settings = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{settings['NAME']}"
    login = quote(settings["USER"], safe="") + (f":{quote(settings['PASSWORD'], safe='')}" if settings["PASSWORD"] else "")
    return f"postgres://{login}@{settings['HOST']}:{settings['PORT'] or 5432}/{settings['NAME']}"


class WorkerProcess:
    """``celery -A portal worker`` as a process of its own, on the given broker and the test's database."""

    def __init__(self, broker: Broker, *, environment: dict[str, str], concurrency: int = 2) -> None:
        self.broker = broker
        self.log = broker.data_dir / f"worker-{uuid.uuid4().hex[:8]}.log"
        self.node = f"test-{uuid.uuid4().hex[:8]}@localhost"
        self.environment = environment
        self.concurrency = concurrency
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> WorkerProcess:
        """Start it and wait until it answers a ping."""
        from portal.laptop.children import following  # the one place that knows how

        options = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-P", "threads", "-c", str(self.concurrency)]
        command = [sys.executable, "-m", "celery", "-A", "portal", "worker", "-Q", "sync,webhooks", "-n", self.node, "-l", "INFO", *options]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=following(os.getpid()),  # noqa: PLW1509 - two system calls, no lock is taken
            )
        wait_until(self._answers, seconds=WORKER_SECONDS, what=f"a worker that answers ({self.log.read_text()[-2000:]})")
        return self

    def _answers(self) -> bool:
        from portal.celery import app  # as above

        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-4000:]
        return bool(app.control.ping(destination=[self.node], timeout=0.5))

    def kill(self) -> None:
        """Kill it as a crash would: no clean-up."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> None:
        """Stop it as an operator would; kill it when it takes its time (on RabbitMQ it looks up every ten seconds)."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(4)
        except subprocess.TimeoutExpired:
            self.kill()


def worker_environment(broker: Broker, **changes: str) -> dict[str, str]:
    """The environment of a worker: this process's (with what the sandbox fixture set), the broker and the test database."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "portal.settings",
        "PYTHONUNBUFFERED": "1",
        "DEMO": "1",
        "DATA_DIR": str(broker.data_dir),
        "CELERY_BROKER_URL": broker.url,
        "DATABASE_URL": database_url(),
        "GATEWAY_PACING": "off",
        **changes,
    }


@pytest.fixture(params=["file", pytest.param("redis", marks=pytest.mark.redis), pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    """Each kind of broker in turn; tasks that the test sends go there."""
    with a_broker(request.param, tmp_path) as broker:
        yield broker


@pytest.fixture
def file_broker(tmp_path: Path) -> Iterator[Broker]:
    """The file broker alone; tasks that the test sends go there."""
    with a_broker("file", tmp_path) as broker:
        yield broker


@pytest.fixture
def celery_worker_process(transactional_db: None) -> Iterator[Callable[..., WorkerProcess]]:
    """Start real workers: ``celery_worker_process(broker)``, with environment variables as keywords. All end with the test."""
    workers: list[WorkerProcess] = []

    def start(broker: Broker, *, concurrency: int = 2, **environment: str) -> WorkerProcess:
        worker = WorkerProcess(broker, environment=worker_environment(broker, **environment), concurrency=concurrency)
        workers.append(worker)
        return worker.start()

    yield start
    for worker in workers:
        worker.stop()


@pytest.fixture(scope="session")
def _standing_worker(tmp_path_factory: pytest.TempPathFactory, sandbox_process: SandboxProcess, django_db_setup: None) -> Iterator[Broker]:
    """One worker on the file broker for all tests of a session that need no other: to start one takes seconds."""
    data_dir = tmp_path_factory.mktemp("standing-worker")
    broker = Broker("file", "safefs://localhost//", data_dir)
    aws = {"AWS_ENDPOINT_URL_API_GATEWAY": sandbox_process.url, "AWS_ACCESS_KEY_ID": "sandbox", "AWS_SECRET_ACCESS_KEY": "sandbox"}
    worker = WorkerProcess(broker, environment=worker_environment(broker, AWS_DEFAULT_REGION="us-east-1", **aws))
    with used_by_this_process(broker):
        worker.start()
    yield broker
    worker.stop()


@pytest.fixture
def standing_worker(_standing_worker: Broker, sandbox: SandboxProcess, transactional_db: None) -> Iterator[Broker]:
    """A real worker on the file broker that hears what the test commits. It works only when it is rung: there is no beat."""
    with used_by_this_process(_standing_worker):
        yield _standing_worker
    # The tables are emptied next: what is still at work on them would meet that in a deadlock.
    sandbox.clear_faults()
    wait_until(lambda: is_at_rest(_standing_worker), seconds=WORKER_SECONDS, what="a worker with nothing in hand")


if __name__ == "__main__":
    for service in sys.argv[1:]:
        if not answers(service):
            sys.exit(1)
        print(URLS[service])  # noqa: T201 - the Makefile reads it
