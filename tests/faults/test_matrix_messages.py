"""Rows 2 to 5 of the fault matrix: messages that come too often, are lost, or cannot be sent, and workers that die with them in hand."""

from __future__ import annotations

import time
from pathlib import Path

from keys.services.bell import _ring_now
from tests.faults.harness import Stack, await_that
from tests.faults.matrix import FAULT_SECONDS, ROW, World, a_world, during, long, measured, statuses

pytestmark = ROW
# CreateApiKey, published by AWS: what one by one would take.
KEYS_A_SECOND = 5


def deliver(world: World, times: int) -> None:
    for _time in range(times):
        _ring_now(world.gateway.pk)


def test_row_2_a_task_that_is_delivered_ten_times_works_once(tmp_path: Path) -> None:
    with a_world(tmp_path, workers=2, worker_threads=4) as world:
        before = world.writes()
        world.buy_many(world.bare, 20)
        world.ready_within(30)
        once = {name: count - before.get(name, 0) for name, count in world.writes().items()}

        before = world.writes()
        world.buy_many(world.bare, 20)
        deliver(world, 10)
        world.ready_within(30)
        await_that(lambda: world.stack.broker.queued() == 0, 30, "an empty broker")
        ten_times = {name: count - before.get(name, 0) for name, count in world.writes().items()}

        world.check()
        measured("2", once=once, ten_times=ten_times)
        assert ten_times == once


@long
def test_row_3_a_flushed_broker_loses_no_work(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        for worker in world.stack.workers:
            worker.kill()
        world.buy_many(world.bare, 1_000)
        deliver(world, 1_000)
        queued = world.stack.broker.queued()
        assert queued >= 1_000

        world.stack.broker.flush()
        assert world.stack.broker.queued() < 10  # beat goes on
        began = time.monotonic()
        for worker in world.stack.workers:
            worker.start()
        world.ready_within(60)

        took = time.monotonic() - began
        world.check()
        measured("3", queued=queued, lost=0, all_ready_seconds=took)
        assert took <= 60


def killed_in_the_middle(world: World) -> float:
    """Kill every worker while the import is under way, start them again; seconds until all is ready."""
    world.stack.sandbox_call(lambda sandbox: sandbox.fault(kind="latency", operation="ImportApiKeys", seconds=1.5))
    imports = world.calls().get("ImportApiKeys", 0)
    world.buy_many(world.bare, 100)
    await_that(lambda: world.calls().get("ImportApiKeys", 0) > imports, 20, "an import under way")
    for worker in world.stack.workers:
        worker.kill()
    assert world.holder(), "the holder of the lease died with it"
    world.stack.sandbox_call(lambda sandbox: sandbox.clear_faults())
    began = time.monotonic()
    for worker in world.stack.workers:
        worker.start()
    world.ready_within(90)
    return time.monotonic() - began


@long
def test_row_4_a_worker_that_is_killed_in_the_middle_is_made_up_for(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        took = killed_in_the_middle(world)

        world.check()
        measured("4", resumed_seconds=took)
        assert took <= 30


@long
def test_row_4_with_the_lease_and_time_outs_as_shipped(tmp_path: Path) -> None:
    """The lease of a dead holder has to run out: as shipped, up to 24 seconds; then a sweep finds it, 5 seconds later at most."""
    with a_world(tmp_path, GATEWAY_TIMEOUT_SECONDS="15", GATEWAY_LEASE_SECONDS="24", SWEEP_SECONDS="5") as world:
        took = killed_in_the_middle(world)

        world.check(120)
        measured("4 as shipped", resumed_seconds=took)
        assert took <= 30


@long
def test_row_5_purchases_go_on_while_the_broker_is_down(tmp_path: Path) -> None:
    aws = {"sandbox_flags": ("--aws-limits",), "GATEWAY_PACING": "aws"}
    with a_world(tmp_path, **aws) as world:
        world.stack.broker.kill()
        waited: list[float] = []

        def buy() -> object:
            began = time.monotonic()
            answer = world.buy(world.bare)
            waited.append(time.monotonic() - began)
            return answer

        answers = during(FAULT_SECONDS, buy)
        world.buy_many(world.bare, 200)
        backlog = world.preparing()
        began = time.monotonic()
        restart(world.stack)
        world.ready_within(120)

        took = time.monotonic() - began
        world.check()
        rate = backlog / took
        measured("5", answers=statuses(answers), slowest_seconds=max(waited), backlog=backlog, drained_seconds=took, keys_a_second=rate)
        assert statuses(answers) == {"201": len(answers)}
        assert rate >= 0.9 * KEYS_A_SECOND
        assert world.stack.sandbox.state()["throttled"] in ({}, 0)


def restart(stack: Stack) -> None:
    stack.broker.start()
    await_that(stack.broker.answers, 20, "a broker that answers")
