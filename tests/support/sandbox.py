"""The sandbox as a process for tests: fixtures ``sandbox`` (a fresh one for each test) and ``sandbox_process``.

    def test_something(sandbox):
        client = sandbox.client()                  # boto3, pointed at it
        sandbox.fault(kind="throttle", operation="CreateApiKey", count=2)
        assert sandbox.state()["calls"] == {"CreateApiKey": 3}

One process serves all tests of a session (each xdist worker has its own); the fixture makes it forget everything
between tests and sets the environment that boto3 reads. Tests that need flags start a ``SandboxProcess`` themselves.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

ROOT = Path(__file__).resolve().parents[2]
REGION = "us-east-1"
START_SECONDS = 20


class Answer:
    """What an HTTP call got."""

    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        """Return the body, parsed."""
        return json.loads(self.body)


class SandboxProcess:
    """``python -m sandbox`` on a free port. Use as a context manager, or call ``start`` and ``stop``."""

    def __init__(self, *flags: str) -> None:
        self.flags = flags
        self.url = ""
        self.process: subprocess.Popen[str] | None = None
        self._clients: dict[str, Any] = {}

    def start(self) -> SandboxProcess:
        """Start it and wait until it listens."""
        command = [sys.executable, "-m", "sandbox", "--port", "0", "--stop-on-eof", *self.flags]
        # Standard input stays open as long as this process lives: no orphans when a test run is killed.
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        assert self.process.stdout is not None
        match = re.search(r"http://\S+", self.process.stdout.readline())
        if match is None:
            self.stop()
            raise RuntimeError(f"the sandbox did not start: exit code {self.process.returncode}")
        self.url = match[0]
        return self

    def stop(self) -> int:
        """Stop it as an operator would, and return its exit code."""
        assert self.process is not None
        self.process.terminate()
        try:
            return self.process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe is not None:
                    pipe.close()

    def __enter__(self) -> SandboxProcess:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    # HTTP

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """Send a request and return the answer, whatever its status. A body that is no bytes is sent as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=headers or {}, method=method)  # noqa: S310 - loopback
        try:
            with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - loopback
                return Answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())

    def _admin(self, method: str, name: str, body: Any = None, *, world: str = "") -> Any:
        answer = self.request(method, f"/_sandbox/{name}?world={world}" if world else f"/_sandbox/{name}", body)
        assert answer.status == 200, answer.body
        return answer.json()

    def invoke_url(self, path: str = "/api", *, api: str = "groceries", stage: str = "v1") -> str:
        """Return the URL of a method, as a tenant would call it."""
        return f"{self.url}/_aws/execute-api/{api}/{stage}{path}"

    def invoke(self, key: str | None = None, path: str = "/api", method: str = "GET", *, api: str = "groceries") -> Answer:
        """Call the data plane as a tenant would."""
        target = self.invoke_url(path, api=api).removeprefix(self.url)
        return self.request(method, target, headers={"X-Api-Key": key} if key else {})

    # Switches

    def world(self, name: str, *apis: str) -> World:
        """Make another account and Region, ``account:region``, with APIs (``id:stage``), if it is not there already."""
        self._admin("POST", "worlds", {"world": name, "apis": list(apis)})
        return World(self, name)

    def worlds(self) -> list[str]:
        """Return the names of all worlds; the default one's is empty."""
        return [each["world"] for each in self._admin("GET", "worlds")]

    def roles(self) -> dict[str, Any]:
        """Return what was said of roles, by ARN."""
        return {each["arn"]: each for each in self._admin("GET", "roles")}

    def role(self, arn: str, **options: Any) -> Any:
        """Say what a role may do: external_id=, deny=[operations], policies=[IAM documents]. An empty ARN: callers without a role."""
        return self._admin("POST", "roles", {"arn": arn, **options})

    def state(self, *, world: str = "") -> Any:
        """Return what it holds: keys (values masked), plans with members, calls by operation, 429s."""
        return self._admin("GET", "state", world=world)

    def moments(self, operation: str, *, world: str = "") -> list[float]:
        """Return when an operation was called, in seconds of the sandbox's clock, the first call first."""
        return [call["at"] for call in self._admin("GET", "calls", world=world) if call["operation"] == operation]

    def fault(self, *, world: str = "", **options: Any) -> Any:
        """Switch a fault on, see ``sandbox/faults.py``: kind, operation, count, probability, seed, seconds ..."""
        return self._admin("POST", "faults", options, world=world)

    def clear_faults(self) -> None:
        """Switch all faults off."""
        self._admin("DELETE", "faults")

    def settings(self, *, world: str = "", **options: Any) -> Any:
        """Change settings, see ``sandbox/settings.py``: aws_limits, key_cap, latency, propagation_delay ..."""
        return self._admin("POST", "settings", options, world=world)

    def clock(self, **options: Any) -> Any:
        """Move its clock: advance=, offset= (seconds), freeze= (True, False, seconds or an ISO time)."""
        return self._admin("POST", "clock", options)

    def flush_log(self) -> int:
        """Have the access log written out; return the number of lines."""
        lines: int = self._admin("POST", "log/flush")["lines"]
        return lines

    def forget(self, *, world: str = "") -> None:
        """Have it forget all keys, plans and usage (amnesia); APIs stay."""
        self._admin("POST", "forget", world=world)

    def reset(self) -> None:
        """Clear faults, settings, clock and counts of calls; worlds and roles that came after the start are gone."""
        self._admin("POST", "reset")

    def client(self, **config: Any) -> Any:
        """Return a boto3 client that talks to it; one attempt a call unless ``retries`` says otherwise.

        Clients are kept: making one takes longer than most tests.
        """
        config.setdefault("retries", {"total_max_attempts": 1})
        name = repr(sorted(config.items()))
        if name not in self._clients:
            self._clients[name] = boto3.client(
                "apigateway",
                endpoint_url=self.url,
                region_name=REGION,
                aws_access_key_id="sandbox",
                aws_secret_access_key="sandbox",
                config=Config(**config),
            )
        return self._clients[name]


