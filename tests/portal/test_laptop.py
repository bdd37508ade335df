"""``make run``: what it runs with, and (slow) that it starts, heals, stops and leaves nothing behind."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

from portal import demo
from portal.laptop import configuration
from portal.laptop.configuration import Configuration, UnableToStart
from tests.support.services import ROOT, free_port, wait_until


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@pytest.fixture
def settings_of(tmp_path, monkeypatch):
    """Read a configuration from the given variables."""
    for name in ("PORT", "SANDBOX_PORT", "GATEWAY", "PORTAL_URL", "SECRET_KEY", "ENCRYPTION_KEYS", *configuration.SANDBOX_API):
        monkeypatch.delenv(name, raising=False)

    def read(**variables: str) -> Configuration:
        for name, value in {"DATA_DIR": str(tmp_path / "data"), **variables}.items():
            monkeypatch.setenv(name, value)
        return configuration.read()

    return read


# What it runs with


def test_defaults_are_the_documented_ones(settings_of, tmp_path):
    assert settings_of() == Configuration(data_dir=tmp_path / "data", port=8000, sandbox_port=4510, aws=False)
    assert settings_of().portal_url == "http://localhost:8000"


@pytest.mark.parametrize("variables", [{"PORT": "eighty"}, {"PORT": "70000"}, {"GATEWAY": "azure"}])
def test_nonsense_is_refused(settings_of, variables):
    with pytest.raises(ImproperlyConfigured, match=next(iter(variables))):
        settings_of(**variables)


def test_one_port_for_two_is_refused(settings_of):
    with pytest.raises(UnableToStart, match="PORT and SANDBOX_PORT"):
        settings_of(PORT="9000", SANDBOX_PORT="9000")


@pytest.mark.parametrize("name", ["PORT", "SANDBOX_PORT"])
def test_taken_port_is_named_with_its_variable(settings_of, name):
    other = {"PORT": "SANDBOX_PORT", "SANDBOX_PORT": "PORT"}[name]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = settings_of(**{name: str(port), other: str(free_port())})

        with pytest.raises(UnableToStart, match=f"Port {port} is in use.*{name}={port + 1} make run"):
            configuration.check_ports(settings)

    configuration.check_ports(settings)  # free again: nothing is raised


def test_secrets_are_made_once_and_readable_by_their_owner_alone(settings_of):
    settings = settings_of()
    with configuration.lock(settings.data_dir):
        first = configuration.children_environment(settings)
        second = configuration.children_environment(settings)

    assert first["SECRET_KEY"] == second["SECRET_KEY"]
    Fernet(first["ENCRYPTION_KEYS"])
    path = settings.data_dir / "secrets.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set(json.loads(path.read_text())) == {"SECRET_KEY", "ENCRYPTION_KEYS"}


def test_own_secrets_win(settings_of):
    settings = settings_of(SECRET_KEY="mine")
    with configuration.lock(settings.data_dir):
        assert configuration.children_environment(settings)["SECRET_KEY"] == "mine"


def test_damaged_secrets_are_not_replaced(settings_of):
    settings = settings_of()
    with configuration.lock(settings.data_dir):
        (settings.data_dir / "secrets.json").write_text("")

        with pytest.raises(UnableToStart, match="restore it"):
            configuration.children_environment(settings)


def test_sandbox_mode_keeps_away_from_the_persons_aws_account(settings_of, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "work")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAREAL")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "real")
    settings = settings_of(SANDBOX_PORT="4999")

    with configuration.lock(settings.data_dir):
        environment = configuration.children_environment(settings)

    assert environment["AWS_ENDPOINT_URL_API_GATEWAY"] == "http://127.0.0.1:4999"
    assert environment["GATEWAY_INVOKE_URL"] == "http://localhost:4999/_aws/execute-api/groceries/v1"
    assert environment["AWS_ACCESS_KEY_ID"] == "sandbox"
    assert "AWS_PROFILE" not in environment
    assert "AWS_SESSION_TOKEN" not in environment
    assert environment["DEMO"] == "1"


def test_aws_mode_leaves_the_aws_environment_alone(settings_of, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "work")
    monkeypatch.delenv("AWS_ENDPOINT_URL_API_GATEWAY", raising=False)
    settings = settings_of(GATEWAY="aws", **configuration.SANDBOX_API)

    with configuration.lock(settings.data_dir):
        environment = configuration.children_environment(settings)

    assert environment["AWS_PROFILE"] == "work"
    assert "AWS_ENDPOINT_URL_API_GATEWAY" not in environment


def test_aws_mode_says_what_it_misses(settings_of):
    with pytest.raises(UnableToStart, match="GATEWAY_REST_API_ID, GATEWAY_STAGE"):
        settings_of(GATEWAY="aws", GATEWAY_ACCOUNT_ID="123456789012", GATEWAY_REGION="eu-west-1")


def test_command_beside_it_has_its_database_and_secrets(settings_of):
    settings = settings_of()
    settings.data_dir.mkdir()
    command = [sys.executable, "-m", "portal.laptop.manage", "shell", "-c"]
    command.append("from django.conf import settings as s; print(s.DEMO, s.DATABASES['default']['NAME'], s.SECRET_KEY)")

    refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    made = configuration.children_environment(settings)["SECRET_KEY"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert (refused.returncode, "name its folder with DATA_DIR" in refused.stderr) == (2, True)
    assert done.stdout.split()[-3:] == ["True", str(settings.data_dir / "tollgate.sqlite3"), made]


def test_data_folder_belongs_to_one_run(settings_of):
    settings = settings_of()
    with configuration.lock(settings.data_dir), pytest.raises(UnableToStart, match="Another `make run`"):
        configuration.lock(settings.data_dir)

    configuration.lock(settings.data_dir).close()


# The whole thing


class Laptop:
    """``python -m portal.laptop`` as a process."""

    def __init__(self, folder: Path) -> None:
        self.port, self.sandbox_port = free_port(), free_port()
        self.log = folder / "laptop.log"
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **more: str) -> None:
        own = {"PORT": str(self.port), "SANDBOX_PORT": str(self.sandbox_port), "DATA_DIR": str(self.folder / "data"), **more}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DJANGO_", "GATEWAY", "DEMO"))}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "portal.laptop"], cwd=ROOT, env={**inherited, **own}, stdout=log, stderr=subprocess.STDOUT
            )

    def wait_until_ready(self) -> None:
        wait_until(lambda: "Tollgate is ready" in self.text() or self.ended(), seconds=60, what="the banner")
        assert not self.ended(), self.text()

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def ended(self) -> bool:
        assert self.process is not None
        return self.process.poll() is not None

    def children(self) -> dict[str, int]:
        """Pids of the supervisor's children by what they are."""
        assert self.process is not None
        found = {}
        for pid in child_pids(self.process.pid):
            words = command_line(pid)
            found.update({name: pid for name in ("sandbox", "granian", "worker", "beat") if name in words})
        return found

    def get(self, path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as response:
                return int(response.status)
        except OSError:
            return 0

    def ports_are_free(self) -> bool:
        return is_free(self.port) and is_free(self.sandbox_port)


def child_pids(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent and fields[0] != "Z":
            found.append(int(entry.parent.name))
    return found


def command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def laptop(tmp_path):
    laptop = Laptop(tmp_path)
    yield laptop
    if laptop.process is not None and not laptop.ended():
        laptop.process.terminate()
        laptop.process.wait(15)


@pytest.mark.slow
def test_laptop_starts_heals_and_stops_and_finds_its_data_again(laptop):
    laptop.start()
    laptop.wait_until_ready()
    assert demo.OWNER_EMAIL in laptop.text()
    assert demo.PASSWORD in laptop.text()
    assert laptop.get("/healthz") == 200
    assert set(laptop.children()) == {"sandbox", "granian", "worker", "beat"}

    for name in ("worker", "granian"):
        before = laptop.children()[name]
        os.kill(before, signal.SIGKILL)
        wait_until(lambda name=name, before=before: laptop.children().get(name, before) != before, seconds=15, what=f"a new {name}")
    wait_until(lambda: laptop.get("/healthz") == 200, seconds=15, what="the web server")

    laptop.process.send_signal(signal.SIGINT)
    assert laptop.process.wait(15) == 0
    assert laptop.ports_are_free()

    laptop.start()
    laptop.wait_until_ready()
    assert "Traceback" not in laptop.text()


@pytest.mark.slow
def test_killed_supervisor_takes_its_children_along(laptop):
    laptop.start()
    laptop.wait_until_ready()
    children = laptop.children().values()
    descendants = [*children, *(grandchild for child in children for grandchild in child_pids(child))]

    laptop.process.kill()
    laptop.process.wait(10)

    wait_until(lambda: not any(is_alive(pid) for pid in descendants), seconds=10, what="the end of all children")
    assert laptop.ports_are_free()


def test_setting_that_is_refused_is_said_in_one_line_before_anything_ran(laptop):
    laptop.start(METRICS_TOKEN="too-short")

    assert laptop.process.wait(60) == 2
    [line] = laptop.text().splitlines()
    assert line == "Tollgate cannot start. METRICS_TOKEN is too short to be a secret. Make one with: openssl rand -hex 24"
    assert laptop.ports_are_free()


def test_settings_are_read_in_the_environment_of_the_parts(settings_of):
    settings = settings_of()
    with configuration.lock(settings.data_dir):
        environment = configuration.children_environment(settings)
    before = dict(os.environ)

    configuration.check_settings(environment)
    with pytest.raises(ImproperlyConfigured, match="METRICS_TOKEN"):
        configuration.check_settings({**environment, "METRICS_TOKEN": "too-short"})
    assert dict(os.environ) == before


@pytest.mark.slow
def test_taken_port_stops_the_start_before_anything_ran(laptop):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", laptop.port))
        taken.listen()
        laptop.start()

        assert laptop.process.wait(20) == 2

    assert f"PORT={laptop.port + 1} make run" in laptop.text()
    assert not (laptop.folder / "data").exists()
