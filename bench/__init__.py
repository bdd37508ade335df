"""Benches: each prints its figures beside a limit and a plain version of the same run, and ends by itself.

``python -m bench.NAME``. Figures of one machine at one time: only ratios within a run are worth comparing.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence

CREATE_A_SECOND = 5  # CreateApiKey, developer guide, control-plane quotas


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; the first column is text, the others stand right."""
    lines = [list(map(str, row)) for row in rows]
    widths = [max(len(line[index]) for line in [list(header), *lines]) for index in range(len(header))]
    print(f"\n{title}\n")
    for number, line in enumerate([list(header), *lines]):
        cells = [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        print("  " + "  ".join(cells).rstrip())
        if number == 0:
            print("  " + "  ".join("-" * width for width in widths))


def machine() -> None:
    """Print what the figures were taken on."""
    load = os.getloadavg()[0]
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {load:.1f} at the start")


def verdict(goals: Iterable[tuple[str, bool]]) -> int:
    """Print whether each goal was met; return an exit code."""
    met = True
    print()
    for text, reached in goals:
        print(f"  {'met    ' if reached else 'MISSED '} {text}")
        met = met and reached
    return 0 if met else 1


def use_sandbox(url: str) -> None:
    """Let boto3 speak to this sandbox, with credentials that it takes."""
    os.environ.update(
        AWS_ENDPOINT_URL_API_GATEWAY=url, AWS_ACCESS_KEY_ID="sandbox", AWS_SECRET_ACCESS_KEY="sandbox", AWS_DEFAULT_REGION="us-east-1"
    )
