"""How fast the sandbox is: ``python -m bench.sandbox``.

Its data plane with key check, throttle, quota and access log on, beside nginx ``limit_req`` (log on, same body, one
worker), in turns; then with 10,000 keys instead of 10; then the import of 10,000 keys. Needs nginx and wrk.
Goals: at least 0.25 x nginx; flat from 10 to 10,000 keys (within 10 %); import under 2 s.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from bench import machine, table, verdict
from bench.gateways import NO_LIMIT, Limit, Load, Nginx, finish_wrk, missing_tools, provision, start_wrk
from tests.support.sandbox import SandboxProcess

ROUNDS, SECONDS, CONNECTIONS = 5, 2.0, 32
FEW = Limit("few", 10, 100_000_000, 100_000_000)
MANY = Limit("many", 9_990, 100_000_000, 100_000_000)
# limit_req counts in thousandths and 32 bits: a million a second is as good as no limit to it.
NGINX_LIMIT = Limit("few", 10, 1_000_000, 1_000_000)
API = "/_aws/execute-api/groceries/v1/api"


def main() -> int:
    """Measure in turns, print medians."""
    missing = missing_tools()
    if missing:
        print(f"not installed: {', '.join(missing)}")
        return 1
    machine()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        imports = [_import_whole_account() for _ in range(3)]
        loads = _throughput(folder)
    rates = {name: statistics.median(load.rate for load in runs) for name, runs in loads.items()}
    nginx = rates["nginx limit_req"]
    rows = [
        (name, f"{rate:,.0f}", f"{rate / nginx:.2f}", loads[name][0].p99, sum(load.refused for load in loads[name]))
        for name, rate in rates.items()
    ]
    title = f"wrk -t1 -c{CONNECTIONS}, median of {ROUNDS} x {SECONDS:g} s in turns"
    table(title, ["", "requests/s", "x nginx", "p99", "refused"], rows)
    seconds = statistics.median(imports)
    table("ImportApiKeys, enabled and attached, through boto3", ["", "s"], [("10,000 keys", f"{seconds:.2f}")])
    few, many = rates["sandbox, 10 keys"], rates["sandbox, 10,000 keys"]
    return verdict(
        [
            (f"sandbox at least 0.25 x nginx: {few / nginx:.2f}", few >= 0.25 * nginx),
            (f"10,000 keys at least 0.90 x 10 keys: {many / few:.2f}", many >= 0.9 * few),
            (f"10,000 keys imported in under 2 s: {seconds:.2f}", seconds < 2),
        ]
    )


def _import_whole_account() -> float:
    with SandboxProcess() as sandbox:
        return provision(sandbox, [Limit("all", 10_000, 100, 50)])


def _throughput(folder: Path) -> dict[str, list[Load]]:
    """Run nginx and the sandbox in turns; the sandbox holds 10,000 keys all the time, of which 10 or all call."""
    (folder / "nginx").mkdir()
    with (
        Nginx(folder / "nginx", [NGINX_LIMIT]) as nginx,
        SandboxProcess("--log-dir", str(folder / "log"), *NO_LIMIT) as few,
        SandboxProcess("--log-dir", str(folder / "log"), *NO_LIMIT) as many,
    ):
        provision(few, [FEW])
        provision(many, [FEW, MANY])
        candidates = {
            "nginx limit_req": (nginx.url, "/few", FEW),
            "sandbox, 10 keys": (few.url, API, FEW),
            "sandbox, 10,000 keys": (many.url, API, MANY),
        }
        loads: dict[str, list[Load]] = {name: [] for name in candidates}
        for round_number in range(ROUNDS + 1):
            for name, (url, path, limit) in candidates.items():
                run = start_wrk(folder, url, path, limit, connections=CONNECTIONS, seconds=SECONDS)
                load = finish_wrk(run)
                if round_number:  # the first round warms up
                    loads[name].append(load)
        return loads


if __name__ == "__main__":
    sys.exit(main())
