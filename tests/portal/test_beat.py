"""A real beat."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.services import ROOT, wait_until

pytestmark = pytest.mark.slow


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
