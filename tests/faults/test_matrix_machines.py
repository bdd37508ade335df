"""Rows 17 and 18 of the fault matrix, and more: wrong clocks, a full disk, no descriptors, a sleeping holder, another encryption key."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.utils import timezone

from keys.models import GatewayKey
from tenants import secret_values
from tests.faults.harness import ROOT, Part, Stack, Web, Worker, await_that, pace
from tests.faults.matrix import FAULT_SECONDS, ROW, a_world, during, long, measured, statuses
from tests.support.api import token_for

pytestmark = ROW
HOUR, DAY = 3600, 86_400
GRACE_SECONDS = 1800


def put_clock_wrong(part: Web | Worker, seconds: float) -> None:
    part.kill()
    part.start(CLOCK_OFFSET=str(seconds))
    await_that(part.answers, 60, lambda: f"{part.name} with another clock: {part.tail()}")


def until(moment: datetime) -> float:
    """Seconds from now."""
    return (moment - datetime.now(UTC)).total_seconds()


WRONG = {
    "an hour ahead": lambda: HOUR,
    "an hour behind": lambda: -HOUR,
    "a day ahead": lambda: DAY,
    "a day behind": lambda: -DAY,
    # Both as seen by the wrong node: it lives through the moment while the test runs.
    "leap day": lambda: until(datetime(2028, 2, 28, 23, 59, 50, tzinfo=UTC)),
    "daylight saving": lambda: until(datetime(2027, 3, 28, 0, 59, 50, tzinfo=UTC)),
}


@long
@pytest.mark.parametrize("wrong", WRONG)
def test_row_17_one_node_with_a_wrong_clock_breaks_nothing(tmp_path: Path, wrong: str) -> None:
    offset = WRONG[wrong]()
    with a_world(tmp_path, webs=2, TZ="Europe/Berlin") as world:
        right, shifted = world.stack.webs
        valid = token_for(world.owner, expires_at=timezone.now() + timedelta(minutes=30))
        put_clock_wrong(shifted, offset)
        put_clock_wrong(world.stack.workers[1], offset)
        for turn in range(20):
            world.buy(world.bare if turn % 2 else world.pooled, web=world.stack.webs[turn % 2])
        world.ready_within(30)  # as everybody else sees it
        tokens = [world.call("GET", "/keys", web=web, secret=valid).status for web in (right, shifted)]
        rotated = world.buy_many(world.spared, 2)
        old = [each.value for each in rotated]
        for each, web in zip(rotated, (right, shifted), strict=True):
            answer = world.call("POST", f"/keys/{each.id}/rotate", {"grace_seconds": GRACE_SECONDS}, web=web, Idempotency_Key=str(each.id))
            assert answer.status == 200, answer.body
            each.value = answer.json()["credential"]
        now, ends = timezone.now(), GatewayKey.objects.filter(ends_at__isnull=False).values_list("ends_at", flat=True)
        graces = [(moment - now).total_seconds() for moment in ends]
        for _round in range(20):  # both workers look meanwhile
            pace(0.1)
            assert [world.stack.sandbox.invoke(value).status for value in old] == [200, 200], "a grace period that ended early"
        took = world.check()
        for part in (shifted, world.stack.workers[1]):  # somebody sets the clock
            part.kill()
            part.start()
        world.ready_within(30)

        world.check()
        measured(f"17 {wrong}", offset_seconds=offset, tokens=tokens, grace_seconds=graces, quiet_seconds=took)
        assert tokens == [200, 200]
        assert len(graces) == 2
        assert all(GRACE_SECONDS - 60 < grace <= GRACE_SECONDS for grace in graces)


@long
def test_two_workers_with_clocks_90_seconds_apart_keep_one_gateway(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        put_clock_wrong(world.stack.workers[0], 45)
        put_clock_wrong(world.stack.workers[1], -45)
        for _round in range(5):
            world.buy_many(world.bare, 5)
            world.buy_many(world.spared, 3)
            pace(0.5)  # the lease goes from one to the other
        settled = world.stack.quiet(60)
        later = GatewayKey.objects.filter(in_service_at__gt=timezone.now()).count()

        world.check()
        measured("clocks 90 s apart", quiet_seconds=settled, keys_said_to_be_ready_later=later)
        assert later == 0


@long
def test_a_holder_that_was_stopped_past_its_lease_writes_nothing_when_it_wakes_up(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        world.stack.sandbox_call(lambda sandbox: sandbox.fault(kind="latency", operation="ImportApiKeys", seconds=1.0, count=1))
        imports = world.calls().get("ImportApiKeys", 0)
        world.buy_many(world.bare, 50)
        await_that(lambda: world.calls().get("ImportApiKeys", 0) > imports, 20, "an import under way")
        owner = world.holder()
        [stopped] = [each for each in world.stack.workers if each.process is not None and f":{each.process.pid}:" in owner]
        stopped.pause()
        began = time.monotonic()
        world.ready_within(60)
        taken_over = time.monotonic() - began
        world.stack.quiet(60)
        before, rows = world.writes(), sorted(GatewayKey.objects.values_list("pk", "synced_revision", "remote_id", "in_service_at"))

        stopped.resume()
        await_that(lambda: "lease.lost" in stopped.log.read_text(), 20, "a holder that noticed")
        world.stack.quiet(30)

        world.check()
        measured("holder stopped", taken_over_seconds=taken_over, writes_after_waking=sum(world.writes().values()) - sum(before.values()))
        assert world.writes() == before
        assert sorted(GatewayKey.objects.values_list("pk", "synced_revision", "remote_id", "in_service_at")) == rows


@contextmanager
def small_disk(size: str) -> Iterator[Path]:
    """A file system of its own, as large as said; skips where this user may not mount one."""
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="tollgate-disk-"))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False)
    if mounted.returncode:
        folder.rmdir()
        pytest.skip("needs a user who may mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)
        folder.rmdir()


def fill(folder: Path) -> Path:
    """Leave no byte free."""
    filler = folder / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 65_536)
    with suppress(OSError), filler.open("ab", buffering=0) as file:
        while True:
            file.write(b"\0" * 512)
    return filler


@long
def test_row_18_a_full_disk_under_messages_and_logs_stops_no_purchase(tmp_path: Path) -> None:
    with small_disk("30m") as disk, a_world(disk, broker="file") as world:
        filler = fill(disk)
        answers = during(FAULT_SECONDS, lambda: world.buy(world.bare))
        told = statuses(answers)
        filler.unlink()
        recovered = world.ready_within(60)

        world.check()
        measured("18 disk", answers=told, recovered_seconds=recovered)
        assert set(told) <= {"201", "503"}
        assert all(part.is_running for part in world.stack.parts)


@long
def test_row_18_no_file_descriptors_left_is_no_crash(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        web = world.stack.webs[0]
        web.kill()
        web.command = ["prlimit", "--nofile=96", *web.command]
        web.start()
        await_that(web.answers, 60, lambda: f"a web server with few descriptors: {web.tail()}")
        idle = [socket.create_connection(("127.0.0.1", web.port), timeout=2) for _number in range(120)]
        answers = during(FAULT_SECONDS / 2, lambda: world.buy(world.bare, timeout=1))
        told = statuses(answers)
        for each in idle:
            each.close()
        began = time.monotonic()
        assert world.buy(world.bare, again=30, timeout=5).status == 201
        recovered = time.monotonic() - began
        world.ready_within(60)

        world.check()
        measured("18 descriptors", answers=told, recovered_seconds=recovered)
        assert set(told) <= {"201", "503", "none"}
        assert web.is_running


def restart(stack: Stack, *parts: Part, **changes: str) -> None:
    """One after the other, as a rolling restart does."""
    for part in parts:
        part.environment.update(changes)
        part.stop()
        part.start()
        if isinstance(part, Web | Worker):
            await_that(part.answers, 60, lambda part=part: f"{part.name}: {part.tail()}")


@long
def test_the_encryption_key_is_changed_under_load(tmp_path: Path, settings: Any) -> None:
    old, new = settings.ENCRYPTION_KEYS[0], Fernet.generate_key().decode()
    with a_world(tmp_path, webs=2, web_threads=4) as world:
        world.buy_many(world.spared, 5)
        everything = [*world.stack.webs, *world.stack.workers, world.stack.beat]
        with world.buyers(2, world.pooled, world.spared, world.bare, again=30) as answers:
            restart(world.stack, *everything, ENCRYPTION_KEYS=f"{old},{new}")  # all can read the new one before anybody writes it
            restart(world.stack, *everything, ENCRYPTION_KEYS=f"{new},{old}")
            settings.ENCRYPTION_KEYS = [new, old]
            command = [sys.executable, "manage.py", "rotate_encryption"]
            environment = {**world.stack.environment, "ENCRYPTION_KEYS": f"{new},{old}"}
            said = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
            restart(world.stack, *everything, ENCRYPTION_KEYS=new)
        told = statuses(answers)
        settings.ENCRYPTION_KEYS = [new]

        for stored in GatewayKey.objects.values_list("value_encrypted", flat=True):
            secret_values.decrypt(stored)
        world.check(90)
        measured("encryption", answers=told, said=said.stdout.strip(), keys=GatewayKey.objects.count())
        assert set(told) == {"201"}
