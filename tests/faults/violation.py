"""What the oracle finds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Violation:
    """``kind``: lost, orphan, double, or other."""

    kind: str
    words: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.words}"
