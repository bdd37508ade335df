"""What ``make run`` runs with: ports, the data folder, the secrets it generates once, and the environment of its children."""

import base64
import contextlib
import errno
import fcntl
import json
import os
import runpy
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from portal import environment as env

ROOT = Path(__file__).resolve().parents[2]
# The API that the sandbox starts with, as ``manage.py register_gateway`` reads it.
SANDBOX_API = {
    "GATEWAY_ACCOUNT_ID": "000000000000",
    "GATEWAY_REGION": "us-east-1",
    "GATEWAY_REST_API_ID": "groceries",
    "GATEWAY_STAGE": "v1",
}


class UnableToStart(Exception):
    """Something has to be changed before ``make run`` can start; the message says what."""


@dataclass(frozen=True)
class Configuration:
    """Where everything is. ``aws``: keys are kept in Amazon API Gateway, and no sandbox is started."""

    data_dir: Path
    port: int
    sandbox_port: int
    aws: bool

    @property
    def portal_url(self) -> str:
        """Where the browser finds the portal."""
        return env.text("PORTAL_URL", f"http://localhost:{self.port}").rstrip("/")

    @property
    def sandbox_url(self) -> str:
        """Where boto3 finds the sandbox."""
        return f"http://127.0.0.1:{self.sandbox_port}"


def read() -> Configuration:
    """The configuration that the environment describes.

    Raises ImproperlyConfigured on a value that cannot be understood, UnableToStart when GATEWAY=aws misses one that it needs.
    """
    configuration = Configuration(
        data_dir=Path(env.text("DATA_DIR", str(ROOT / "var"))).resolve(),
        port=env.integer("PORT", 8000, low=1, high=65535),
        sandbox_port=env.integer("SANDBOX_PORT", 4510, low=1, high=65535),
        aws=env.choice("GATEWAY", "sandbox", of={"sandbox", "aws"}) == "aws",
    )
    if configuration.aws:
        absent = [name for name in SANDBOX_API if not env.text(name)]
        if absent:
            raise UnableToStart(f"GATEWAY=aws also needs {', '.join(absent)}: they name the stage that tenants call.")
    elif configuration.port == configuration.sandbox_port:
        raise UnableToStart("PORT and SANDBOX_PORT are the same; set one of them to another number.")
    return configuration


def check_ports(configuration: Configuration) -> None:
    """Raises UnableToStart, naming the variable, when a port is taken."""
    wanted = {"PORT": configuration.port}
    if not configuration.aws:
        wanted["SANDBOX_PORT"] = configuration.sandbox_port
    for name, port in wanted.items():
        if _is_taken(port):
            raise UnableToStart(f"Port {port} is in use by another program. Stop it, or choose another port: {name}={port + 1} make run")


def _is_taken(port: int) -> bool:
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with contextlib.suppress(OSError), socket.socket(family) as probe:
            # Connections that ended a moment ago may linger; only somebody who listens counts.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                    return True
    return False


def lock(data_dir: Path) -> IO[str]:
    """Take the data folder, making it where needed; the lock ends with the file or this process.

    Raises UnableToStart when another ``make run`` uses it, or when it cannot be written.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (data_dir / "lock").open("w")
    except OSError as error:
        raise UnableToStart(f"DATA_DIR {data_dir} cannot be written: {error.strerror}.") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise UnableToStart(f"Another `make run` uses {data_dir}. Stop it, or choose another folder with DATA_DIR.") from error
    return file


def children_environment(configuration: Configuration) -> dict[str, str]:
    """The environment of every child: the person's own, the secrets, and what points the portal at the sandbox."""
    environment = {
        **_secrets(configuration.data_dir),
        **os.environ,
        "DEMO": "1",
        "DATA_DIR": str(configuration.data_dir),
        "PORT": str(configuration.port),
        "PORTAL_URL": configuration.portal_url,
        # The sweep and the heartbeat write a dozen lines every few seconds; LOG_LEVEL=INFO shows them.
        "LOG_LEVEL": env.text("LOG_LEVEL", "WARNING"),
        "DJANGO_SETTINGS_MODULE": "portal.settings",
        "PYTHONUNBUFFERED": "1",
        # Celery advises against root, which is what a container usually runs as.
        "PYTHONWARNINGS": env.text("PYTHONWARNINGS", "ignore:You're running the worker with superuser privileges"),
    }
    return environment if configuration.aws else _pointed_at_sandbox(environment, configuration)


def check_settings(environment: Mapping[str, str]) -> None:
    """Raises ImproperlyConfigured for what the portal's settings refuse in this environment: said once, before any part is started, and
    not by each of them."""
    own = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    try:
        runpy.run_path(str(ROOT / "portal" / "settings.py"))
    finally:
        os.environ.clear()
        os.environ.update(own)


def _pointed_at_sandbox(environment: dict[str, str], configuration: Configuration) -> dict[str, str]:
    # Whatever AWS account this person works with otherwise, the demo must not reach it.
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN"):
        environment.pop(name, None)
    direct = [word for word in (environment.get("NO_PROXY"), "localhost", "127.0.0.1") if word]
    return {
        **environment,
        **SANDBOX_API,
        "GATEWAY_INVOKE_URL": f"http://localhost:{configuration.sandbox_port}/_aws/execute-api/groceries/v1",
        "GATEWAY_PACING": env.text("GATEWAY_PACING", "off"),
        "AWS_ENDPOINT_URL_API_GATEWAY": configuration.sandbox_url,
        "AWS_ENDPOINT_URL_STS": configuration.sandbox_url,
        "AWS_ACCESS_KEY_ID": "sandbox",
        "AWS_SECRET_ACCESS_KEY": "sandbox",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": ",".join(direct),
        "no_proxy": ",".join(direct),
    }


def _secrets(data_dir: Path) -> dict[str, str]:
    """SECRET_KEY and ENCRYPTION_KEYS of this data folder, made at the first start; readable by their owner alone."""
    path = data_dir / "secrets.json"
    if not path.exists():
        made = {"SECRET_KEY": secrets.token_urlsafe(50), "ENCRYPTION_KEYS": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()}
        unfinished = path.with_suffix(".new")
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(made, file)
        unfinished.rename(path)
    try:
        known: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UnableToStart(f"{path} cannot be read. Without it stored credentials are lost; restore it, or start afresh.") from error
    return known
