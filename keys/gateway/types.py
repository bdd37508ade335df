"""What API Gateway holds, as values of our own. None of them carries a credential, except a row that is about to be sent, and a key
that is taken over from whoever made it."""

import datetime as dt
from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class RemoteKey:
    """A key as GetApiKeys shows it, without its value."""

    id: str
    name: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class ValuedKey:
    """A key with its value: read once, when it is taken over."""

    id: str
    name: str
    enabled: bool
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Member:
    """A key in a usage plan. GetUsagePlanKeys always sends the value along; it is dropped at once."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class PlanSpec:
    """What a usage plan says: requests a second, bucket size, requests a period, and the stages (``apiId:stage``) it is for.

    None (rate, burst, quota_limit) and "" (quota_period) mean: not limited.
    """

    name: str
    rate: Decimal | None
    burst: int | None
    quota_limit: int | None
    quota_period: str
    stages: frozenset[str]


@dataclass(frozen=True, slots=True)
class RemotePlan:
    """A usage plan as GetUsagePlans shows it."""

    id: str
    spec: PlanSpec


@dataclass(frozen=True, slots=True)
class RemoteMethod:
    """A method of a REST API, by the path of its resource."""

    path: str
    method: str
    needs_key: bool


@dataclass(frozen=True, slots=True)
class ImportRow:
    """One line of the CSV that ImportApiKeys takes."""

    name: str
    value: str = field(repr=False)
    enabled: bool
    plan_id: str


@dataclass(frozen=True, slots=True)
class KeyUsage:
    """What GetUsage says of one key: (day, requests used, quota left then).

    The map of GetUsage is keyed by the key's id or, says botocore, by its value: exactly one of ``key_id`` and ``value_sha256`` is set.
    """

    key_id: str
    value_sha256: str
    days: tuple[tuple[dt.date, int, int], ...]
