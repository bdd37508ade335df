"""Fault matrix, row 1: kill -9 before and after every call of the gateway and every commit, whatever is being done.

A failure names the point and the scenario. By default one point of each of a few scenarios is played, as FAULTS_SEED decides;
``FAULTS=each``: every point, both moments, in one scenario; ``FAULTS=all``: in each scenario that comes by it. After new code:
``FAULTS=record`` writes points.txt.
"""

from __future__ import annotations

import os
import random
import re
from typing import Any

import pytest

from keys.models import ApiKey
from tests.faults import crash, oracle, points
from tests.faults.matrix import measured
from tests.faults.scenarios import SCENARIOS
from tests.faults.world import make_world
from tests.support.sandbox import SandboxProcess

pytestmark = [pytest.mark.faults, pytest.mark.postgres, pytest.mark.django_db(transaction=True)]
MODE = os.environ.get("FAULTS", "")
SEED = int(os.environ.get("FAULTS_SEED", "1"))
# Points of the code at the least: fewer means that they are not found any more.
FEWEST = 60
# Scenarios of which a point is played by default; and so many points in one test.
FEW, AT_A_TIME = 11, 8


@pytest.fixture(autouse=True)
def _quick(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.GATEWAY_PACING = "off"
    settings.GATEWAY_TIMEOUT_SECONDS = 2
    settings.HEARTBEAT_SECONDS = 1
    settings.USAGE_SECONDS = settings.RECONCILE_SECONDS = 3600
    settings.QUARANTINE_SECONDS = settings.CANARY_SECONDS = 0
    monkeypatch.setattr("keys.services.bell._ring_now", lambda gateway_id: None)
    monkeypatch.setattr("tenants.webhooks.bell._ring_now", lambda: None)


def _chosen() -> dict[str, list[str]]:
    """Points, as ``<site>|<moment>``, by scenario and number: so few at a time that a busy machine stays below pytest's limit."""
    rng = random.Random(SEED)
    known = sorted((site, scenarios) for site, scenarios in points.read().items() if scenarios)
    chosen = _all(rng, known) if MODE in {"each", "all"} else _few(rng, known)
    return {
        f"{name} {start // AT_A_TIME + 1}": found[start : start + AT_A_TIME]
        for name, found in chosen.items()
        for start in range(0, len(found), AT_A_TIME)
    }


def _all(rng: random.Random, known: list[tuple[str, list[str]]]) -> dict[str, list[str]]:
    chosen: dict[str, list[str]] = {name: [] for name in SCENARIOS}
    for site, scenarios in known:
        for name in scenarios if MODE == "all" else [rng.choice(scenarios)]:
            chosen[name] += [f"{site}|{moment}" for moment in crash.MOMENTS]
    return chosen


def _few(rng: random.Random, known: list[tuple[str, list[str]]]) -> dict[str, list[str]]:
    """One point of each of FEW scenarios, rather one that few others come by: however many scenarios there are, it takes as long."""
    found = {}
    for name in rng.sample(list(SCENARIOS), FEW):
        here = {site: 1 / len(scenarios) for site, scenarios in known if name in scenarios}
        [site] = rng.choices(list(here), list(here.values()))
        found[name] = [f"{site}|{rng.choice(crash.MOMENTS)}"]
    return found


CHOSEN = _chosen()


def test_every_call_of_the_gateway_and_every_commit_has_a_scenario() -> None:
    """A new one fails this until a scenario comes by it (tests/faults/scenarios.py), and is recorded."""
    known = points.read()
    assert set(crash.sites()) - set(known) == set(), "no scenario comes by these"
    assert set(known) - set(crash.sites()) == set(), "these are gone from the code"
    assert {name for scenarios in known.values() for name in scenarios} == set(SCENARIOS)
    assert sum(bool(scenarios) for scenarios in known.values()) >= FEWEST
    assert all(len(why) > 10 for why in points.not_played().values())


def test_sites_are_found_where_code_is_read(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call, a commit and a statement of its own that somebody adds are crash points at once."""
    folder = tmp_path / "sync"
    folder.mkdir()
    code = """
def work(session, rows):
    session.client.delete_key("a")
    rows.update(x=1)
    with session.lease.writing():
        rows.update(x=2)
    with transaction.atomic():
        session.client.delete_key("b")
"""
    (folder / "new.py").write_text(code)
    monkeypatch.setattr(crash, "KEYS", tmp_path)
    crash._client_methods.cache_clear()
    monkeypatch.setattr(crash, "_client_methods", lambda: frozenset({"delete_key"}))

    names = [site.name for site in crash._sites_of(folder / "new.py")]

    place = "sync.new.work"
    assert names == [f"{place}:delete_key", f"{place}:update", f"{place}:writing", f"{place}:atomic", f"{place}:delete_key#2"]


@pytest.mark.skipif(MODE == "record", reason="recording")
@pytest.mark.parametrize("chosen", list(CHOSEN))
def test_killed_there_nothing_is_lost(chosen: str, sandbox: SandboxProcess) -> None:
    world = make_world(sandbox)
    name = chosen.rpartition(" ")[0]
    prepare, act = SCENARIOS[name]
    missed: list[str] = []
    for point in CHOSEN[chosen]:
        note = f"killed at {point} in “{name}”; to replay: FAULTS={MODE} FAULTS_SEED={SEED} pytest {__file__} -k '{_word(chosen)}'"
        for _again in range(2):  # its way depends on the clock now and then
            prepare(world)
            died = points.died_at(world, act, point)
            world.mend()
            world.recover()
            if died:
                break
        else:
            missed.append(point)
        act(world)
        world.mend()
        world.recover()
        oracle.settle_pools()
        oracle.check(world, note=note)
        for bought in world.made.get("names", ()):
            assert ApiKey.objects.filter(name=bought).count() == 1, note
    measured("1", scenario=name, moments=len(CHOSEN[chosen]), missed=missed)
    assert len(missed) <= len(CHOSEN[chosen]) // 5, missed


def _word(name: str) -> str:
    return re.sub(r"[^a-z0-9 ]", "", name)


@pytest.mark.skipif(MODE != "record", reason="FAULTS=record writes points.txt")
@pytest.mark.parametrize("name", list(SCENARIOS))
def test_record(name: str, sandbox: SandboxProcess) -> None:
    world = make_world(sandbox)
    prepare, act = SCENARIOS[name]
    prepare(world)
    points.note(name, points.seen_in(world, act))
    world.mend()
    world.recover()
    oracle.settle_pools()
    oracle.check(world, note=name)
