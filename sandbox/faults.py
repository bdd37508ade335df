"""Faults on request: what goes wrong in production, chosen by operation, probability or count.

Kinds, and whether the call's work is done:

``latency``   answer ``seconds`` later (done)
``error``     answer ``status``, ``code`` and ``message``; 500 by default (not done)
``throttle``  answer 429 TooManyRequestsException (not done)
``conflict``  answer 409, concurrent modification (not done)
``reset``     drop the connection (not done, unless ``work``)
``timeout``   never answer (done, unless ``work`` is false): the client's time-out decides
``truncate``  pages of ``size`` items with a position, whatever the limit (done)
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox import errors
from sandbox.errors import ApiError

KINDS = ("latency", "error", "throttle", "conflict", "reset", "timeout", "truncate")
INVOKE = "Invoke"
EVERY = "*"


@dataclass(slots=True)
class Fault:
    """One fault. ``count`` is how many calls it will still hit (None: no end)."""

    id: int
    kind: str
    operations: tuple[str, ...] = (EVERY,)
    count: int | None = None
    probability: float = 1.0
    seconds: float = 0.0
    status: int = 500
    code: str = "InternalServerErrorException"
    message: str = "Internal server error"
    size: int = 1
    work: bool | None = None
    hits: int = 0
    rng: random.Random = field(default_factory=random.Random, repr=False)

    def hits_call(self, operation: str) -> bool:
        """Decide, and count, whether the fault hits this call. ``*`` is every control-plane operation."""
        named = operation in self.operations or (EVERY in self.operations and operation != INVOKE)
        if not named or self.count == 0 or (self.probability < 1.0 and self.rng.random() >= self.probability):
            return False
        self.hits += 1
        if self.count is not None:
            self.count -= 1
        return True

    def error(self) -> ApiError | None:
        """Return the error that the call gets instead of being worked on, if any."""
        if self.kind == "error":
            return ApiError(self.status, self.code, self.message)
        if self.kind == "throttle":
            return errors.too_many_requests()
        if self.kind == "conflict":
            return errors.conflict(errors.CONCURRENT_MODIFICATION)
        return None

    @property
    def works(self) -> bool:
        """Whether a dropped or unanswered call is worked on."""
        return self.work if self.work is not None else self.kind == "timeout"

    def describe(self) -> dict[str, Any]:
        """Return the fault for people and tests to read."""
        names = ("id", "kind", "operations", "count", "probability", "seconds", "hits")
        return {name: getattr(self, name) for name in names}


class Faults:
    """The faults that are on."""

    def __init__(self) -> None:
        self.active: list[Fault] = []
        self._number = 0

    def add(self, options: Mapping[str, Any]) -> Fault:
        """Switch a fault on.

        Raises:
            ValueError: an option is unknown or its value is not possible.
        """
        self._number += 1
        fault = Fault(id=self._number, **_read(options))
        self.active.append(fault)
        return fault

    def clear(self) -> None:
        """Switch all faults off."""
        self.active.clear()

    def hitting(self, operation: str) -> list[Fault]:
        """Return the faults that hit this call."""
        return [fault for fault in self.active if fault.hits_call(operation)]


_TYPES: dict[str, tuple[type, ...]] = {
    "kind": (str,), "count": (int, type(None)), "probability": (int, float), "seconds": (int, float), "status": (int,),
    "code": (str,), "message": (str,), "size": (int,), "seed": (int,), "work": (bool, type(None)),
}  # fmt: skip


def _read(options: Mapping[str, Any]) -> dict[str, Any]:
    read = dict(options)
    operation = read.pop("operation", EVERY)
    read["operations"] = tuple(operation) if isinstance(operation, list) else (operation,)
    if not all(isinstance(each, str) for each in read["operations"]):
        raise ValueError("operation: a name, a list of names, or *")
    read["rng"] = random.Random(read.pop("seed", None))  # noqa: S311 - faults shall be repeatable, not unpredictable
    for name, value in options.items():
        if name not in _TYPES and name != "operation":
            raise ValueError(f"{name}: no such option")
        if name in _TYPES and not isinstance(value, _TYPES[name]):
            raise ValueError(f"{name}: not a possible value")
    if read.get("kind") not in KINDS:
        raise ValueError(f"kind: one of {', '.join(KINDS)}")
    if read.get("size", 1) < 1 or read.get("seconds", 0) < 0 or not 0 <= read.get("probability", 1) <= 1:
        raise ValueError("size is at least 1, seconds are not negative, probability is from 0 to 1")
    if not 400 <= read.get("status", 500) <= 599:
        raise ValueError("status: from 400 to 599")
    return read
