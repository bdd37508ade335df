"""Crash points: every call of a gateway and every commit in the code that changes keys, found by reading it, and kill -9 right there.

A site is named by its function, never by its line: ``sync.imports._import:import_keys`` is the call of ``import_keys``; ``:atomic`` and
``:writing`` are the commits at the end of such a block; ``:update`` and the like are statements that are a transaction of their own; the
second of a kind in a function ends with ``#2``. Each can be met before and after.

Nothing of the product knows about it: Django's commit, its cursors and the methods of the gateway's client are wrapped in the process
that is to die, and the frames on the stack tell which site it is.
"""

from __future__ import annotations

import ast
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, wraps
from pathlib import Path
from types import FrameType
from typing import Any

KEYS = Path(__file__).resolve().parents[2] / "keys"
SOURCES = [*KEYS.glob("sync/*.py"), *KEYS.glob("services/*.py"), KEYS / "stock.py", KEYS / "moving.py", KEYS / "takeover.py"]
BEFORE, AFTER = MOMENTS = ("before", "after")
# Of a block or statement that is part of a transaction around it: no commit of its own, so there is nothing to die at.
INSIDE = "inside"
WRITES = {"update", "create", "bulk_create", "bulk_update", "save", "delete", "get_or_create", "update_or_create"}
CALL, BLOCK, WRITE = "call", "block", "write"
# A block whose callers are the sites: the commit at its end is theirs.
PASSED_THROUGH = {"sync.lease.Lease.writing:atomic"}
# What looks like a statement of the database and is none: of dictionaries, of modules, of other objects.
NO_STATEMENT = {"claims.update", "found.update", "quarantine.delete"}


@dataclass(frozen=True)
class Site:
    """``lines``: of the call, or of the head of the block, first and last."""

    name: str
    kind: str
    file: str
    lines: tuple[int, int]


@cache
def all_sites() -> dict[str, Site]:
    """Every site of the code as it is, by name."""
    found = [site for path in sorted(SOURCES) for site in _sites_of(path)]
    return {site.name: site for site in found if site.name not in PASSED_THROUGH}


def sites() -> list[str]:
    """Their names, sorted."""
    return sorted(all_sites())


def _sites_of(path: Path) -> Iterator[Site]:
    module = ".".join(path.relative_to(KEYS).with_suffix("").parts)
    finder = _Finder(_client_methods())
    finder.visit(ast.parse(path.read_text()))
    times: Counter[str] = Counter()
    for kind, function, what, lines in sorted(finder.found, key=lambda each: each[3]):
        name = f"{module}.{function}:{what}"
        times[name] += 1
        yield Site(f"{name}#{times[name]}" if times[name] > 1 else name, kind, str(path), lines)


@cache
def _client_methods() -> frozenset[str]:
    """The public methods of GatewayClient: each is a call, or a few of one list."""
    tree = ast.parse((KEYS / "gateway" / "client.py").read_text())
    [client] = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "GatewayClient"]
    methods = [node.name for node in client.body if isinstance(node, ast.FunctionDef)]
    return frozenset(name for name in methods if not name.startswith("_"))


class _Finder(ast.NodeVisitor):
    """Collects (kind, function, what, lines)."""

    def __init__(self, client_methods: frozenset[str]) -> None:
        self.found: list[tuple[str, str, str, tuple[int, int]]] = []
        self._client_methods = client_methods
        self._within: list[str] = []
        self._blocks = 0

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._enter(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._enter(node)

    def visit_With(self, node: ast.With) -> None:
        blocks = [item for item in node.items if _is_block(item.context_expr)]
        last = max(item.context_expr.end_lineno or node.lineno for item in node.items)
        for item in blocks:
            self._note(BLOCK, item.context_expr.func.attr, (node.lineno, last))  # type: ignore[attr-defined]
        self._blocks += bool(blocks)
        self.generic_visit(node)
        self._blocks -= bool(blocks)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute):
            lines = (node.lineno, node.end_lineno or node.lineno)
            if node.func.attr in self._client_methods and isinstance(node.func.value, ast.Attribute) and node.func.value.attr == "client":
                self._note(CALL, node.func.attr, lines)
            elif node.func.attr in WRITES and not self._blocks and ast.unparse(node.func) not in NO_STATEMENT:
                self._note(WRITE, node.func.attr, lines)
        self.generic_visit(node)

    def _enter(self, node: ast.ClassDef | ast.FunctionDef) -> None:
        outer, self._blocks = self._blocks, 0
        self._within.append(node.name)
        self.generic_visit(node)
        self._within.pop()
        self._blocks = outer

    def _note(self, kind: str, what: str, lines: tuple[int, int]) -> None:
        self.found.append((kind, ".".join(self._within), what, lines))


def _is_block(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in {"atomic", "writing"}


# --- In the process that is watched


def watch(note: Callable[[str, str], None]) -> None:
    """From now on, call ``note(site, moment)`` in this process at each site. For good: meant for processes that end soon."""
    from django.db.backends.base.base import BaseDatabaseWrapper  # where a process has no Django yet, this module is imported, too
    from django.db.backends.utils import CursorWrapper

    from keys.gateway.client import GatewayClient

    for name in _client_methods() - {"before", "after"}:
        _wrap(GatewayClient, name, CALL, note, lambda _client: MOMENTS)
    _wrap(BaseDatabaseWrapper, "commit", BLOCK, note, lambda _connection: MOMENTS)
    _wrap(BaseDatabaseWrapper, "savepoint_commit", BLOCK, note, lambda _connection: (INSIDE,))
    for name in ("execute", "executemany"):
        _wrap(CursorWrapper, name, WRITE, note, lambda cursor: (INSIDE,) if cursor.db.in_atomic_block else MOMENTS)


def _wrap(owner: Any, name: str, kind: str, note: Callable[[str, str], None], moments: Callable[[Any], tuple[str, ...]]) -> None:
    original = getattr(owner, name)

    @wraps(original)
    def wrapped(self: Any, *arguments: Any, **options: Any) -> Any:
        site = _site_here(kind)
        if site is None:
            return original(self, *arguments, **options)
        first, *after = moments(self)
        note(site, first)
        answer = original(self, *arguments, **options)
        for moment in after:
            note(site, moment)
        return answer

    setattr(owner, name, wrapped)


def _site_here(kind: str) -> str | None:
    """The site that the innermost frame of the code in question is at."""
    frame: FrameType | None = sys._getframe(2)
    by_file = _by_file()
    while frame is not None:
        found = by_file.get(frame.f_code.co_filename)
        if found is not None and frame.f_code.co_qualname != "Lease.writing":
            return next((each.name for each in found if each.kind == kind and each.lines[0] <= frame.f_lineno <= each.lines[1]), None)
        frame = frame.f_back
    return None


@cache
def _by_file() -> dict[str, list[Site]]:
    found: dict[str, list[Site]] = {}
    for site in all_sites().values():
        found.setdefault(site.file, []).append(site)
    return found


def die_at(point: str) -> None:
    """kill -9 for this process when it comes to ``<site>|<moment>`` the first time."""
    watch(lambda site, moment: os.kill(os.getpid(), signal.SIGKILL) if f"{site}|{moment}" == point else None)


def arm_when_django_is_there(point: str) -> None:
    """``die_at`` as soon as the product has imported what is wrapped."""

    def wait() -> None:
        while not hasattr(sys.modules.get("keys.gateway.client"), "GatewayClient"):
            time.sleep(0.01)
        die_at(point)

    threading.Thread(target=wait, daemon=True).start()
