"""1,000 requests a second as three tiers: ``python -m bench.tiers``.

Free has 1 key at 100 a second, Basic 25 at 20, Premium 10 at 40 (bursts 50, 10, 20), each tier offered much more than it
may pass. In theory rate x time + bursts pass. Goals: every tier within 1 % of theory in each mix, no more than 1 % above
in total; and with 0.8 x its rate offered, no refusal. nginx ``limit_req`` stands beside it under the same load.

Closed loops (wrk) flood, and hide queueing: who waits for an answer sends nothing. Open loops (a sender of this module) send at
a fixed rate whatever is answered: 5 and 40 times what may pass, 40 times with the offer of 80/10/10, and 0.8 times. Where an
open loop cannot send what it wants to, the column "offered" shows what it did send; nginx shows how much the sender can do.

Needs nginx and wrk. Windows of 15 s (``--seconds``), about four minutes in all. In shorter windows the token that each key
is still gathering at the end weighs more: 1 of the 110 that a Basic key passes in 5 s. ``--picture FILE`` draws the run.
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

from bench import machine, pictures, table, verdict
from bench.gateways import Limit, Nginx, finish_wrk, missing_tools, provision, start_wrk
from tests.support.sandbox import SandboxProcess

TIERS = [Limit("Free", 1, 100, 50), Limit("Basic", 25, 20, 10), Limit("Premium", 10, 40, 20)]
API = "/_aws/execute-api/groceries/v1/api"
# Connections of each tier: a closed loop offers in proportion to them.
MIXES = {"10/50/40": (4, 20, 16), "hostile 80/10/10": (32, 4, 4)}
# Open loops: how many times its share each tier is offered; hostile: 40,000 a second as 80/10/10.
SURGES = {"5 x": (5.0, 5.0, 5.0), "40 x": (40.0, 40.0, 40.0), "40 x, hostile 80/10/10": (320.0, 8.0, 10.0), "0.8 x": (0.8, 0.8, 0.8)}
TICK = 0.005
# A sender that is so many requests ahead of the answers waits: what is offered then is what the server takes, and no tier's backlog keeps
# the others from being served for longer than their buckets take to fill.
AHEAD = 1_000
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
    parser.add_argument("--picture", type=Path, help="write a picture of the run (SVG)")
    options = parser.parse_args()
    seconds = options.seconds
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
    if options.picture:
        options.picture.write_text(_picture(results))
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
        for surge, factors in SURGES.items():
            results[f"nginx, open loop, {surge}"] = asyncio.run(_open_loop(nginx.url, None, factors, seconds))
            results[f"sandbox, open loop, {surge}"] = asyncio.run(_open_loop(sandbox.url, API, factors, seconds))
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

    def __init__(self, tier: Limit, path: str) -> None:
        self.requests = [f"GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {value}\r\n\r\n".encode() for value in tier.values()]
        self.sent = self.passed = self.refused = 0
        self.answered_at = 0.0
        self.rest = b""

    @property
    def waiting(self) -> int:
        """Requests without an answer so far."""
        return self.sent - self.passed - self.refused

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        # Status lines may be cut by the end of a read: the last bytes are kept until they are whole.
        data = self.rest + data
        self.passed += data.count(b"HTTP/1.1 200 ")
        self.refused += data.count(b"HTTP/1.1 429 ")
        self.rest = data[-12:]
        self.answered_at = asyncio.get_running_loop().time()

    def send(self, count: int) -> None:
        """Send so many requests, with the tier's keys in turn."""
        chosen = [self.requests[(self.sent + number) % len(self.requests)] for number in range(count)]
        self.sent += count
        self.transport.write(b"".join(chosen))  # type: ignore[attr-defined]


async def _open_loop(url: str, path: str | None, factors: tuple[float, ...], seconds: float) -> list[Window]:
    """Send so many times each tier's rate, evenly, whatever the answers are. A window ends with its last answer: until then tokens come."""
    await asyncio.sleep(REFILL)
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    senders = []
    for tier, factor in zip(TIERS, factors, strict=True):
        _, sender = await loop.create_connection(lambda tier=tier: _Paced(tier, path or f"/{tier.name}"), parts.hostname, parts.port)
        senders.append((tier, tier.keys * tier.rate * factor, sender))
    start = loop.time()
    while (elapsed := loop.time() - start) < seconds:
        for _, rate, sender in senders:
            due = min(int(rate * elapsed) - sender.sent, AHEAD - sender.waiting)
            if due > 0:
                sender.send(due)
        await asyncio.sleep(TICK)
    deadline = loop.time() + 30
    while any(sender.waiting for _, _, sender in senders) and loop.time() < deadline:
        await asyncio.sleep(TICK)
    for _, _, sender in senders:
        sender.transport.close()
    return [Window(tier, sender.sent, sender.passed, sender.answered_at - start) for tier, _, sender in senders]


def _row(title: str, windows: list[Window]) -> list[str]:
    offered = sum(window.offered / window.seconds for window in windows)
    if title.endswith("0.8 x"):
        cells = [f"{window.passed:,} of {window.offered:,}" for window in windows]
        total = f"{sum(window.passed for window in windows):,}"
    else:
        cells = [f"{window.passed:,} ({window.error:+.2%})" for window in windows]
        total = f"{sum(window.passed for window in windows):,} ({_total_error(windows):+.2%})"
    return [title, f"{offered:,.0f}", *cells, total]


def _picture(results: dict[str, list[Window]]) -> str:
    """Draw what passed in each overload beside what was offered."""
    rows = []
    for title, windows in results.items():
        if not title.endswith("0.8 x"):
            offered = [window.offered / window.seconds for window in windows]
            passed = [(window.passed - window.tier.keys * window.tier.burst) / window.seconds for window in windows]
            rows.append((title, offered, passed))
    return pictures.shares(
        "What each tier gets of 1,000 requests a second, whatever is offered",
        "requests a second that passed, less the bursts at the start; lines: the tiers' rates, 100, 500 and 400",
        names=[tier.name for tier in TIERS],
        limits=[float(tier.keys * tier.rate) for tier in TIERS],
        rows=rows,
    )


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
