"""Messages kept as files: what ``portal.filebroker`` stands on. Knows folders and files, nothing of kombu or Celery.

A folder holds::

    queues/<queue>/<number>.json        messages that wait; the numbers give their order
    claims/<consumer>/<queue>/...       messages that a living process works on
    bindings/<exchange>.json            which queues an exchange feeds
    broken/                             what could not be read, kept for a look
    unfinished/                         messages that are being written
    order                               the last number that was given out

Three habits make it safe. A message is written to ``unfinished/``, flushed to the disk and only then renamed into its
queue, so nobody can read half of it. A message is taken by renaming it into the taker's claim folder: of two takers one
wins. And the taker holds an advisory lock (flock) on its claim folder for as long as it lives: when it dies, however it
dies, the kernel drops the lock, and the next consumer that looks puts the messages back where they came from.
"""

import fcntl
import heapq
import json
import logging
import os
import shutil
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

logger = logging.getLogger(__name__)

# How often a consumer looks for the claims of the dead, in seconds. A kill is noticed after this long at most.
LOOK_FOR_ABANDONED_SECONDS = 1.0
# A file in ``unfinished/`` that is older than this, in seconds, belongs to a writer that died.
UNFINISHED_SECONDS = 60.0
# So many names are remembered from one look into a queue: draining a long one does not list it for each message.
NAMES_REMEMBERED = 100


# A queue that an exchange feeds: kombu's (routing key, pattern, queue).
Binding = tuple[str, str, str]


class Claimed(NamedTuple):
    """A message in hand. ``tag`` names it to ``settle`` and ``give_back``."""

    tag: str
    payload: dict[str, Any]


