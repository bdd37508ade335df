"""A seeded soak: tenants buy and use API keys while everything that can break breaks; then quiet, and the oracle.

``python -m tests.faults.soak --seeds 1-20 --purchases 200000 --out results.jsonl`` (``make faults``): a line of JSON a seed, a summary at
the end, exit code 1 when anything was wrong. A seed decides what is done and what breaks, and in which order; what meets what is up to
the machine, so a failure may need its seed more than once.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import django

if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    os.environ.setdefault("LOG_LEVEL", "ERROR")
    django.setup()

from django.core.management import call_command
from django.db import connection
from django.test.runner import DiscoverRunner

from keys.models import Finding, FreeSlot, Pool
from tests.faults import oracle
from tests.faults.buyers import Buyer, Tenant
from tests.faults.chaos import Chaos
from tests.faults.harness import Stack, a_stack
from tests.faults.history import History, Outcome
from tests.support import factories
from tests.support.api import token_for
from tests.support.cast import make_member

BUYERS = 4
TENANTS_A_BUYER = 3
# Share of each tier among the purchases: siloed keys are few, as in a portal of many small tenants and some large ones.
TIERS = {"pooled-25": 0.5, "pooled-7": 0.36, "siloed-spares": 0.08, "siloed": 0.06}
# Purchases spread over so many seconds, while things break all the time.
FAULT_SECONDS = 40
# How long may pass from the last fault until nothing is left to do. What is published is the time it took.
QUIET_SECONDS = 150
# Requests a second that no call of the oracle comes up to.
NO_THROTTLE = {"throttle_rate": 10_000, "throttle_burst": 5_000, "quota_limit": None, "quota_period": "", "max_api_keys": 1_000_000}


@dataclass(kw_only=True)
class Result:
    """One seed's figures. ``purchases``: acknowledged ones; ``recovery_seconds``: from the end of the last fault until nothing was left to
    do; ``strays``: keys that nothing explained when a comparison found them, and that were gone in the end."""

    seed: int
    setup: str = ""
    asked: int = 0
    purchases: int = 0
    refused: int = 0
    unknown: int = 0
    losses: int = 0
    orphans: int = 0
    doubles: int = 0
    others: int = 0
    recovery_seconds: float = 0.0
    seconds: float = 0.0
    strays: int = 0
    faults_injected: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    operations: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not self.violations


def soak(seed: int, purchases: int, folder: Path, *, seconds: float = FAULT_SECONDS) -> Result:
    """One seed, on the database of this process, which must be empty. What is wrong stands in the result."""
    began = time.monotonic()
    rng = random.Random(seed)
    result, history = Result(seed=seed), History()
    options, result.setup = _setup_of(rng)
    try:
        with a_stack(folder, **options) as stack:
            try:
                _play(rng, stack, history, result, purchases, seconds)
            except BaseException:
                _keep_logs(folder, seed)
                raise
    except Exception:  # noqa: BLE001 - the other seeds are still to come
        result.others += 1
        result.violations.append(traceback.format_exc(limit=-6)[-3000:])
    result.seconds = round(time.monotonic() - began, 1)
    _count(result, history)
    return result


def _setup_of(rng: random.Random) -> tuple[dict[str, object], str]:
    """Which broker, and whether AWS's rates are on."""
    broker = rng.choice(["redis", "redis", "file"])
    paced = rng.random() < 0.3
    options: dict[str, object] = {"broker": broker, "webs": 2, "workers": 2, "sandbox_flags": ("--account-rate", "0")}
    if paced:
        options |= {"GATEWAY_PACING": "aws", "sandbox_flags": ("--account-rate", "0", "--aws-limits")}
    return options, f"{broker}, {'AWS limits' if paced else 'no limits'}"


