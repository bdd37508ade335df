"""What is less urgent than a backlog gets a tenth of the calls meanwhile, so that nothing waits for as long as the backlog lasts: 10,000
keys that are made one by one take more than half an hour, in which drift would not be found, and usage not be read.
"""

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

Kind = TypeVar("Kind")

# Calls of a backlog before anything less urgent gets its first turn: five seconds' worth. Shorter ones are done before all else.
FIRST = 50
# Calls of a backlog for each call of what is less urgent.
EACH = 9


class Share(Generic[Kind]):
    """Says whose turn it is beside the backlog that one holder of a lease works on. ``kinds`` of work take turns in this order."""

    def __init__(self, kinds: Iterable[Kind]) -> None:
        self._waiting = list(kinds)
        self._owed = FIRST

    @property
    def is_due(self) -> bool:
        """Whether the backlog had its calls, and something less urgent is to be done now."""
        return self._owed <= 0

    def spent(self, calls: int) -> None:
        """The backlog took so many calls."""
        self._owed -= calls

    def taken(self, calls: int) -> None:
        """A turn took so many calls. One that found nothing to do counts as one, or it would be looked for after every call."""
        self._owed += EACH * max(1, calls)

    def turns(self) -> Iterator[Kind]:
        """All kinds, the one that has waited longest first; those that were looked at wait longest for their next turn."""
        for kind in list(self._waiting):
            self._waiting.remove(kind)
            self._waiting.append(kind)
            yield kind
