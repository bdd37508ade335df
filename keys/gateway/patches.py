"""From what a usage plan says to what it shall say: the patch operations of UpdateUsagePlan. Pure.

Paths: developer guide, "patch operations"; a stage's value is ``apiId:stage``. The quota's offset is always 0 (its meaning is contested).
"""

from decimal import Decimal
from typing import NamedTuple

from keys.gateway.types import PlanSpec


class Patch(NamedTuple):
    """One patch operation; ``value`` is None where the operation takes none."""

    op: str
    path: str
    value: str | None = None


def plan_patches(observed: PlanSpec, desired: PlanSpec) -> list[Patch]:
    """What turns ``observed`` into ``desired``; empty when they are equal.

    Stages are added before others are removed, so that a plan never stands without any in between.
    """
    patches = []
    if observed.name != desired.name:
        patches.append(Patch("replace", "/name", desired.name))
    return patches + _throttle(observed, desired) + _quota(observed, desired) + _stages(observed, desired)


def _throttle(observed: PlanSpec, desired: PlanSpec) -> list[Patch]:
    if (observed.rate, observed.burst) == (desired.rate, desired.burst):
        return []
    if desired.rate is None or desired.burst is None:
        return [Patch("remove", "/throttle")]
    operation = "add" if observed.rate is None else "replace"
    patches = []
    if observed.rate != desired.rate:
        patches.append(Patch(operation, "/throttle/rateLimit", plain(desired.rate)))
    if observed.burst != desired.burst:
        patches.append(Patch(operation, "/throttle/burstLimit", str(desired.burst)))
    return patches


def _quota(observed: PlanSpec, desired: PlanSpec) -> list[Patch]:
    if (observed.quota_limit, observed.quota_period) == (desired.quota_limit, desired.quota_period):
        return []
    if desired.quota_limit is None:
        return [Patch("remove", "/quota")]
    is_new = observed.quota_limit is None
    operation = "add" if is_new else "replace"
    patches = []
    if observed.quota_limit != desired.quota_limit:
        patches.append(Patch(operation, "/quota/limit", str(desired.quota_limit)))
    if observed.quota_period != desired.quota_period:
        patches.append(Patch(operation, "/quota/period", desired.quota_period))
    if is_new:
        patches.append(Patch(operation, "/quota/offset", "0"))
    return patches


def _stages(observed: PlanSpec, desired: PlanSpec) -> list[Patch]:
    added = [Patch("add", "/apiStages", stage) for stage in sorted(desired.stages - observed.stages)]
    return added + [Patch("remove", "/apiStages", stage) for stage in sorted(observed.stages - desired.stages)]


def plain(number: Decimal) -> str:
    """A decimal without exponent and without zeros at the end: 10, 0.5."""
    return f"{number.normalize():f}"
