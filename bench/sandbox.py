"""How fast the sandbox is: ``python -m bench.sandbox``.

Its data plane with key check, throttle, quota and access log on, beside nginx ``limit_req`` (log on, same body, one
worker), in turns; then with 10,000 keys instead of 10; then the import of 10,000 keys. Needs nginx and wrk.
Goals: at least 0.25 x nginx; flat from 10 to 10,000 keys (CPU a request within 15 %); import under 2 s.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from bench import machine, table, verdict
from bench.gateways import NO_LIMIT, Limit, Load, Nginx, cpu_seconds, finish_wrk, missing_tools, provision, start_wrk
from tests.support.sandbox import SandboxProcess

ROUNDS, SECONDS, CONNECTIONS = 7, 2, 32
FEW = Limit("few", 10, 100_000_000, 100_000_000)
MANY = Limit("many", 9_990, 100_000_000, 100_000_000)
# limit_req counts in thousandths and 32 bits: a million a second is as good as no limit to it.
NGINX_LIMITS = [Limit("few", 10, 1_000_000, 1_000_000), Limit("many", 9_990, 1_000_000, 1_000_000)]
API = "/_aws/execute-api/groceries/v1/api"


def main() -> int:
    """Measure in turns, print medians."""
    missing = missing_tools()
    if missing:
        print(f"not installed: {', '.join(missing)}")
        return 1
    machine()
    with tempfile.TemporaryDirectory() as name:
        imports = [_import_whole_account() for _ in range(3)]
        loads = _throughput(Path(name))
    nginx = statistics.median(load.rate for load in loads["nginx, 10 keys"])
    table(
        f"wrk -t1 -c{CONNECTIONS}, median of {ROUNDS} x {SECONDS} s in turns; CPU is the server's",
        ["", "requests/s", "x nginx", "CPU us/request", "p99", "refused"],
        [_row(name, runs, nginx) for name, runs in loads.items()],
    )
    seconds = statistics.median(imports)
    table("ImportApiKeys, enabled and attached, through boto3", ["", "s"], [("10,000 keys", f"{seconds:.2f}")])
    beside_nginx = _ratio(loads, "sandbox, 10 keys", "nginx, 10 keys")
    flat = _cost(loads["sandbox, 10,000 keys"]) / _cost(loads["sandbox, 10 keys"])
    nginx_flat = _cost(loads["nginx, 10,000 keys"]) / _cost(loads["nginx, 10 keys"])
    return verdict(
        [
            (f"sandbox at least 0.25 x nginx: {beside_nginx:.2f}", beside_nginx >= 0.25),
            (f"10,000 keys cost at most 1.15 x the CPU of 10: {flat:.2f} (nginx: {nginx_flat:.2f})", flat <= 1.15),
            (f"10,000 keys imported in under 2 s: {seconds:.2f}", seconds < 2),
        ]
    )


def _row(name: str, runs: list[Load], nginx: float) -> list[str]:
    rate = statistics.median(load.rate for load in runs)
    refused = sum(load.refused for load in runs)
    p99 = f"{statistics.median(load.p99 for load in runs) * 1000:.1f} ms"
    cost = f"{_cost(runs) * 1e6:.1f}"
    return [name, f"{rate:,.0f}", f"{rate / nginx:.2f}", cost, p99, str(refused)]


def _cost(runs: list[Load]) -> float:
    """Return the server's CPU seconds a request."""
    return statistics.median(load.cpu / load.requests for load in runs)


def _ratio(loads: dict[str, list[Load]], name: str, beside: str) -> float:
    """Compare the runs of each turn, which stood under the same load of the machine; return the median."""
    return statistics.median(mine.rate / other.rate for mine, other in zip(loads[name], loads[beside], strict=True))


def _import_whole_account() -> float:
    with SandboxProcess() as sandbox:
        return provision(sandbox, [Limit("all", 10_000, 100, 50)])


def _throughput(folder: Path) -> dict[str, list[Load]]:
    """Run nginx and the sandbox in turns, once with 10 keys that call and once with 10,000."""
    (folder / "nginx").mkdir()
    with (
        Nginx(folder / "nginx", NGINX_LIMITS) as nginx,
        SandboxProcess("--log-dir", str(folder / "few"), *NO_LIMIT) as few,
        SandboxProcess("--log-dir", str(folder / "many"), *NO_LIMIT) as many,
    ):
        provision(few, [FEW])
        provision(many, [FEW, MANY])
        candidates = {
            "nginx, 10 keys": (nginx, "/few", FEW),
            "nginx, 10,000 keys": (nginx, "/many", MANY),
            "sandbox, 10 keys": (few, API, FEW),
            "sandbox, 10,000 keys": (many, API, MANY),
        }
        loads: dict[str, list[Load]] = {name: [] for name in candidates}
        for round_number in range(ROUNDS + 1):
            for name, (server, path, limit) in candidates.items():
                before = cpu_seconds(server.process)
                run = start_wrk(folder, server.url, path, limit, connections=CONNECTIONS, seconds=SECONDS)
                load = replace(finish_wrk(run), cpu=cpu_seconds(server.process) - before)
                if round_number:  # the first round warms up
                    loads[name].append(load)
        return loads


if __name__ == "__main__":
    sys.exit(main())
