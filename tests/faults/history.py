"""What buyers did and what they were told: ok, failed, or unknown. The oracle holds it against what is there in the end."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """What the caller knows. UNKNOWN: no answer came, and it was not asked again."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(kw_only=True)
class Purchase:
    """One API key that somebody asked for. ``name`` is given once; what follows was told by the answers.

    ``value``: the credential that was told last. ``ended``: credentials that were told to be over. ``uncertain``: an operation on it
    had no answer, so its state is either the one before or the one after.
    """

    name: str
    tenant_id: uuid.UUID
    tier: str
    batch: str
    outcome: Outcome = Outcome.UNKNOWN
    id: uuid.UUID | None = None
    value: str = field(default="", repr=False)
    ended: list[str] = field(default_factory=list, repr=False)
    revoked: bool = False
    disabled: bool = False
    uncertain: bool = False


class History:
    """All of it; several threads write."""

    def __init__(self) -> None:
        self.purchases: list[Purchase] = []
        self.operations: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        # What is wrong by itself, whatever is there in the end: two answers of one Idempotency-Key that differ, an answer 500.
        self.wrong: list[str] = []
        self._lock = threading.Lock()

    def bought(self, purchases: list[Purchase]) -> None:
        with self._lock:
            self.purchases += purchases

    def operation(self, name: str, outcome: Outcome) -> None:
        with self._lock:
            self.operations[f"{name} {outcome}"] += 1

    def fault(self, name: str) -> None:
        with self._lock:
            self.faults[name] += 1

    def is_wrong(self, words: str) -> None:
        with self._lock:
            self.wrong.append(words)

    def count(self, outcome: Outcome) -> int:
        return sum(each.outcome is outcome for each in self.purchases)