def _play(rng: random.Random, stack: Stack, history: History, result: Result, purchases: int, seconds: float) -> None:
    buyers = _world(rng, stack, history)
    stack.quiet(60)
    for number, buyer in enumerate(buyers):
        buyer.purchases = purchases // BUYERS + (number < purchases % BUYERS)
        buyer.seconds = seconds
    chaos = Chaos(random.Random(rng.random()), stack, history)
    _break_things(chaos, buyers)
    result.recovery_seconds = round(stack.quiet(QUIET_SECONDS), 2)
    oracle.settle_pools()
    _fill_free_slots(buyers[0])
    # What a comparison quarantined is deleted by the next one.
    stack.quiet(QUIET_SECONDS)
    stack.quiet(QUIET_SECONDS)
    result.strays = Finding.objects.filter(kind="extra").values("remote_id").distinct().count()
    _judge(stack, history, chaos, result)


def _break_things(chaos: Chaos, buyers: Sequence[Buyer]) -> None:
    """Until all is bought. What went wrong in a thread is raised here."""
    for thread in (*buyers, chaos):
        thread.start()
    for buyer in buyers:
        while buyer.is_alive():
            buyer.join(0.1)
            if not chaos.is_alive():  # else nobody starts again what it killed
                for each in buyers:
                    each.aborted.set()
    chaos.stop()
    for thread in (chaos, *buyers):
        if thread.failure is not None:
            raise thread.failure


def _judge(stack: Stack, history: History, chaos: Chaos, result: Result) -> None:
    found = oracle.violations(stack, history)
    for pool in Pool.objects.all():
        if (uneven := oracle.spread(pool)) > 1:
            found.append(oracle.Violation("other", f"{pool}: with every place filled, its keys differ by {uneven} tenants"))
    found += _foreign_untouched(stack, chaos)
    kinds = Counter(each.kind for each in found)
    result.losses, result.orphans, result.doubles, result.others = (kinds[kind] for kind in ("lost", "orphan", "double", "other"))
    result.violations = oracle.told(found)
    if found:
        _keep_logs(stack.folder, result.seed)


def _world(rng: random.Random, stack: Stack, history: History) -> list[Buyer]:
    """A gateway, four tiers, and tenants that no two buyers share: what happens to one API key happens in order."""
    gateway = factories.make_gateway(account_id="000000000000", region="us-east-1", capacity=10_000)
    stage = factories.make_stage(gateway, invoke_url=stack.sandbox.invoke_url(""))
    for slug, options in {
        "pooled-25": {"pool_size": 25},
        "pooled-7": {"pool_size": 7},
        "siloed-spares": {"spare_target": 20},
        "siloed": {},
    }.items():
        factories.make_tier(slug=slug, name=slug, stage=stage, **{**NO_THROTTLE, **options})
    buyers = []
    for number in range(BUYERS):
        tenants = []
        for _tenant in range(TENANTS_A_BUYER):
            tenant = factories.make_tenant()
            user = make_member(f"{tenant.pk.hex}@example.com", tenant)
            tenants.append(Tenant(tenant.pk, token_for(user)))
        buyers.append(Buyer(f"buyer-{number}", random.Random(rng.random()), stack, history, tenants, TIERS))
    return buyers


def _fill_free_slots(buyer: Buyer) -> None:
    """Buy as many as there are places offered, so that what should be level is."""
    for pool in Pool.objects.select_related("tier"):
        left = FreeSlot.objects.filter(pool=pool).count()
        while left > 0:
            buyer.buy(buyer.tenants[0], min(left, 1000), pool.tier.slug)
            left -= 1000


def _foreign_untouched(stack: Stack, chaos: Chaos) -> list[oracle.Violation]:
    there = {key["name"] for key in stack.sandbox_call(lambda sandbox: sandbox.state())["keys"]}
    return [oracle.Violation("other", f"the key {name} of somebody else is gone") for name in chaos.foreign - there]


def _count(result: Result, history: History) -> None:
    result.asked = len(history.purchases)
    result.purchases, result.refused, result.unknown = (history.count(each) for each in (Outcome.OK, Outcome.FAILED, Outcome.UNKNOWN))
    result.faults, result.faults_injected = dict(sorted(history.faults.items())), sum(history.faults.values())
    result.operations = dict(sorted(history.operations.items()))