class World:
    """One account and Region of a ``SandboxProcess``, see ``sandbox/worlds.py``."""

    def __init__(self, process: SandboxProcess, name: str) -> None:
        self.process = process
        self.name = name
        self.account, _, self.region = name.partition(":")

    def state(self) -> Any:
        """As ``SandboxProcess.state``."""
        return self.process.state(world=self.name)

    def moments(self, operation: str) -> list[float]:
        """As ``SandboxProcess.moments``."""
        return self.process.moments(operation, world=self.name)

    def fault(self, **options: Any) -> Any:
        """As ``SandboxProcess.fault``."""
        return self.process.fault(world=self.name, **options)

    def settings(self, **options: Any) -> Any:
        """As ``SandboxProcess.settings``."""
        return self.process.settings(world=self.name, **options)

    def forget(self) -> None:
        """As ``SandboxProcess.forget``."""
        self.process.forget(world=self.name)

    def client(self) -> Any:
        """Return a boto3 client with credentials of a user of the account."""
        return boto3.client(
            "apigateway",
            endpoint_url=self.process.url,
            region_name=self.region,
            aws_access_key_id=f"AKIA{self.account}TEST",
            aws_secret_access_key="sandbox",
            config=Config(retries={"total_max_attempts": 1}),
        )


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[SandboxProcess]:
    """The process that the tests of a session share. Use ``sandbox`` instead."""
    with SandboxProcess() as process:
        yield process


@pytest.fixture
def sandbox(sandbox_process: SandboxProcess, monkeypatch: pytest.MonkeyPatch) -> SandboxProcess:
    """A sandbox with nothing in it, and the environment that makes boto3 use it."""
    sandbox_process.reset()
    sandbox_process.forget()
    monkeypatch.setenv("AWS_ENDPOINT_URL_API_GATEWAY", sandbox_process.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "sandbox")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sandbox")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    return sandbox_process


@pytest.fixture
def new_clients() -> Iterator[None]:
    """The product's own clients, with the roles that they took on, are made anew for the test, and none of them is left to the next."""
    from keys.gateway.access import forget_all  # Django is set up by then

    forget_all()
    yield
    forget_all()


@pytest.fixture
def accounts(sandbox: SandboxProcess, new_clients: None, monkeypatch: pytest.MonkeyPatch) -> SandboxProcess:
    """The sandbox with STS too: gateways that name a role speak to the world of the role's account.

    Without it nobody asks whose credentials the workers have, so gateways of any account are the default world.
    """
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sandbox.url)
    return sandbox
