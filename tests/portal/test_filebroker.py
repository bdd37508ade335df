"""The file broker under real processes: nothing lost, nothing half read, nothing taken twice, in order."""

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from kombu import Connection, Exchange, Queue
from kombu.exceptions import OperationalError
from kombu.transport import TRANSPORT_ALIASES

from portal import spool
from portal.spool import Spool
from tests.support import tiny
from tests.support.services import ROOT, wait_until

TRANSPORT_ALIASES["safefs"] = "portal.filebroker:Transport"
fork = multiprocessing.get_context("fork")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "broker"


def message(number=0, text=""):
    return {"body": text, "number": number, "properties": {}}


def take(one_spool, queue="sync"):
    """The numbers of all messages that wait, in the order they come; each is settled."""
    numbers = []
    while claimed := one_spool.claim(queue):
        numbers.append(claimed.payload["number"])
        one_spool.settle(claimed.tag)
    return numbers


def look_again(one_spool):
    """Have it look for abandoned claims now, and not only in a second."""
    one_spool._looked_at = float("-inf")


def child(work, *arguments):
    process = fork.Process(target=work, args=arguments)
    process.start()
    return process


# One process


def test_messages_come_in_the_order_they_were_put(folder):
    one = Spool(folder)
    for number in range(250):
        one.put("sync", message(number))

    assert take(one) == list(range(250))
    assert one.size("sync") == 0


def test_order_survives_a_clock_that_steps_back(folder, monkeypatch):
    one = Spool(folder)
    one.put("sync", message(1))
    monkeypatch.setattr(spool.time, "time_ns", lambda: 5)  # a reboot with a bad clock

    one.put("sync", message(2))
    Spool(folder).put("sync", message(3))

    assert take(Spool(folder)) == [1, 2, 3]


def test_order_survives_a_lost_counter(folder):
    one = Spool(folder)
    one.put("sync", message(1))
    (folder / "order").write_bytes(b"\x00\x00garbage")

    one.put("sync", message(2))

    assert take(one) == [1, 2]


def test_given_back_message_keeps_its_place(folder):
    one = Spool(folder)
    for number in range(3):
        one.put("sync", message(number))
    first = one.claim("sync")

    one.give_back(first.tag)

    assert take(Spool(folder)) == [0, 1, 2]


def test_spool_is_idle_when_nothing_waits_and_nothing_is_in_hand(folder):
    one = Spool(folder)
    assert one.is_idle()
    one.put("sync", message(1))
    assert not one.is_idle()
    held = one.claim("sync")
    assert not one.is_idle()

    one.settle(held.tag)

    assert one.is_idle()


def test_unreadable_file_is_put_aside(folder, caplog):
    one = Spool(folder)
    one.put("sync", message(1))
    one.put("sync", message(2))
    first = min((folder / "queues").rglob("*.json"))
    first.write_text('{"number": 1, "prop')

    assert take(one) == [2]
    assert [path.name for path in (folder / "broken").iterdir()] == [first.name]
    assert "broker.message_unreadable" in caplog.text


def test_queue_names_cannot_leave_the_folder(folder):
    one = Spool(folder)
    for name in ("../../up", "..", ".", "a/b", "celery@host.celery.pidbox"):
        one.put(name, message(1))

        assert take(one, name) == [1]
    assert {path.name for path in folder.parent.iterdir()} == {"broker"}


def test_folder_that_is_cleared_meanwhile_is_made_again(folder):
    one = Spool(folder)
    one.put("sync", message(1))
    assert take(one) == [1]
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()

    one.put("sync", message(2))

    assert take(one) == [2]


# Several processes


def put_many(folder, name, count):
    one = Spool(folder)
    for number in range(count):
        one.put("sync", message(f"{name}-{number}", text="x" * 20_000))


def claim_until(folder, results, total):
    one = Spool(folder)
    while total.value > 0:
        if claimed := one.claim("sync"):
            one.settle(claimed.tag)
            with total.get_lock():
                total.value -= 1
            assert len(claimed.payload["body"]) == 20_000
            results.put(claimed.payload["number"])
    results.put(None)


