"""What a gateway holds against what it shall hold. Pure.

Keys and plans that are neither in the rows nor bear our mark belong to somebody else: they are no difference, and never touched.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from django.utils.translation import gettext as _

from keys.gateway.patches import plain, plan_patches
from keys.gateway.types import Member, PlanSpec, RemoteKey, RemotePlan
from keys.sync.names import MARK


@dataclass(frozen=True, slots=True)
class DesiredKey:
    """A key that shall exist, and is not being worked on: by its row's id, its id and name there, its plan's id there."""

    row_id: uuid.UUID
    remote_id: str
    name: str
    enabled: bool
    plan_id: str


@dataclass(frozen=True, slots=True)
class DesiredPlan:
    """A usage plan that shall exist, and is not being worked on."""

    row_id: uuid.UUID
    remote_id: str
    spec: PlanSpec


@dataclass(frozen=True, slots=True)
class Desired:
    """All of it. ``known_ids`` and ``known_names`` also hold what is being worked on: that is neither missing nor extra.

    ``key_mark`` begins the names of our keys, and of nobody else's.
    """

    keys: Sequence[DesiredKey]
    plans: Sequence[DesiredPlan]
    known_ids: frozenset[str]
    known_names: frozenset[str]
    key_mark: str


@dataclass(frozen=True, slots=True)
class Remote:
    """What a gateway was seen to hold; members by plan id."""

    keys: Sequence[RemoteKey]
    plans: Sequence[RemotePlan]
    members: Mapping[str, Sequence[Member]]


class Kind(StrEnum):
    """The ways in which the two can differ."""

    PLAN_MISSING = "plan missing"
    PLAN_DIFFERS = "plan differs"
    PLAN_EXTRA = "plan extra"
    MISSING = "missing"
    DISABLED = "disabled"
    ENABLED = "enabled"
    DETACHED = "detached"
    WRONG_PLAN = "wrong plan"
    EXTRA = "extra"


@dataclass(frozen=True, slots=True)
class Difference:
    """One of them. ``row_id`` is None for what is extra; ``remote_id`` is "" for what is missing.

    ``before`` and ``after`` are words: as it is, and as it shall be. ``plan_id``: the usage plan that a key is in and shall not be.
    """

    kind: Kind
    row_id: uuid.UUID | None
    remote_id: str
    name: str
    before: str = ""
    after: str = ""
    plan_id: str = ""


def diff(desired: Desired, remote: Remote) -> list[Difference]:
    """All differences, plans first. Linear in what there is."""
    return [*_plans(desired, remote), *_keys(desired, remote)]


def _plans(desired: Desired, remote: Remote) -> list[Difference]:
    found = []
    by_id = {plan.id: plan for plan in remote.plans}
    for plan in desired.plans:
        there = by_id.get(plan.remote_id)
        if there is None:
            found.append(Difference(Kind.PLAN_MISSING, plan.row_id, "", plan.spec.name))
        elif plan_patches(there.spec, plan.spec):
            before, after = describe(there.spec), describe(plan.spec)
            found.append(Difference(Kind.PLAN_DIFFERS, plan.row_id, there.id, plan.spec.name, before, after))
    extra = (plan for plan in remote.plans if _is_extra(plan.id, plan.spec.name, desired, MARK))
    return found + [Difference(Kind.PLAN_EXTRA, None, plan.id, plan.spec.name) for plan in extra]


def _keys(desired: Desired, remote: Remote) -> list[Difference]:
    """Sets do the work: only what differs is looked at one by one."""
    found = []
    there = {key.id: key for key in remote.keys}
    wanted = {key.remote_id: key for key in desired.keys}
    for remote_id, key in wanted.items():
        seen = there.get(remote_id)
        if seen is None:
            found.append(Difference(Kind.MISSING, key.row_id, "", key.name))
        elif seen.enabled != key.enabled:
            kind = Kind.ENABLED if seen.enabled else Kind.DISABLED
            found.append(Difference(kind, key.row_id, seen.id, seen.name, _switch(seen.enabled), _switch(key.enabled)))
    found += _memberships(wanted, there, remote.members)
    extra = (there[remote_id] for remote_id in there.keys() - desired.known_ids)
    return found + [
        Difference(Kind.EXTRA, None, each.id, each.name, _switch(each.enabled))
        for each in extra
        if _is_extra(each.id, each.name, desired, desired.key_mark)
    ]


def _memberships(
    wanted: Mapping[str, DesiredKey], there: Mapping[str, RemoteKey], members: Mapping[str, Sequence[Member]]
) -> list[Difference]:
    belong: dict[str, set[str]] = {plan_id: set() for plan_id in members}
    for remote_id, key in wanted.items():
        belong.setdefault(key.plan_id, set()).add(remote_id)
    found = []
    for plan_id, ids in belong.items():
        inside = {member.id for member in members.get(plan_id, ())}
        for remote_id in sorted((ids - inside) & there.keys()):
            key = wanted[remote_id]
            found.append(Difference(Kind.DETACHED, key.row_id, remote_id, key.name, _("not in its usage plan"), _("in its usage plan")))
        for remote_id in sorted((inside - ids) & wanted.keys() & there.keys()):
            key = wanted[remote_id]
            found.append(
                Difference(
                    Kind.WRONG_PLAN, key.row_id, remote_id, key.name, _("in usage plan %(id)s") % {"id": plan_id}, _("not in it"), plan_id
                )
            )
    return found


def _is_extra(remote_id: str, name: str, desired: Desired, mark: str) -> bool:
    return name.startswith(mark) and remote_id not in desired.known_ids and name not in desired.known_names


def _switch(enabled: bool) -> str:  # noqa: FBT001 - it is what is switched
    return _("enabled") if enabled else _("disabled")


def describe(spec: PlanSpec) -> str:
    """A plan's limits and stages in one line."""
    rate, quota = _("no rate"), _("no quota")
    if spec.rate is not None:
        rate = _("%(rate)s requests a second, burst %(burst)s") % {"rate": plain(spec.rate), "burst": spec.burst}
    if spec.quota_limit is not None:
        quota = _("%(limit)s a %(period)s") % {"limit": spec.quota_limit, "period": spec.quota_period}
    stages = ", ".join(sorted(spec.stages)) or _("none")
    return _("%(name)s: %(rate)s, %(quota)s, stages %(stages)s") % {
        "name": spec.name,
        "rate": rate,
        "quota": quota,
        "stages": stages,
    }