class Spool:
    """One folder of queues, as one process sees it. Methods may be called from any thread.

    Every method may raise OSError (disk full, no permission).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._unfinished = folder / "unfinished"
        self._bindings = folder / "bindings"
        self._guard = threading.RLock()
        self._names: dict[str, deque[str]] = {}
        self._in_hand: dict[str, Path] = {}
        self._claims: Path | None = None
        self._claims_lock: int | None = None
        self._looked_at = float("-inf")
        self._make_folders()

    # Publishing

    def put(self, queue: str, payload: dict[str, Any]) -> None:
        """Append a message to a queue. When this returns, it outlives this process and a crash of the machine."""
        written = self._write(json.dumps(payload))
        with self._locked("order") as order:
            number = max(_number(order) + 1, time.time_ns())  # the clock may step back; the order may not
            order.seek(0)
            order.write(f"{number:020d}".encode())
            _move(written, self._queue(queue) / f"{number:020d}.json")

    # Consuming

    def claim(self, queue: str) -> Claimed | None:
        """Take a queue's oldest message, or None. It stays ours until ``settle`` or ``give_back``, or until we die."""
        with self._guard:
            self._put_back_abandoned()
            while (name := self._next_name(queue)) is not None:
                claimed = self._take(queue, name)
                if claimed is not None:
                    return claimed
            return None

    def settle(self, tag: str) -> None:
        """The message is done with: remove it. An unknown tag is ignored (its message was given back before)."""
        path = self._in_hand.pop(tag, None)
        if path is not None:
            path.unlink(missing_ok=True)

    def give_back(self, tag: str) -> None:
        """Put a message back into its queue, at its old place."""
        path = self._in_hand.pop(tag, None)
        if path is not None:
            self._return_to_queue(path)

    # Queues

    def size(self, queue: str) -> int:
        """How many messages wait."""
        return len(_names_in(self._queue(queue)))

    def purge(self, queue: str) -> int:
        """Remove the messages that wait; returns how many."""
        removed = 0
        for name in _names_in(self._queue(queue)):
            with suppress(FileNotFoundError):  # a consumer was quicker
                (self._queue(queue) / name).unlink()
                removed += 1
        return removed

    def remove(self, queue: str) -> None:
        """Remove a queue with the messages that wait in it."""
        self.purge(queue)
        with suppress(OSError):  # not there, or fed again in this moment: then it stays
            self._queue(queue).rmdir()

    def is_idle(self) -> bool:
        """Whether no message waits or is in anybody's hand."""
        # The queues first: a message that is being taken stands in its queue until it stands in a claim folder.
        claimed = (queue for claims in _entries(self.folder / "claims") for queue in _entries(claims))
        return not any(map(_names_in, _entries(self.folder / "queues"))) and not any(map(_names_in, claimed))

    # Bindings

    def bindings(self, exchange: str) -> list[Binding] | None:
        """The queues an exchange feeds; None when nobody has bound one yet."""
        try:
            rows = json.loads(self._exchange(exchange).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return [(routing_key, pattern, queue) for routing_key, pattern, queue in rows]

    def bind(self, exchange: str, binding: Binding) -> None:
        """Feed a queue from an exchange; twice is once."""
        with self._locked("bindings.lock"):
            table = self.bindings(exchange) or []
            if binding not in table:
                self._write_bindings(exchange, [*table, binding])

    def unbind(self, exchange: str, binding: Binding) -> None:
        """Feed it no more; harmless when it was not fed."""
        with self._locked("bindings.lock"):
            table = self.bindings(exchange) or []
            if binding in table:
                self._write_bindings(exchange, [row for row in table if row != binding])

    # Inside

    def forget_after_fork(self) -> None:
        """In a forked child: what the parent claimed is the parent's, and only the parent's life keeps its lock."""
        if self._claims_lock is not None:
            os.close(self._claims_lock)
        self._guard = threading.RLock()
        self._claims = self._claims_lock = None
        self._in_hand = {}
        self._names = {}

    def _make_folders(self) -> None:
        for name in ("queues", "claims", "bindings", "broken", "unfinished"):
            (self.folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)

    def _queue(self, queue: str) -> Path:
        return self.folder / "queues" / _file_name(queue)

    def _exchange(self, exchange: str) -> Path:
        return self._bindings / f"{_file_name(exchange)}.json"

    @contextmanager
    def _locked(self, name: str) -> Iterator[Any]:
        """Hold a lock between processes; yields the open file. Held for microseconds."""
        self._make_folders()  # someone may have cleared the folder under us
        descriptor = os.open(self.folder / name, os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file

    def _write(self, text: str) -> Path:
        """A whole file in ``unfinished/``, on the disk."""
        path = self._unfinished / uuid.uuid4().hex
        self._make_folders()
        try:
            with path.open("xb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            path.unlink(missing_ok=True)
            raise
        return path

    def _write_bindings(self, exchange: str, table: list[Binding]) -> None:
        self._write(json.dumps(table)).rename(self._exchange(exchange))

    def _next_name(self, queue: str) -> str | None:
        names = self._names.setdefault(queue, deque())
        if not names:
            names.extend(heapq.nsmallest(NAMES_REMEMBERED, _names_in(self._queue(queue))))
        return names.popleft() if names else None

    def _take(self, queue: str, name: str) -> Claimed | None:
        """Claim and read one file; None when another consumer has it, or when it is no message."""
        waiting = self._queue(queue) / name
        claimed = self._own_claims() / _file_name(queue) / name
        try:
            claimed.parent.mkdir(mode=0o700, exist_ok=True)
            waiting.rename(claimed)
        except FileNotFoundError:
            if waiting.exists():  # then it is our claim folder that is gone: someone cleared the spool
                self._claims = None
            return None
        try:
            payload = json.loads(claimed.read_text(encoding="utf-8"))
            payload["properties"]
        except (ValueError, KeyError, TypeError):
            # Never written by us. It must not stop the messages behind it, nor come back.
            logger.warning("broker.message_unreadable", extra={"queue": queue, "file_name": name})
            claimed.rename(self.folder / "broken" / name)
            return None
        tag = uuid.uuid4().hex
        self._in_hand[tag] = claimed
        return Claimed(tag, payload)

    def _own_claims(self) -> Path:
        """This process's claim folder, made and locked at its first claim."""
        if self._claims is None:
            if self._claims_lock is not None:
                os.close(self._claims_lock)
            name = uuid.uuid4().hex
            # It is locked before it gets the name under which others look for abandoned ones.
            self._make_folders()
            unborn = self._unfinished / name
            unborn.mkdir(mode=0o700)
            self._claims_lock = os.open(unborn, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self._claims_lock, fcntl.LOCK_EX)
            self._claims = unborn.rename(self.folder / "claims" / name)
        return self._claims

    def _put_back_abandoned(self) -> None:
        """Return the messages of processes that died to their queues."""
        if time.monotonic() - self._looked_at < LOOK_FOR_ABANDONED_SECONDS:
            return
        self._looked_at = time.monotonic()
        for claims in _entries(self.folder / "claims"):
            if claims != self._claims:
                self._put_back(claims)
        for unfinished in _entries(self._unfinished):
            with suppress(OSError):  # its writer finished it after all, or another consumer was quicker
                if time.time() - unfinished.stat().st_mtime > UNFINISHED_SECONDS:
                    unfinished.rmdir() if unfinished.is_dir() else unfinished.unlink()

    def _put_back(self, claims: Path) -> None:
        try:
            lock = os.open(claims, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # its owner lives
        else:
            for queue in _entries(claims):
                for path in _entries(queue):
                    self._return_to_queue(path)
            shutil.rmtree(claims, ignore_errors=True)
        finally:
            os.close(lock)

    def _return_to_queue(self, claimed: Path) -> None:
        with suppress(FileNotFoundError):  # settled in this moment, or put back by another consumer
            _move(claimed, self.folder / "queues" / claimed.parent.name / claimed.name)


def _file_name(name: str) -> str:
    """A queue's or exchange's name as a file name. The suffix keeps ``.`` and ``..`` from meaning folders."""
    return f"{quote(name, safe='@')}.queue"


def _number(order: Any) -> int:
    text = order.read()
    return int(text) if text.isdigit() else 0


def _names_in(queue: Path) -> list[str]:
    try:
        return os.listdir(queue)  # noqa: PTH208 - the names are wanted, thousands of them: no Path objects
    except FileNotFoundError:
        return []


def _entries(folder: Path) -> list[Path]:
    return sorted(folder / name for name in _names_in(folder))


def _move(source: Path, target: Path) -> None:
    """Rename, making the target's folder. Raises FileNotFoundError when the source is gone."""
    while True:
        target.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            source.rename(target)
        except FileNotFoundError:
            if target.parent.exists():
                raise
        else:
            return


_spools: dict[Path, Spool] = {}
_spools_guard = threading.Lock()


def spool_at(folder: Path) -> Spool:
    """This process's view of a folder: one, however many connections there are."""
    with _spools_guard:
        if folder not in _spools:
            _spools[folder] = Spool(folder)
        return _spools[folder]


def _after_fork_in_child() -> None:
    for spool in _spools.values():
        spool.forget_after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