def test_thousands_of_messages_are_read_whole_and_once(folder):
    writers, readers, each = 2, 2, 1_000
    total, results = fork.Value("i", writers * each), fork.SimpleQueue()

    children = [child(put_many, folder, name, each) for name in range(writers)]
    children += [child(claim_until, folder, results, total) for _ in range(readers)]
    seen, ended = [], 0
    while ended < readers:
        number = results.get()
        ended += number is None
        seen += [number] if number else []
    for process in children:
        process.join(30)

    assert Counter(seen) == Counter(f"{name}-{number}" for name in range(writers) for number in range(each))
    assert [process.exitcode for process in children] == [0] * 4
    assert not list((folder / "broken").iterdir())


def claim_and_hang(folder, pipe):
    one = Spool(folder)
    pipe.send([one.claim("sync").payload["number"] for _ in range(3)])
    signal.pause()


def test_messages_of_a_killed_process_come_back_in_order(folder):
    one = Spool(folder)
    for number in range(5):
        one.put("sync", message(number))
    ours, theirs = fork.Pipe()
    process = child(claim_and_hang, folder, theirs)
    assert ours.recv() == [0, 1, 2]

    look_again(one)
    held = one.claim("sync")
    assert held.payload["number"] == 3  # a living process keeps what it holds
    one.give_back(held.tag)
    process.kill()
    process.join(10)
    look_again(one)
    one._names.clear()

    assert take(one) == [0, 1, 2, 3, 4]
    assert {path for path in (folder / "claims").iterdir() if path != one._claims} == set()


def fork_and_hang(folder, pipe):
    one = spool.spool_at(folder)
    one.claim("sync")
    grandchild = fork.Process(target=signal.pause)
    grandchild.start()
    pipe.send(grandchild.pid)
    signal.pause()


def test_forked_child_does_not_keep_its_dead_parents_claims(folder):
    one = Spool(folder)
    one.put("sync", message(1))
    ours, theirs = fork.Pipe()
    process = child(fork_and_hang, folder, theirs)
    grandchild = ours.recv()
    process.kill()
    os.waitpid(process.pid, 0)

    try:
        look_again(one)
        assert take(one) == [1]
    finally:
        os.kill(grandchild, signal.SIGKILL)


def test_half_written_message_is_never_read_and_cleared_away(folder):
    one = Spool(folder)
    half = folder / "unfinished" / "of-a-dead-writer"
    half.write_text('{"number": 1')
    one.put("sync", message(2))
    assert take(one) == [2]
    assert half.exists()

    os.utime(half, (time.time() - 61, time.time() - 61))
    look_again(one)
    one.claim("sync")

    assert not half.exists()


# Through kombu


@pytest.fixture
def connection(folder):
    with Connection("safefs://localhost//", transport_options={"folder": str(folder), "polling_interval": 0.001}) as connection:
        yield connection


def files_in(folder, place):
    return list((folder / place).rglob("*.json"))


def test_message_stays_on_disk_until_it_is_acknowledged(connection, folder):
    queue = connection.SimpleQueue("sync")
    queue.put({"id": 7})
    received = queue.get(timeout=5)
    assert received.payload == {"id": 7}
    assert len(files_in(folder, "claims")) == 1

    received.ack()

    assert files_in(folder, "claims") == files_in(folder, "queues") == []


def test_rejected_message_is_removed_and_a_requeued_one_returns(connection, folder):
    queue = connection.SimpleQueue("sync")
    queue.put({"id": 1})
    queue.get(timeout=5).requeue()
    again = queue.get(timeout=5)
    assert again.payload == {"id": 1}

    again.reject()

    assert files_in(folder, "claims") == files_in(folder, "queues") == []


