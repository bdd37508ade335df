"""25,000 siloed purchases over three account-Regions of 10,000 keys, while workers make them and somebody looks all the time.

    python -m bench.shards [--purchases 25000] [--cap 10000] [--spares 200] [--batch 200]

Every count is compared with its rows and its cap in every look, and every account is asked how many keys it holds; AWS's limits are
switched on. Needs PostgreSQL (BENCH_DATABASE_URL); makes a database of its own and drops it. Takes some minutes.
"""

from __future__ import annotations

import argparse
import atexit
import os
import shutil
import sys
import tempfile

os.environ.setdefault("DEMO", "1")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.settings")
os.environ["DATA_DIR"] = tempfile.mkdtemp(prefix="tollgate-bench-")  # where bells go that no worker hears
atexit.register(shutil.rmtree, os.environ["DATA_DIR"], ignore_errors=True)

import django

django.setup()

from django.conf import settings

from bench import machine, table, use_sandbox, verdict
from bench.database import throwaway_database
from tests.support.room import counts
from tests.support.sandbox import SandboxProcess
from tests.support.shards import REGIONS, open_shards, pending, sell, usable


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--purchases", type=int, default=25_000)
    parser.add_argument("--cap", type=int, default=10_000)
    parser.add_argument("--spares", type=int, default=200)
    parser.add_argument("--batch", type=int, default=200)
    options = parser.parse_args()
    settings.GATEWAY_PACING, settings.CANARY_SECONDS = "aws", 0
    machine()
    with SandboxProcess() as sandbox, throwaway_database():
        use_sandbox(sandbox.url)
        tier = open_shards(sandbox, options.cap, options.spares)
        sold = sell(sandbox, tier, options.purchases, batch=options.batch)
        waiting, work = pending(), usable()
        held = [held for held, _rows, _capacity in counts()]
    table(
        f"{options.purchases:,} siloed purchases over {len(REGIONS)} account-Regions of {options.cap:,} keys, {options.spares} spares each",
        ("account-Region", "held at the end", "most ever seen there", "share of the cap", "429"),
        [
            (region, f"{count:,}", f"{sold.fullest[region]:,}", f"{count / options.cap:.1%}", sold.throttled.get(region, 0))
            for region, count in zip(REGIONS, held, strict=True)
        ],
    )
    print(f"\n  {sold.bought:,} bought, {sold.refused} refused, {work:,} work, in {sold.seconds:,.0f} s; looked at {sold.looks:,} times")
    return verdict(
        [
            ("no purchase failed for lack of room", (sold.bought, sold.refused) == (options.purchases, 0)),
            ("no account-Region above its cap at any look", max([*held, *sold.fullest.values()]) <= options.cap),
            ("each key works, and nothing is pending", (work, waiting) == (options.purchases, 0)),
            ("no self-inflicted 429", not sold.throttled),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