def _keep_logs(folder: Path, seed: int) -> None:
    """What the processes wrote, for whoever looks into it."""
    kept = Path(tempfile.gettempdir()) / f"tollgate-faults-seed-{seed}"
    kept.mkdir(exist_ok=True)
    for log in folder.glob("*.log"):
        (kept / log.name).write_bytes(log.read_bytes())
    print(f"The logs of seed {seed} are in {kept}", file=sys.stderr)  # noqa: T201 - for whoever runs it


def replay(seed: int, purchases: int) -> str:
    """How to get there again."""
    return f"To replay: make faults SEEDS={seed} PURCHASES={purchases}"


# --- The command


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.table:
        _say(table(options.table))
        return 0
    seeds = _seeds(options.seeds)
    each = -(-options.purchases // len(seeds))
    logging.disable(logging.WARNING)
    runner = DiscoverRunner(verbosity=0, interactive=False)
    databases = runner.setup_databases()
    results = []
    try:
        for seed in seeds:
            call_command("flush", verbosity=0, interactive=False, reset_sequences=False)
            with tempfile.TemporaryDirectory(prefix=f"tollgate-soak-{seed}-") as folder:
                result = soak(seed, each, Path(folder), seconds=options.seconds)
            results.append(result)
            with options.out.open("a") as out:
                out.write(json.dumps(asdict(result)) + "\n")
            _say(_line(result))
            for words in result.violations:
                _say(f"    {words}")
            if result.violations:
                _say(replay(seed, each))
    finally:
        connection.close()
        runner.teardown_databases(databases)
    _say(_summary(results))
    return int(not all(result.is_clean for result in results))


def table(path: Path) -> str:
    """Results as the rows of a table in Markdown, the sum last."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    columns = ("purchases", "refused", "unknown", "faults_injected", "losses", "orphans", "doubles", "others")
    lines = [
        f"| {row['seed']} | {row['setup']} | {' | '.join(f'{row[name]:,}' for name in columns)} | {row['recovery_seconds']} |"
        for row in rows
    ]
    slowest = max(row["recovery_seconds"] for row in rows)
    total = " | ".join(f"{sum(row[name] for row in rows):,}" for name in columns)
    return "\n".join([*lines, f"| {len(rows)} seeds | | {total} | {slowest} at most |"])


def _line(result: Result) -> str:
    return (
        f"seed {result.seed} ({result.setup}): {result.purchases} purchases, {result.refused} refused, {result.unknown} unknown, "
        f"{result.faults_injected} faults; {result.losses} lost, {result.orphans} orphans, {result.doubles} doubles, "
        f"{result.others} other; quiet after {result.recovery_seconds} s; {result.strays} strays cleaned; {result.seconds} s"
    )


def _summary(results: Iterable[Result]) -> str:
    results = list(results)
    slowest = max((result.recovery_seconds for result in results), default=0.0)
    total = {name: sum(getattr(result, name) for result in results) for name in ("purchases", "losses", "orphans", "doubles", "others")}
    faults = sum(result.faults_injected for result in results)
    return f"{len(results)} seeds, {faults} faults, {total}, slowest recovery {slowest} s, {sum(each.seconds for each in results):.0f} s"


def _say(words: str) -> None:
    print(words, flush=True)  # noqa: T201 - what the command is for


def _seeds(text: str) -> list[int]:
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1)) if "," not in text else [int(each) for each in text.split(",")]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--seeds", default="1-20", help="as 1-20, or 3,7 (default: %(default)s)")
    parser.add_argument("--purchases", type=int, default=200_000, help="of all seeds together (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=FAULT_SECONDS, help="of faults a seed (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("faults.jsonl"), help="results, a line a seed, appended (default: %(default)s)")
    parser.add_argument("--table", type=Path, metavar="FILE", help="play nothing; print the results of FILE as Markdown")
    return parser


if __name__ == "__main__":
    sys.exit(main())
