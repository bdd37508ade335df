"""Where the tenants of a pool belong: who moves, where to, and which places are offered next, so that its keys end up alike.

Pure. ``K`` stands for a key of the pool. A place is a key and a level: the level is how many stand below it there.
"""

import heapq
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Levelling(Generic[K]):
    """``leave``: how many leave each key. ``places``: where as many are put, in this order. ``loads``: of the keys that stay, after it."""

    leave: dict[K, int]
    places: list[tuple[K, int]]
    loads: dict[K, int]

    @property
    def moved(self) -> int:
        """How many move."""
        return len(self.places)

    @property
    def ground(self) -> int:
        """The lowest level that is filled or offered."""
        return self.places[0][1] if self.places else min(self.loads.values(), default=0)


def vacate(loads: Mapping[K, int], leaving: Collection[K], most: int | None = None) -> Levelling[K]:
    """Everybody leaves the keys ``leaving``, ``most`` at most, for the emptiest of the others; nobody else moves."""
    left = sum(loads.values()) if most is None else most
    leave = {}
    for key in leaving:
        count = min(left, loads[key])
        if count:
            leave[key] = count
            left -= count
    return _levelling(leave, loads, leaving)


def even_out(loads: Mapping[K, int], most: int | None = None) -> Levelling[K]:
    """As few as possible move, ``most`` at most, from the fullest keys to the emptiest, until the loads differ by one at most."""
    low, higher = divmod(sum(loads.values()), len(loads))
    fullest_first = sorted(loads, key=lambda key: -loads[key])
    surplus = {key: loads[key] - low - (place < higher) for place, key in enumerate(fullest_first)}
    heap = [(-loads[key], place, key) for place, key in enumerate(fullest_first) if surplus[key] > 0]
    heapq.heapify(heap)
    leave: dict[K, int] = {}
    left = sum(loads.values()) if most is None else most
    while heap and left:
        left -= 1
        load, place, key = heap[0]
        leave[key] = leave.get(key, 0) + 1
        if leave[key] < surplus[key]:
            heapq.heapreplace(heap, (load + 1, place, key))
        else:
            heapq.heappop(heap)
    return _levelling(leave, loads, ())


def offered(loads: Mapping[K, int], most: int) -> tuple[list[tuple[K, int]], bool]:
    """The places to fill until all keys carry as much as the fullest does, the lowest level first; and whether there are more than
    ``most``, which is how many are given."""
    top = max(loads.values(), default=0)
    missing = sum(top - load for load in loads.values())
    return list(_fill(loads, min(missing, most))), missing > most


def pair(standing: Sequence[K], places: Sequence[tuple[K, int]], home: Callable[[K], Hashable]) -> list[tuple[K, int]]:
    """A place for each who moves, at the home (the gateway) that it has already where one is left: there its address stays the same.

    ``standing``: the key that each of them leaves; as many as there are places.
    """
    at: dict[Hashable, list[tuple[K, int]]] = {}
    for place in reversed(places):
        at.setdefault(home(place[0]), []).append(place)
    found = [at[home(key)].pop() if at.get(home(key)) else None for key in standing]
    others = [place for rest in at.values() for place in rest]
    return [place or others.pop() for place in found]


def _levelling(leave: dict[K, int], loads: Mapping[K, int], leaving: Collection[K]) -> Levelling[K]:
    rest = {key: load - leave.get(key, 0) for key, load in loads.items() if key not in leaving}
    places = list(_fill(rest, sum(leave.values())))
    for key, _level in places:
        rest[key] += 1
    return Levelling(leave=leave, places=places, loads=rest)


def _fill(loads: Mapping[K, int], count: int) -> Iterator[tuple[K, int]]:
    """The next ``count`` places, each on the emptiest key then."""
    heap = [(load, number, key) for number, (key, load) in enumerate(loads.items())]
    heapq.heapify(heap)
    for _one in range(count):
        load, number, key = heap[0]
        yield key, load
        heapq.heapreplace(heap, (load + 1, number, key))
