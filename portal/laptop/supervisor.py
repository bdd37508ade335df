"""Keeps the children running, passes on what they print, and ends them all."""

import contextlib
import os
import selectors
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from portal.laptop.children import Child

TICK_SECONDS = 0.2
# Seconds that children get to end by themselves.
STOP_SECONDS = 5.0
START_SECONDS = 90.0
# A child that dies so often before everything is ready has something wrong that a restart does not mend.
DEATHS_BEFORE_READY = 3
COLOURS = ("36", "35", "33", "32", "34")


class Stopped(Exception):
    """Somebody asked for the end: Ctrl-C, SIGTERM, a closed terminal."""


class UnableToRun(Exception):
    """A child does not come up. What it printed stands above."""


class Supervisor:
    """Use as a context manager: when it is left, however that is, the children are gone and their ports are free."""

    def __init__(self) -> None:
        self._children: dict[int, Child] = {}
        self._deaths: dict[str, int] = {}
        self._prefixes: dict[str, str] = {}
        self._half_lines: dict[int, bytes] = {}
        self._selector = selectors.DefaultSelector()
        self._signals, self._signal_end = socket.socketpair()
        self._stopping = False
        self._output_is_gone = False

    def __enter__(self) -> "Supervisor":
        for end in (self._signals, self._signal_end):
            end.setblocking(False)
        signal.set_wakeup_fd(self._signal_end.fileno())
        self._selector.register(self._signals, selectors.EVENT_READ)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop()

    def start(self, child: Child) -> None:
        """Start a child and keep it running from now on."""
        descriptor = child.start()
        self._children[descriptor] = child
        self._half_lines[descriptor] = b""
        self._selector.register(descriptor, selectors.EVENT_READ)

    def finish(self, child: Child) -> None:
        """Start a child that does one thing, and wait for it. Raises UnableToRun when it fails, Stopped."""
        self.start(child)
        while child.is_running:
            self._tick(keep=child)
        self._forget(child)
        failed = child.exit_code
        child.end_group()
        if failed:
            raise UnableToRun(f"{child.name} failed.")

    def wait_until_ready(self, urls: list[str]) -> None:
        """Wait until every URL answers 200. Raises UnableToRun when that does not come about, Stopped."""
        deadline = time.monotonic() + START_SECONDS
        waiting = list(urls)
        while waiting:
            self._tick()
            waiting = [url for url in waiting if not _answers(url)]
            often = [name for name, deaths in self._deaths.items() if deaths >= DEATHS_BEFORE_READY]
            if often:
                raise UnableToRun(f"{often[0]} does not stay up.")
            if time.monotonic() > deadline:
                raise UnableToRun(f"{', '.join(waiting)} did not answer within {START_SECONDS:.0f} s.")

    def run(self) -> NoReturn:
        """Keep everything running. Raises Stopped."""
        while True:
            self._tick()

    def say(self, text: str) -> None:
        """Print a line or more; a terminal that went away is no reason to fail."""
        if self._output_is_gone:
            return
        try:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()
        except OSError:
            self._output_is_gone = True
            # Python would complain again when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    # Inside

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True

    def _tick(self, keep: Child | None = None) -> None:
        """Pass output on for a moment, then look after the children; ``keep`` is not restarted. Raises Stopped."""
        self._pump(TICK_SECONDS)
        if self._stopping:
            raise Stopped
        for child in list(self._children.values()):
            if child is keep or child.is_running:
                continue
            if child.restart_at is None:
                self._deaths[child.name] = self._deaths.get(child.name, 0) + 1
                code, wait = child.exit_code, child.plan_restart()
                self.say(f"{self._prefix(child.name)}ended with {_ending(code)}; starting it again in {wait:.1f} s")
            elif time.monotonic() >= child.restart_at:
                self._forget(child)
                self.start(child)

    def _pump(self, seconds: float) -> None:
        for key, _events in self._selector.select(seconds):
            if key.fileobj is self._signals:
                with contextlib.suppress(BlockingIOError):
                    self._signals.recv(64)
            else:
                self._pass_on(key.fd)

    def _pass_on(self, descriptor: int) -> bool:
        """Print what a child wrote; False when there was nothing."""
        try:
            data = os.read(descriptor, 65536)
        except BlockingIOError:
            return False
        if not data:
            self._selector.unregister(descriptor)
            return False
        *lines, self._half_lines[descriptor] = (self._half_lines[descriptor] + data).split(b"\n")
        prefix = self._prefix(self._children[descriptor].name)
        for line in lines:
            self.say(prefix + line.decode(errors="replace"))
        return True

    def _prefix(self, name: str) -> str:
        if name not in self._prefixes:
            colour = COLOURS[len(self._prefixes) % len(COLOURS)]
            plain = "NO_COLOR" in os.environ or not sys.stdout.isatty()
            self._prefixes[name] = f"{name:<7} | " if plain else f"\x1b[{colour}m{name:<7} |\x1b[0m "
        return self._prefixes[name]

    def _forget(self, child: Child) -> None:
        for descriptor in [number for number, other in self._children.items() if other is child]:
            while descriptor in self._selector.get_map() and self._pass_on(descriptor):
                pass  # what it printed last
            with contextlib.suppress(KeyError):
                self._selector.unregister(descriptor)
            del self._children[descriptor], self._half_lines[descriptor]

    def _stop(self) -> None:
        """End all children: politely, then not. A second Ctrl-C makes it quick."""
        self._stopping = False
        children = list(self._children.values())
        for child in children:
            child.terminate()
        for _wait in _until(time.monotonic() + STOP_SECONDS):
            if self._stopping or not any(child.is_running for child in children):
                break
            self._pump(0.05)
        for child in children:
            self._forget(child)
            child.end_group()
        signal.set_wakeup_fd(-1)
        self._selector.close()
        self._signals.close()
        self._signal_end.close()


def _until(deadline: float) -> Iterator[None]:
    while time.monotonic() < deadline:
        yield


def _answers(url: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=1) as response:
            return bool(response.status == 200)
    except (OSError, ValueError):
        return False


def _ending(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
