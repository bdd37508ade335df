"""Which scenarios come by which crash points: points.txt, written by ``FAULTS=record pytest tests/faults/test_crash_points.py``.

A line a site: its name, then the scenarios that come by it; ``inside`` where each of them has a transaction around it; ``none:`` and why,
written by hand, where no scenario comes by it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from django.db import connections

from keys.gateway import access
from tests.faults import crash
from tests.faults.scenarios import SCENARIOS
from tests.faults.world import World

FILE = Path(__file__).parent / "points.txt"
INSIDE, NONE = "inside", "none: "


def read() -> dict[str, list[str]]:
    """Scenarios by site. A site that lies within transactions alone has none."""
    return {site: [] if told == INSIDE or told.startswith(NONE) else told.split(", ") for site, told in _lines().items()}


def not_played() -> dict[str, str]:
    """Why no scenario comes by, by site."""
    return {site: told.removeprefix(NONE) for site, told in _lines().items() if told.startswith(NONE)}


def _lines() -> dict[str, str]:
    """What is told of each site."""
    lines = FILE.read_text().splitlines() if FILE.exists() else []
    return {site: told for site, _, told in (line.partition(" | ") for line in lines)}


def note(name: str, seen: dict[str, set[str]]) -> None:
    """Write down what a scenario came by: ``seen``, moments by site. Sites that are gone from the code are left out."""
    before, known, lines = _lines(), read(), []
    for site in crash.sites():
        names = {each for each in known.get(site, []) if each != name}
        if crash.BEFORE in seen.get(site, ()):
            names.add(name)
        if names:
            lines.append(f"{site} | {', '.join(each for each in SCENARIOS if each in names)}")
        elif site in seen or known.get(site) or before.get(site) == INSIDE:
            lines.append(f"{site} | {INSIDE}")
        elif site in before:
            lines.append(f"{site} | {before[site]}")
    FILE.write_text("\n".join(lines) + "\n")


def in_a_child(work: Callable[[], None]) -> int:
    """Do it in a forked process with connections of its own; how it ended, as os.waitpid tells."""
    connections.close_all()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            access.forget_all()
            work()
            status = 0
        except BaseException:  # noqa: BLE001 - a child that fails must not go on as a second test run
            import traceback  # in the child that failed alone

            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1]


def died_at(world: World, act: Callable[[World], None], point: str) -> bool:
    """Let a process do it that is killed at ``<site>|<moment>``; whether it came there. Raises AssertionError when it failed otherwise."""

    def work() -> None:
        crash.die_at(point)
        act(world)

    status = in_a_child(work)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, status
        return True
    assert os.WEXITSTATUS(status) == 0, f"{point}: the process failed before it came there"
    return False


def seen_in(world: World, act: Callable[[World], None]) -> dict[str, set[str]]:
    """Moments by site that a process comes by which does it undisturbed."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as lines:

        def work() -> None:
            with os.fdopen(writing, "w", buffering=1) as out:
                crash.watch(lambda site, moment: print(f"{site}|{moment}", file=out))
                act(world)

        found: dict[str, set[str]] = defaultdict(set)

        def read_all() -> None:
            for line in lines:
                site, _, moment = line.strip().rpartition("|")
                found[site].add(moment)

        reader = threading.Thread(target=read_all)  # while the child fills the pipe
        reader.start()
        status = in_a_child(work)
        os.close(writing)
        reader.join()
    assert status == 0, status
    return found
