"""Access-log objects as Firehose leaves them: gzip files of JSON lines under dated prefixes.

``{directory}/YYYY/MM/DD/HH/amazon-apigateway-tollgate-1-YYYY-MM-DD-HH-MM-SS-{uuid}.gz``, dated by when the first line
of the object came, complete as soon as they appear.
"""

from __future__ import annotations

import gzip
import threading
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

STREAM = "amazon-apigateway-tollgate"
FLUSH_BYTES = 1_000_000
FLUSH_SECONDS = 5.0


class Log(Protocol):
    """Where access-log lines go."""

    def write(self, line: str, now: float) -> None:
        """Take one line."""

    def flush(self) -> int:
        """Write out what is held; return the number of lines."""


class NoLog:
    """Keeps nothing."""

    def write(self, line: str, now: float) -> None:
        """See ``Log``."""

    def flush(self) -> int:
        """See ``Log``."""
        return 0


class AccessLog:
    """Holds lines and writes them as one object when there are enough, or when told to."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._lines: list[str] = []
        self._bytes = 0
        self._first = 0.0
        self._writers: list[threading.Thread] = []

    def write(self, line: str, now: float) -> None:
        """See ``Log``."""
        if not self._lines:
            self._first = now
        self._lines.append(line)
        self._bytes += len(line)
        if self._bytes >= FLUSH_BYTES:
            self._start_writer()

    def flush(self) -> int:
        """See ``Log``. Everything is on disk when this returns."""
        count = len(self._lines)
        self._start_writer()
        for writer in self._writers:
            writer.join()
        self._writers.clear()
        return count

    def flush_soon(self) -> None:
        """Write out what is held, without waiting for it."""
        self._start_writer()

    def _start_writer(self) -> None:
        if not self._lines:
            return
        lines, first, self._lines, self._bytes = self._lines, self._first, [], 0
        # Compression takes milliseconds; zlib lets other threads run, so requests do not wait for it.
        writer = threading.Thread(target=self._write_object, args=(lines, first), name="access-log")
        self._writers = [thread for thread in self._writers if thread.is_alive()]
        self._writers.append(writer)
        writer.start()

    def _write_object(self, lines: list[str], first: float) -> None:
        moment = datetime.fromtimestamp(first, UTC)
        folder = self.directory / f"{moment:%Y/%m/%d/%H}"
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{STREAM}-1-{moment:%Y-%m-%d-%H-%M-%S}-{uuid.uuid4()}.gz"
        unfinished = folder / f".{name}.unfinished"
        unfinished.write_bytes(gzip.compress("".join(lines).encode(), compresslevel=1))
        unfinished.rename(folder / name)
