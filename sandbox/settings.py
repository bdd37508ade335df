"""What can be switched, by flags at the start and over HTTP while it runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(slots=True)
class Settings:
    """Switches. Times are seconds, rates requests a second; zero switches a time or an account rate off."""

    aws_limits: bool = False
    key_cap: int = 10_000
    latency: float = 0.0
    propagation_delay: float = 0.0
    usage_lag: float = 0.0
    account_rate: float = 10_000.0
    account_burst: int = 5_000
    attach_seconds: float = 0.05

    def change(self, options: Mapping[str, Any]) -> None:
        """Set some of them.

        Raises:
            ValueError: an option is unknown or its value is not possible; then nothing is changed.
        """
        known: dict[str, Any] = asdict(self)
        for name, value in options.items():
            if name not in known:
                raise ValueError(f"{name}: no such setting")
            if not _possible(value, type(known[name])):
                raise ValueError(f"{name}: not a possible value")
        for name, value in options.items():
            setattr(self, name, value)


def _possible(value: object, wanted: type) -> bool:
    """Whether a value may take the place of one of type ``wanted``: numbers are finite and not negative."""
    if wanted is bool or isinstance(value, bool):
        return type(value) is wanted
    if not isinstance(value, int | float) or (wanted is int and isinstance(value, float)):
        return False
    return 0 <= value < math.inf
