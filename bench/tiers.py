"""1,000 requests a second as three tiers: ``python -m bench.tiers``.

Free has 1 key at 100 a second, Basic 25 at 20, Premium 10 at 40 (bursts 50, 10, 20), each tier offered much more than it
may pass. In theory rate x time + bursts pass. Goals: every tier within 1 % of theory in each mix, no more than 1 % above
in total; and with 0.8 x its rate offered, no refusal. nginx ``limit_req`` beside it under the same closed-loop mixes.
Needs nginx and wrk. Windows of 15 s (``--seconds``), about two minutes in all. In shorter windows the token that each key
is still gathering at the end weighs more: 1 of the 110 that a Basic key passes in 5 s.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench import machine, table, verdict
from bench.gateways import Limit, Nginx, finish_wrk, missing_tools, provision, start_wrk
from tests.support.sandbox import SandboxProcess

TIERS = [Limit("Free", 1, 100, 50), Limit("Basic", 25, 20, 10), Limit("Premium", 10, 40, 20)]
API = "/_aws/execute-api/groceries/v1/api"
# Connections of each tier: a closed loop offers in proportion to them.
MIXES = {"10/50/40": (4, 20, 16), "hostile 80/10/10": (32, 4, 4)}
TICK = 0.005
REFILL = 2.0  # seconds after which every bucket is full again: bursts are at most half a second's rate


@dataclass
class Window:
    """What one tier was offered and what passed during one window."""

    tier: Limit
    offered: int
    passed: int
    seconds: float

    @property
    def error(self) -> float:
        """How far the passed requests are from theory, as a share of it."""
        return self.passed / self.tier.theory(self.seconds) - 1


def main() -> int:
    """Run all windows, print one table, check the goals."""
    parser = argparse.ArgumentParser(prog="python -m bench.tiers")
    parser.add_argument("--seconds", type=int, default=15, help="length of a window (default: %(default)s)")
    seconds = parser.parse_args().seconds
    missing = missing_tools()
    if missing:
        print(f"not installed: {', '.join(missing)}")
        return 1
    machine()
    with tempfile.TemporaryDirectory() as name:
        results = _measure(Path(name), seconds)
    table(
        f"Passed in windows of {seconds:g} s, error against rate x time + bursts",
        ["gateway, mix", "offered/s", *(tier.name for tier in TIERS), "total"],
        [_row(title, windows) for title, windows in results.items()],
    )
    return verdict(_goals(results))


def _measure(folder: Path, seconds: int) -> dict[str, list[Window]]:
    (folder / "nginx").mkdir()
    results = {}
    with (
        Nginx(folder / "nginx", TIERS) as nginx,
        SandboxProcess("--log-dir", str(folder / "log")) as sandbox,
    ):
        provision(sandbox, TIERS)
        for mix, connections in MIXES.items():
            results[f"nginx, {mix}"] = _closed_loop(folder, nginx.url, None, connections, seconds)
            results[f"sandbox, {mix}"] = _closed_loop(folder, sandbox.url, API, connections, seconds)
        for factor in (5.0, 0.8):
            results[f"sandbox, open loop, {factor:g} x"] = asyncio.run(_open_loop(sandbox.url, factor, seconds))
    return results


def _closed_loop(folder: Path, url: str, path: str | None, connections: tuple[int, ...], seconds: int) -> list[Window]:
    """Flood with one wrk process a tier; buckets are full at the start."""
    time.sleep(REFILL)
    runs = [
        start_wrk(folder, url, path or f"/{tier.name}", tier, connections=count, seconds=seconds)
        for tier, count in zip(TIERS, connections, strict=True)
    ]
    loads = [finish_wrk(run) for run in runs]
    return [Window(tier, load.requests, load.passed, load.seconds) for tier, load in zip(TIERS, loads, strict=True)]


class _Paced(asyncio.Protocol):
    """A connection of one tier: sends what is due and counts the answers."""

    def __init__(self, tier: Limit) -> None:
        self.requests = [f"GET {API} HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {value}\r\n\r\n".encode() for value in tier.values()]
        self.sent = self.passed = self.refused = 0
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        # Status lines may be cut by the end of a read: the last bytes are kept until they are whole.
        data = self.rest + data
        self.passed += data.count(b"HTTP/1.1 200 ")
        self.refused += data.count(b"HTTP/1.1 429 ")
        self.rest = data[-12:]

    def send(self, count: int) -> None:
        """Send so many requests, with the tier's keys in turn."""
        chosen = [self.requests[(self.sent + number) % len(self.requests)] for number in range(count)]
        self.sent += count
        self.transport.write(b"".join(chosen))  # type: ignore[attr-defined]


async def _open_loop(url: str, factor: float, seconds: float) -> list[Window]:
    """Send ``factor`` times each tier's rate, evenly, whatever the answers are."""
    await asyncio.sleep(REFILL)
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    senders = []
    for tier in TIERS:
        _, sender = await loop.create_connection(lambda tier=tier: _Paced(tier), parts.hostname, parts.port)
        senders.append((tier, sender))
    start = loop.time()
    elapsed = 0.0
    while elapsed < seconds:
        elapsed = min(seconds, loop.time() - start)
        for tier, sender in senders:
            due = int(tier.keys * tier.rate * factor * elapsed)
            if due > sender.sent:
                sender.send(due - sender.sent)
        await asyncio.sleep(TICK)
    taken = loop.time() - start
    deadline = loop.time() + 10
    while any(each.passed + each.refused < each.sent for _, each in senders) and loop.time() < deadline:
        await asyncio.sleep(TICK)
    for _, sender in senders:
        sender.transport.close()
    return [Window(tier, sender.sent, sender.passed, taken) for tier, sender in senders]


def _row(title: str, windows: list[Window]) -> list[str]:
    offered = sum(window.offered / window.seconds for window in windows)
    if title.endswith("0.8 x"):
        cells = [f"{window.passed:,} of {window.offered:,}" for window in windows]
        total = f"{sum(window.passed for window in windows):,}"
    else:
        cells = [f"{window.passed:,} ({window.error:+.2%})" for window in windows]
        total = f"{sum(window.passed for window in windows):,} ({_total_error(windows):+.2%})"
    return [title, f"{offered:,.0f}", *cells, total]


def _total_error(windows: list[Window]) -> float:
    theory = sum(window.tier.theory(window.seconds) for window in windows)
    return sum(window.passed for window in windows) / theory - 1


def _goals(results: dict[str, list[Window]]) -> list[tuple[str, bool]]:
    goals = []
    for title, windows in results.items():
        if not title.startswith("sandbox"):
            continue
        if title.endswith("0.8 x"):
            refused = sum(window.offered - window.passed for window in windows)
            goals.append((f"{title}: no refusals: {refused}", refused == 0))
        else:
            worst = max(abs(window.error) for window in windows)
            total = _total_error(windows)
            text = f"{title}: each tier within 1 %, total at most 1 % above: {worst:.2%}, {total:+.2%}"
            goals.append((text, worst <= 0.01 and total <= 0.01))
    return goals


if __name__ == "__main__":
    sys.exit(main())
