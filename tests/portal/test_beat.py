"""A real beat, and how long its messages are worth something."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import time_machine
from celery.worker.request import Request
from django.utils import timezone
from kombu import Message

from portal.celery import app
from tests.support.services import ROOT, wait_until


@pytest.mark.slow
def test_beat_starts_on_a_fresh_machine(tmp_path: Path) -> None:
    folder = tmp_path / "srv" / "tollgate"
    environment = {**os.environ, "DEMO": "1", "DATA_DIR": str(folder), "SWEEP_SECONDS": "1", "CELERY_BROKER_URL": "safefs://localhost//"}
    environment["DJANGO_SETTINGS_MODULE"] = "portal.settings"
    command = [sys.executable, "-m", "celery", "-q", "-A", "portal", "beat", "--pidfile="]
    beat = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    try:
        wait_until(lambda: beat.poll() is not None or _messages(folder), seconds=30, what="a message")
        assert beat.poll() is None
    finally:
        beat.terminate()
        beat.wait(10)
    assert list(folder.glob("beat-schedule*"))


def _messages(folder: Path) -> list[Path]:
    """What the file broker keeps of queues: beat has rung."""
    return [path for path in (folder / "broker").rglob("*") if path.is_file()]


@pytest.mark.parametrize("entry", sorted(app.conf.beat_schedule))
def test_worker_whose_clock_is_minutes_ahead_drops_nothing_and_old_messages_are_dropped(entry: str) -> None:
    """AWS refuses signatures that are five minutes off, so no worker can be further from the truth than that."""
    app.loader.import_default_modules()
    beat = app.conf.beat_schedule[entry]
    sent = app.amqp.as_task_v2(entry, beat["task"], args=(), kwargs={}, **beat["options"])
    received = Request(
        Message(b"", delivery_info={}, headers=sent.headers, properties=sent.properties), app=app, decoded=True, body=sent.body
    )

    with time_machine.travel(timezone.now() + timedelta(minutes=4)):
        assert not received.maybe_expire()
    with time_machine.travel(timezone.now() + timedelta(minutes=6)), pytest.MonkeyPatch.context() as patch:
        patch.setattr(received, "_announce_revoked", lambda *_said: None)
        assert received.maybe_expire()