def test_unacknowledged_message_returns_when_the_channel_closes(folder):
    options = {"folder": str(folder)}
    with Connection("safefs://localhost//", transport_options=options) as first:
        queue = first.SimpleQueue("sync")
        queue.put({"id": 1})
        assert queue.get(timeout=5).payload == {"id": 1}

    with Connection("safefs://localhost//", transport_options=options) as second:
        assert second.SimpleQueue("sync").get(timeout=5).payload == {"id": 1}


def test_fanout_reaches_every_queue_and_needs_no_acknowledgement(connection, folder):
    news = Exchange("news", type="fanout")
    queues = [Queue(name, exchange=news) for name in ("one", "two")]
    received = []
    with (
        connection.channel() as channel,
        connection.Consumer(queues, channel=channel, no_ack=True, callbacks=[lambda body, message: received.append(body)]),
    ):
        connection.Producer(channel).publish("hello", exchange=news, declare=queues)
        while len(received) < 2:
            connection.drain_events(timeout=5)

    assert received == ["hello", "hello"]
    assert files_in(folder, "claims") == files_in(folder, "queues") == []


def test_deleted_queue_gets_nothing_more(connection, folder):
    queue = Queue("gone", exchange=Exchange("topics", type="topic"), routing_key="a.#")
    bound = queue(connection.default_channel)
    bound.declare()
    assert json.loads(next((folder / "bindings").iterdir()).read_text())[0][2] == "gone"

    bound.delete()

    assert json.loads(next((folder / "bindings").iterdir()).read_text()) == []


def test_publisher_goes_on_after_the_folder_was_cleared(connection, folder):
    queue = connection.SimpleQueue("sync")
    queue.put(1)
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()

    queue.put(2)

    assert queue.qsize() == 1


def test_empty_queue_times_out(connection):
    with pytest.raises(socket.timeout), connection.Consumer(Queue("sync"), callbacks=[print]):
        connection.drain_events(timeout=0.05)


def test_folder_that_cannot_be_made_is_an_operational_error(tmp_path):
    (tmp_path / "file").write_text("")
    options = {"folder": str(tmp_path / "file" / "broker"), "max_retries": 0}

    with pytest.raises(OperationalError, match="cannot be made"):
        Connection("safefs://localhost//", transport_options=options).ensure_connection(max_retries=1, interval_start=0)


# Through Celery


@pytest.fixture
def tiny_worker(tmp_path):
    """Start ``celery worker`` processes, each in a group of its own; killed at the end."""
    workers = []

    def start():
        command = [sys.executable, "-m", "celery", "-A", "tests.support.tiny", "worker", "-c", "2", "-n", f"w{len(workers)}@localhost"]
        command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        worker = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "TINY_FOLDER": str(tmp_path)},
            stdout=(tmp_path / f"worker{len(workers)}.log").open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        kill_group(worker)


def kill_group(worker):
    with suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGKILL)
    worker.wait(10)


def done(tmp_path: Path) -> Counter[int]:
    path = tmp_path / "done"
    return Counter(int(line) for line in path.read_text().split()) if path.exists() else Counter()


@pytest.mark.slow
def test_worker_killed_in_the_middle_loses_nothing(tmp_path, tiny_worker):
    app = tiny.make_app(tmp_path)
    for number in range(20):
        app.send_task("tiny.write", kwargs={"number": number, "seconds": 0.3})
    first = tiny_worker()
    wait_until(lambda: len(done(tmp_path)) >= 4, seconds=30, what="a worker that works")

    kill_group(first)
    assert len(done(tmp_path)) < 20
    tiny_worker()

    wait_until(lambda: set(done(tmp_path)) == set(range(20)), seconds=30, what="all twenty tasks")


@pytest.mark.slow
def test_two_workers_share_the_queue_and_do_each_task_once(tmp_path, tiny_worker):
    app = tiny.make_app(tmp_path)
    tiny_worker(), tiny_worker()
    for number in range(300):
        app.send_task("tiny.write", kwargs={"number": number, "seconds": 0})

    wait_until(lambda: len(done(tmp_path)) == 300, seconds=60, what="all tasks")

    assert done(tmp_path) == Counter(range(300))
