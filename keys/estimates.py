"""How long what waits at a gateway will take: the calls that it needs, under the rates that they have. Pure.

An estimate and no promise: calls that fail, and other programs that use the same account, are not in it.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import ceil

from keys.rates import BY_OPERATION, IMPORT, PAGE, TOTAL

# Fewer switches than this are sent one by one; more go by import.
FEW = 10
# Making, sending and noting a thousand keys takes longer than its five calls may.
IMPORT_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Queue:
    """What waits at a gateway: keys to be removed, switched on or off, made or repaired, renamed; usage plans to be made or changed.

    ``makes_of``: of how many usage plans those keys are.
    """

    removals: int = 0
    switches: int = 0
    makes: int = 0
    makes_of: int = 0
    names: int = 0
    plans_to_make: int = 0
    plans_to_change: int = 0

    @property
    def keys(self) -> int:
        """Gateway keys that wait."""
        return self.removals + self.switches + self.makes + self.names

    @property
    def plans(self) -> int:
        """Usage plans that wait."""
        return self.plans_to_make + self.plans_to_change

    def __bool__(self) -> bool:
        return any(getattr(self, each.name) for each in fields(self) if each.name != "makes_of")


def calls_for(queue: Queue, *, uses_imports: bool) -> Mapping[str, int]:
    """The calls that it takes, by operation."""
    calls: Counter[str] = Counter()
    calls["DeleteApiKey"] = queue.removals
    calls["UpdateApiKey"] = queue.names
    if uses_imports and queue.switches > FEW:
        _import(calls, queue.switches, 1)
    else:
        calls["UpdateApiKey"] += queue.switches
    if uses_imports:
        _import(calls, queue.makes, queue.makes_of)
    else:
        calls["CreateApiKey"] = calls["CreateUsagePlanKey"] = queue.makes
    calls["GetUsagePlans"] = ceil((queue.plans_to_make + queue.plans_to_change) / 10)
    calls["CreateUsagePlan"] = queue.plans_to_make
    calls["UpdateUsagePlan"] = queue.plans_to_change
    return +calls


def seconds_for(calls: Mapping[str, int], pace: float = 1.0) -> float:
    """How long so many calls take at this share of the account's rates, when none were saved up."""
    shares = [calls.get(operation, 0) / rate for operation, (rate, _burst) in BY_OPERATION.items()]
    paced = sum(calls.values()) / (TOTAL[0] * pace)
    return max(paced, *shares) + IMPORT_SECONDS * calls.get("ImportApiKeys", 0)


def _import(calls: Counter[str], keys: int, plans: int) -> None:
    """Each batch is sent, then looked up: among the keys, and among those of each usage plan."""
    for start in range(0, keys, IMPORT):
        pages = ceil(min(IMPORT, keys - start) / PAGE)
        calls["ImportApiKeys"] += 1
        calls["GetApiKeys"] += pages
        calls["GetUsagePlanKeys"] += max(pages, plans)
