"""The gateways and the load of the gateway benches: the sandbox, nginx ``limit_req``, and wrk."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.sandbox import SandboxProcess

STAGE = {"apiId": "groceries", "stage": "v1"}
NO_LIMIT = ["--account-rate", "1000000000", "--account-burst", "1000000000"]
BODY = '[{"id":1,"name":"apples","price":2.49},{"id":2,"name":"bread","price":3.2},{"id":3,"name":"milk","price":1.15}]'
NGINX = """
worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log crit; daemon off;
events {{ worker_connections 4096; }}
http {{
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  log_format j escape=json '{{"requestId":"$request_id","ts":"$msec","key":"$http_x_api_key","method":"$request_method",'
    '"resource":"$uri","status":"$status","bytes":"$body_bytes_sent","ip":"$remote_addr"}}';
  access_log {folder}/access.log j buffer=256k flush=5s;
  open_file_cache max=10 inactive=1h; keepalive_requests 100000000; default_type application/json;
  {zones}
  server {{ listen 127.0.0.1:{port} backlog=1024; root {folder}/www; limit_req_status 429; {locations} }}
}}
"""


@dataclass(frozen=True)
class Limit:
    """A tier of the mix: its keys, and the rate and burst of each."""

    name: str
    keys: int
    rate: int
    burst: int

    def key(self, number: int) -> str:
        """Return a key value."""
        return f"{self.name}{number:0>40}"

    def values(self) -> list[str]:
        """Return all key values."""
        return [self.key(number) for number in range(self.keys)]

    def theory(self, seconds: float) -> float:
        """Return how many requests pass in this time, however many are sent."""
        return self.keys * (self.rate * seconds + self.burst)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def provision(sandbox: SandboxProcess, limits: list[Limit]) -> float:
    """Make a usage plan and the keys of each limit; return the seconds that the imports took."""
    client, seconds = sandbox.client(), 0.0
    for limit in limits:
        plan_id = client.create_usage_plan(
            name=limit.name,
            apiStages=[STAGE],
            throttle={"rateLimit": float(limit.rate), "burstLimit": limit.burst},
            quota={"limit": 2_000_000_000, "period": "MONTH"},
        )["id"]
        rows = "\n".join(f"{limit.name}-{number},{value},true,{plan_id}" for number, value in enumerate(limit.values()))
        body = f"Name,Key,Enabled,UsagePlanIds\n{rows}\n".encode()
        started = time.perf_counter()
        client.import_api_keys(body=body, format="csv", failOnWarnings=True)
        seconds += time.perf_counter() - started
    return seconds


class Nginx:
    """nginx with one ``limit_req`` zone a limit, at ``/{name}``, counting by key as the sandbox does."""

    def __init__(self, folder: Path, limits: list[Limit]) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        zones = [f"limit_req_zone $http_x_api_key zone={each.name}:20m rate={each.rate}r/s;" for each in limits]
        # nginx lets burst + 1 pass at once, a token bucket burst.
        locations = [f"location /{each.name} {{ limit_req zone={each.name} burst={each.burst - 1} nodelay; }}" for each in limits]
        (folder / "www").mkdir()
        for each in (folder, folder.parent):
            each.chmod(0o755)  # started by root, nginx serves as another user
        for each in limits:
            (folder / "www" / each.name).write_text(BODY)
        parts = {"zones": "\n  ".join(zones), "locations": " ".join(locations)}
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=self.port, **parts))

    def __enter__(self) -> Nginx:
        self.process = subprocess.Popen(["nginx", "-p", str(self.folder), "-c", "nginx.conf"], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("nginx did not start")

    def __exit__(self, *exc: object) -> None:
        self.process.terminate()
        self.process.wait(10)


@dataclass(frozen=True)
class Load:
    """What a wrk process saw; times in seconds."""

    requests: int
    seconds: float
    refused: int
    p99: float
    cpu: float = 0.0

    @property
    def passed(self) -> int:
        """Requests that were answered with 200."""
        return self.requests - self.refused

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
SCRIPT = """
local keys = {{}}
for number = 0, {count} - 1 do
  keys[number] = wrk.format("GET", "{path}", {{ Host = "localhost", ["X-Api-Key"] = string.format("{name}%040d", number) }})
end
local turn = 0
request = function() turn = (turn + 7919) % {count}; return keys[turn] end
"""


def start_wrk(folder: Path, url: str, path: str, limit: Limit, *, connections: int, seconds: int) -> subprocess.Popen[str]:
    """Start a wrk process that calls with all keys of a limit in turn, in a closed loop."""
    script = folder / f"{limit.name}-{limit.keys}-{url.rsplit(':', 1)[1]}.lua"
    script.write_text(SCRIPT.format(count=limit.keys, path=path, name=limit.name))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish_wrk(process: subprocess.Popen[str]) -> Load:
    """Wait for a wrk process and read its figures."""
    text, _ = process.communicate()
    total = re.search(r"(\d+) requests in ([\d.]+)(s|m)", text)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    if total is None or p99 is None:
        raise RuntimeError(f"wrk said: {text}")
    seconds = float(total[2]) * (60 if total[3] == "m" else 1)
    return Load(int(total[1]), seconds, int(refused[1]) if refused else 0, float(p99[1]) * UNITS[p99[2]])


def cpu_seconds(process: subprocess.Popen[str] | None) -> float:
    """Return the processor time of a process and its children so far: what a busy machine does not change much."""
    assert process is not None
    family = {process.pid}
    total = 0
    for path in sorted(Path("/proc").glob("[0-9]*/stat"), key=lambda each: int(each.parent.name)):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(path.parent.name) in family or int(fields[1]) in family:
            family.add(int(path.parent.name))
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def missing_tools() -> list[str]:
    """Return which of the programs that these benches need are not installed."""
    return [name for name in ("nginx", "wrk") if shutil.which(name) is None]
