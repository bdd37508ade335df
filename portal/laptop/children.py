"""Child processes that end with their parent."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PR_SET_PDEATHSIG = 1
# Seconds between the restarts of a child that keeps dying: the first, and the longest.
FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 15.0
# Seconds after which a child that runs counts as well again.
WELL_SECONDS = 30.0

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def following(parent: int) -> Callable[[], None]:
    """What a child of the process ``parent`` calls before it becomes its program, to die with it. Linux only.

    The kernel will send SIGTERM and not SIGKILL: a web server that is killed leaves its own children behind, holding the port.
    """

    def follow() -> None:
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:  # it died before we asked
                os.kill(os.getpid(), signal.SIGTERM)

    return follow


class Child:
    """One program that is kept running, in a session of its own: the terminal's Ctrl-C reaches the supervisor alone."""

    def __init__(self, name: str, command: list[str], *, environment: dict[str, str], folder: Path) -> None:
        self.name = name
        self.restart_at: float | None = None
        self._command = command
        self._environment = environment
        self._folder = folder
        self._backoff = FIRST_BACKOFF_SECONDS
        self._started_at = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> int:
        """Start it; returns the file descriptor of its output."""
        self.end_group()
        self.restart_at = None
        self._started_at = time.monotonic()
        self._process = subprocess.Popen(
            self._command,
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=following(os.getpid()),  # noqa: PLW1509 - the supervisor has one thread
        )
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        descriptor = self._process.stdout.fileno()
        os.set_blocking(descriptor, False)
        return descriptor

    @property
    def exit_code(self) -> int | None:
        """None while it runs, and before it was started."""
        return None if self._process is None else self._process.poll()

    @property
    def is_running(self) -> bool:
        """Whether it was started and did not end."""
        return self._process is not None and self._process.poll() is None

    def plan_restart(self) -> float:
        """It died: it may be started again at ``restart_at``. Returns the seconds until then, which double each time."""
        if time.monotonic() - self._started_at > WELL_SECONDS:
            self._backoff = FIRST_BACKOFF_SECONDS
        wait, self._backoff = self._backoff, min(self._backoff * 2, LONGEST_BACKOFF_SECONDS)
        self.restart_at = time.monotonic() + wait
        return wait

    def terminate(self) -> None:
        """Ask it to end."""
        if self._process is not None and self.is_running:
            self._process.terminate()

    def end_group(self) -> None:
        """Kill whatever is left of it, children included."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None
