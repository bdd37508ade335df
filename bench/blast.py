"""Whom the flood of one tenant touches: ``python -m bench.blast``.

10,000 tenants share one backend of 1,000 requests a second through 1, 25 or 1,000 pool keys of equal rates (burst: one second's rate, 10
at least), placed as the pool places them: ticket modulo the number of keys. All well-behaved tenants of a key send half its rate
together, at random moments (Poisson); one tenant sends ten times its key's rate. Counted: the other tenants that were refused at least
once in the window. Beside each: the same moments without the flood (refusals of tenants' own bursts), the share of tenants on the
flooder's key (what the sharing alone explains), and random placement, which is what a pool without tickets does.

Virtual time gives the statistics (20 seeds of one flooder, then 20 flooders at once) with the sandbox's own buckets; real HTTP against the
sandbox's process shows that it is so (one connection whose answers come in order, so each is known by its tenant).
Goals: refused <= 0.1 % + own bursts with 1,000 keys, never more than the tenants of the flooder's key + own bursts; the worst key no more
than one tenant above the mean. About four minutes. ``--picture FILE`` draws the runs over HTTP.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from pathlib import Path
from statistics import mean
from urllib.parse import urlsplit

from bench import machine, pictures, table, verdict
from bench.gateways import Limit, provision
from sandbox.bucket import TokenBucket
from tests.support.sandbox import SandboxProcess

TENANTS, TOTAL_RATE = 10_000, 1_000
KEYS = (1, 25, 1_000)
SEEDS, VIRTUAL_SECONDS = 20, 60.0
MANY = 20  # flooders at once
FLOOD = 10  # times the rate of its key
PATH = "/_aws/execute-api/groceries/v1/api"

Call = tuple[float, int]  # when, in seconds from the start; the tenant


@dataclass(frozen=True)
class Pool:
    """A pool of equal keys; tenants are placed by ticket unless a place is given for each."""

    keys: int
    places: tuple[int, ...] = ()

    @property
    def rate(self) -> int:
        return TOTAL_RATE // self.keys

    @property
    def burst(self) -> int:
        return max(10, self.rate)

    def key(self, tenant: int) -> int:
        return self.places[tenant] if self.places else tenant % self.keys

    def members(self) -> list[list[int]]:
        """The tenants of each key."""
        members: list[list[int]] = [[] for _ in range(self.keys)]
        for tenant in range(TENANTS):
            members[self.key(tenant)].append(tenant)
        return members


def main() -> int:
    """Simulate, then measure over HTTP, print tables, check the goals."""
    parser = argparse.ArgumentParser(prog="python -m bench.blast")
    parser.add_argument("--seconds", type=float, default=30, help="length of a window over HTTP (default: %(default)s)")
    parser.add_argument("--picture", type=Path, help="write a picture of the runs over HTTP (SVG)")
    options = parser.parse_args()
    machine()
    goals: list[tuple[str, bool]] = []
    # Many floods on the one key of a pool are as one.
    rows = [_virtual(Pool(keys), flooders, goals) for keys in KEYS for flooders in (1, MANY) if keys > 1 or flooders == 1]
    table(
        f"Virtual time, {VIRTUAL_SECONDS:g} s, mean of {SEEDS} seeds: tenants refused at least once, of the others",
        ["keys, flooders", "with the flood", "own bursts (no flood)", "on flooded keys", "worst key", "same, placed at random"],
        rows,
    )
    floods = {}
    lines = []
    for keys in KEYS:
        pool = Pool(keys)
        refused = _over_http(pool, [0], options.seconds)
        own = _over_http(pool, [], options.seconds)
        sharing = len(pool.members()[pool.key(0)]) - 1
        floods[keys] = (pool, refused)
        lines.append([f"{keys:,}", _share(len(refused)), _share(len(own)), _share(sharing), f"{len(refused - own):,}"])
        _judge(goals, f"HTTP, {keys:,} keys", pool, refused=len(refused), own=len(own), sharing=sharing)
    table(
        f"Over HTTP, {options.seconds:g} s, one flooder: tenants refused at least once, of the others",
        ["keys", "with the flood", "own bursts (no flood)", "on the flooder's key", "by the flood alone"],
        lines,
    )
    if options.picture:
        options.picture.write_text(_picture(floods, options.seconds))
    return verdict(goals)


def _virtual(pool: Pool, flooders: int, goals: list[tuple[str, bool]]) -> list[str]:
    with_flood, own, sharing, worst_random = [], [], [], []
    for seed in range(SEEDS):
        chosen = random.Random(seed).sample(range(TENANTS), flooders)
        with_flood.append(len(_simulate(pool, chosen, seed)))
        own.append(len(_simulate(pool, [], seed) - set(chosen)))
        members = pool.members()
        sharing.append(len({tenant for each in chosen for tenant in members[pool.key(each)]} - set(chosen)))
        dice = random.Random(f"places {seed}")
        at_random = Pool(pool.keys, tuple(dice.randrange(pool.keys) for _ in range(TENANTS)))
        worst_random.append(max(map(len, at_random.members())))
    worst = max(map(len, pool.members()))
    name = f"{pool.keys:,} key{'s' * (pool.keys > 1)}, {flooders} flooder{'s' * (flooders > 1)}"
    _judge(goals, f"virtual, {name}", pool, refused=mean(with_flood), own=mean(own), sharing=mean(sharing), flooders=flooders)
    others = TENANTS - flooders
    shares = [_share(mean(each), others) for each in (with_flood, own, sharing)]
    return [name, *shares, f"{worst:,}", f"{mean(worst_random):,.1f}"]


def _judge(goals: list[tuple[str, bool]], name: str, pool: Pool, *, refused: float, own: float, sharing: float, flooders: int = 1) -> None:
    """The tenants beside the flooder cannot all have been refused: not all of them called. Nobody else may have been."""
    goals.append((f"{name}: refused {refused:,.1f} <= sharing {sharing:,.1f} + own bursts {own:,.1f}", refused <= sharing + own))
    if pool.keys == max(KEYS):
        bar = flooders * TENANTS * 0.001
        goals.append((f"{name}: refused <= {bar / TENANTS:.1%} of all + own bursts: {(refused - own) / TENANTS:.3%}", refused <= bar + own))
        spread = max(map(len, pool.members())) - min(map(len, pool.members()))
        goals.append((f"{name}: spread {spread} <= 1", spread <= 1))


def _share(count: float, others: int = TENANTS - 1) -> str:
    return f"{count:,.1f} ({count / others:.3%})"


def _calls_of_key(pool: Pool, members: list[int], flooders: set[int], seconds: float, dice: random.Random) -> Iterator[Call]:
    """The calls on one key in order of time. The dice fall the same whether there is a flood or not."""

    def behaved() -> Iterator[Call]:
        now = dice.expovariate(pool.rate / 2)
        while now < seconds:
            tenant = members[dice.randrange(len(members))]
            if tenant not in flooders:
                yield now, tenant
            now += dice.expovariate(pool.rate / 2)

    def flood(tenant: int) -> Iterator[Call]:
        gap = 1 / (pool.rate * FLOOD)
        return ((number * gap, tenant) for number in range(int(seconds / gap)))

    return merge(behaved(), *(flood(tenant) for tenant in members if tenant in flooders))


def _simulate(pool: Pool, flooders: list[int], seed: int) -> set[int]:
    """The tenants, but for the flooders, that were refused at least once."""
    refused: set[int] = set()
    for key, members in enumerate(pool.members()):
        if members:
            bucket = TokenBucket(pool.rate, pool.burst, 0.0)
            calls = _calls_of_key(pool, members, set(flooders), VIRTUAL_SECONDS, random.Random(f"{seed} {key}"))
            refused.update(tenant for now, tenant in calls if not bucket.take(now))
    return refused - set(flooders)


class _Caller(asyncio.Protocol):
    """Sends the calls when they are due, and knows by their order which answer is whose."""

    def __init__(self) -> None:
        self.tenants: list[int] = []
        self.answered = 0
        self.refused: set[int] = set()
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        # What stands before the first status line is the rest of an answer; the last piece may be cut within its status.
        pieces = (self.rest + data).split(b"HTTP/1.1 ")
        complete = len(pieces[-1]) >= len(b"200")
        for piece in pieces[1:] if complete else pieces[1:-1]:
            status = piece[:3]
            if status not in (b"200", b"429"):
                raise RuntimeError(f"an answer that was not asked for: {piece[:200]!r}")
            if status == b"429":
                self.refused.add(self.tenants[self.answered])
            self.answered += 1
        # Up to eight bytes may be the beginning of a status line; digits of a whole one never are.
        self.rest = b"HTTP/1.1 " + pieces[-1] if not complete and len(pieces) > 1 else pieces[-1][3:][-8:]


def _over_http(pool: Pool, flooders: list[int], seconds: float) -> set[int]:
    """The same calls, sent to the sandbox when they are due; the others that were refused."""
    limit = Limit("Pool", pool.keys, pool.rate, pool.burst)
    calls = list(
        merge(
            *(
                _calls_of_key(pool, members, set(flooders), seconds, random.Random(f"http {key}"))
                for key, members in enumerate(pool.members())
            )
        )
    )
    with SandboxProcess() as sandbox:
        provision(sandbox, [limit])
        refused = asyncio.run(_send(sandbox.url, pool, limit, calls))
    return refused - set(flooders)


async def _send(url: str, pool: Pool, limit: Limit, calls: list[Call]) -> set[int]:
    requests = [f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {value}\r\n\r\n".encode() for value in limit.values()]
    loop = asyncio.get_running_loop()
    parts = urlsplit(url)
    _, caller = await loop.create_connection(_Caller, parts.hostname, parts.port)
    start, position = loop.time(), 0
    while position < len(calls):
        now = loop.time() - start
        due = []
        while position < len(calls) and calls[position][0] <= now:
            tenant = calls[position][1]
            caller.tenants.append(tenant)
            due.append(requests[pool.key(tenant)])
            position += 1
        caller.transport.write(b"".join(due))  # type: ignore[attr-defined]
        await asyncio.sleep(0.002)
    deadline = loop.time() + 30
    while caller.answered < len(calls):
        if loop.time() > deadline:
            raise RuntimeError(f"{caller.answered:,} of {len(calls):,} calls were answered")
        await asyncio.sleep(0.01)
    caller.transport.close()
    return caller.refused


def _picture(floods: dict[int, tuple[Pool, set[int]]], seconds: float) -> str:
    panels = []
    for keys, (pool, refused) in floods.items():
        cells = [tenant in refused for members in pool.members() for tenant in members]
        name = f"{keys:,} gateway key{'s' * (keys > 1)}"
        panels.append((name, f"{_share(len(refused)).replace('.0 ', ' ')} refused", cells))
    return pictures.floods(
        "One tenant of 10,000 sends ten times the rate of its key",
        f"a cell a tenant, those of one key side by side; filled: refused at least once in {seconds:g} s (over HTTP, own bursts included)",
        panels,
    )


if __name__ == "__main__":
    sys.exit(main())
