"""A broker that is down must not hold whoever publishes."""

import socket
import time

import pytest
from kombu.exceptions import OperationalError

from portal import broker
from portal.celery import app
from tests.support.services import Broker, used_by_this_process


@pytest.fixture(params=["refuses", "never answers"])
def dead_port(request):
    """A port where nobody listens, or where somebody listens who says nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if request.param == "never answers":
            server.listen()
        yield server.getsockname()[1]


@pytest.mark.parametrize("url", ["redis://127.0.0.1:{}/0", "amqp://guest:guest@127.0.0.1:{}//"])
def test_dead_broker_fails_a_publisher_within_seconds(url, dead_port, tmp_path):
    task = app.create_task_cls()()
    task.name = "keys.converge"

    with used_by_this_process(Broker("dead", url.format(dead_port), tmp_path)):
        started = time.monotonic()
        with pytest.raises(OperationalError):
            task.apply_async(queue="sync")

    assert time.monotonic() - started < 3 * broker.SOCKET_TIMEOUT  # without it, for ever


def test_redis_gives_messages_of_dead_workers_back_after_the_longest_task(tmp_path):
    options = broker.transport_options("redis://localhost/0", tmp_path)

    assert options["visibility_timeout"] > broker.TASK_TIME_LIMIT > broker.TASK_SOFT_TIME_LIMIT
    assert options["unacked_restore_interval"] * options["unacked_restore_throttle"] == 5


def test_rabbitmq_confirms_and_files_have_a_folder(tmp_path):
    assert broker.transport_options("amqp://localhost//", tmp_path)["confirm_publish"] is True
    assert broker.transport_options("safefs://localhost//", tmp_path)["folder"] == str(tmp_path)
