"""A Celery app of one task, for tests of the file broker: the worker writes down what it did.

Run as ``celery -A tests.support.tiny worker`` with TINY_FOLDER in the environment.
"""

import os
import time
from pathlib import Path

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

TRANSPORT_ALIASES["safefs"] = "portal.filebroker:Transport"


def make_app(folder: Path) -> Celery:
    """An app whose broker is below ``folder``, with late acknowledgement."""
    app = Celery("tiny", broker="safefs://localhost//", set_as_current=False)
    app.conf.update(
        broker_transport_options={"folder": str(folder / "broker"), "polling_interval": 0.01},
        broker_connection_retry_on_startup=True,
        task_acks_late=True,
        task_default_queue="tiny",
        task_ignore_result=True,
        task_reject_on_worker_lost=True,
        worker_cancel_long_running_tasks_on_connection_loss=True,
        worker_prefetch_multiplier=1,
    )
    return app


app = make_app(Path(os.environ.get("TINY_FOLDER", "/nonexistent")))


@app.task(name="tiny.write")
def write(*, number: int, seconds: float) -> None:
    """Take a while, then write down the number."""
    time.sleep(seconds)
    with (Path(os.environ["TINY_FOLDER"]) / "done").open("a") as done:
        done.write(f"{number}\n")
