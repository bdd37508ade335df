"""What an API Gateway account holds, as far as API keys and usage plans are concerned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sandbox.quota import Quota


@dataclass(frozen=True, slots=True)
class Throttle:
    """``rate`` requests a second on average, ``burst`` at once."""

    rate: float
    burst: int


@dataclass(slots=True)
class Stage:
    """A deployed stage of a REST API."""

    name: str
    created: int
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class RestApi:
    """A REST API with its stages. Every API here has the same methods, see ``sandbox.dataplane``."""

    id: str
    name: str
    created: int
    stages: dict[str, Stage]
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class ApiKey:
    """An API key. ``plan_ids`` are its usage plans in the order of attachment."""

    id: str
    value: str
    name: str = ""
    description: str = ""
    enabled: bool = False
    customer_id: str = ""
    created: int = 0
    updated: int = 0
    sequence: int = 0
    stage_keys: list[str] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    plan_ids: list[str] = field(default_factory=list)


StageRef = tuple[str, str]


@dataclass(slots=True)
class UsagePlan:
    """A usage plan. ``stages`` maps (API id, stage) to throttles of single methods, keyed ``/path/METHOD``."""

    id: str
    name: str
    description: str = ""
    product_code: str = ""
    throttle: Throttle | None = None
    quota: Quota | None = None
    stages: dict[StageRef, dict[str, Throttle]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    sequence: int = 0
    # key id -> sequence of its attachment; in that order.
    members: dict[str, int] = field(default_factory=dict)


def throttle_json(throttle: Throttle) -> dict[str, Any]:
    """Return a throttle as the protocol writes it."""
    return {"burstLimit": throttle.burst, "rateLimit": throttle.rate}
