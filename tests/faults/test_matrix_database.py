"""Rows 11 to 13 and 20 of the fault matrix: a database that crashes or refuses transactions, buyers who want the same, all stopped."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.db import OperationalError, connection, connections, transaction

from keys.models import GatewayKey
from keys.models.room import Room
from tenants.models import Tenant
from tests.faults.harness import await_that, pace
from tests.faults.matrix import FAULT_SECONDS, ROW, World, a_world, during, long, measured, statuses
from tests.faults.postgres import own_postgres
from tests.support.web import Answer

pytestmark = ROW
OUTAGES = 3


@long
def test_row_11_a_database_that_crashes_under_buyers_loses_no_purchase(tmp_path: Path) -> None:
    with own_postgres() as postgres, a_world(tmp_path) as world:
        recovered = []
        with world.buyers(8, world.pooled, world.spared, world.bare) as answers:
            for _outage in range(OUTAGES):
                pace(1)  # under load
                postgres.stop("immediate")
                pace(0.5)
                postgres.start()
                began, served = time.monotonic(), statuses(answers).get("201", 0)
                await_that(lambda served=served: statuses(answers).get("201", 0) > served, 30, "a purchase after the crash")
                recovered.append(time.monotonic() - began)
        told = statuses(answers)
        connections.close_all()  # this process's own was cut, too

        took = world.check(90)
        measured("11", crashes=OUTAGES, answers=told, sold_again_after_seconds=max(recovered), quiet_seconds=took)
        assert set(told) == {"201", "503"}
        assert all(answer.headers.get("retry-after") for answer in answers if answer is not None and answer.status == 503)


@contextmanager
def refused_transactions() -> Iterator[None]:
    """One purchase in five ends in a serialization failure or a deadlock, as does one write of a worker in ten."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            CREATE FUNCTION break_transaction() RETURNS trigger AS $$ BEGIN
              IF random() < TG_ARGV[0]::float THEN
                RAISE EXCEPTION 'broken by a test' USING ERRCODE = CASE WHEN random() < 0.5 THEN '40001' ELSE '40P01' END;
              END IF;
              RETURN NEW;
            END $$ LANGUAGE plpgsql;
            CREATE TRIGGER break_purchases BEFORE INSERT ON keys_apikey FOR EACH ROW EXECUTE FUNCTION break_transaction('0.2');
            CREATE TRIGGER break_workers BEFORE UPDATE ON keys_gatewaykey FOR EACH ROW EXECUTE FUNCTION break_transaction('0.1');
            """
        )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION break_transaction CASCADE")


def lock_the_other_way_round(over: threading.Event, deadlocks: Counter[str]) -> None:
    """Lock rows of room first, then a tenant's: against the order that the product keeps to."""
    dice = random.Random(12)
    while not over.is_set():
        try:
            with transaction.atomic():
                list(Room.objects.select_for_update())
                pace(dice.uniform(0, 0.02))
                list(Tenant.objects.select_for_update())
        except OperationalError:
            deadlocks["met by the test"] += 1
        pace(dice.uniform(0, 0.1))
    connections.close_all()


@long
def test_row_12_transactions_that_the_database_refuses_are_no_error_of_ours(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        over, deadlocks = threading.Event(), Counter[str]()
        crossing = threading.Thread(target=lock_the_other_way_round, args=(over, deadlocks), daemon=True)
        with refused_transactions():
            crossing.start()
            with world.buyers(8, world.pooled, world.spared, world.bare) as answers:
                pace(FAULT_SECONDS)  # under load
            over.set()
            crossing.join(30)
        told = statuses(answers)

        took = world.check(90)
        measured("12", answers=told, deadlocks=dict(deadlocks), quiet_seconds=took)
        assert set(told) <= {"201", "503"}
        assert told["503"] > 0, "nothing was refused: the test broke nothing"
        assert told["201"] > 0


def test_row_13_one_of_a_hundred_gets_the_last_spare(tmp_path: Path) -> None:
    with a_world(tmp_path, spares=1, web_threads=16) as world:
        for worker in world.stack.workers:
            worker.pause()  # nobody makes another spare meanwhile
        began = time.monotonic()
        answers = all_at_once(world, 100)
        sold_in = time.monotonic() - began
        told = Counter(answer.json()["status"] if answer.status == 201 else str(answer.status) for answer in answers)
        for worker in world.stack.workers:
            worker.resume()

        world.ready_within(60)
        world.check()
        measured("13 over HTTP", told=dict(told), sold_in_seconds=sold_in)
        assert told == {"ready": 1, "preparing": 99}
        assert GatewayKey.objects.filter(role="silo").count() == 100


def all_at_once(world: World, buyers: int) -> list[Answer]:
    """So many purchases of the tier with spares, sent at the same moment."""
    answers: list[Answer] = []
    barrier = threading.Barrier(buyers)

    def buy() -> None:
        barrier.wait(30)
        answer = world.buy(world.spared, timeout=60)
        assert answer is not None
        answers.append(answer)

    threads = [threading.Thread(target=buy) for _number in range(buyers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert len(answers) == buyers
    return answers


@long
def test_row_20_credentials_are_answered_while_the_whole_portal_is_stopped(tmp_path: Path) -> None:
    with own_postgres() as postgres, a_world(tmp_path) as world:
        values = [each.value for tier in (world.pooled, world.spared, world.bare) for each in world.buy_many(tier, 5)]
        world.ready_within(30)
        world.stack.quiet(30, compared=False)
        for part in world.stack.parts:
            part.pause()
        world.stack.broker.pause()
        connections.close_all()
        postgres.stop("fast")

        called = during(FAULT_SECONDS, lambda: [world.stack.sandbox.invoke(value).status for value in values])
        postgres.start()
        began = time.monotonic()
        world.stack.whole()
        world.buy(world.bare, again=30)
        sold = time.monotonic() - began

        world.check()
        calls = Counter(status for round_ in called for status in round_)
        measured("20", calls=dict(calls), sold_again_after_seconds=sold)
        assert set(calls) == {200}
