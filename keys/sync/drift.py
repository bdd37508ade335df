"""What a gateway holds against what it shall hold. Pure.

Keys and plans that are neither in the rows nor bear our mark belong to somebody else, and are never touched.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum

from django.utils.translation import gettext as _

from keys import words
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

    ``key_mark`` begins the names of our keys, and of nobody else's. A key that was taken over and has no name of ours yet has the name "".
    ``changed_ids``: of ``known_ids``, keys that changed at the gateway while it was listed.
    """

    keys: Sequence[DesiredKey]
    plans: Sequence[DesiredPlan]
    known_ids: frozenset[str]
    known_names: frozenset[str]
    key_mark: str
    changed_ids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Remote:
    """What a gateway was seen to hold; members by plan id."""

    keys: Sequence[RemoteKey]
    plans: Sequence[RemotePlan]
    members: Mapping[str, Sequence[Member]]


class Kind(StrEnum):
    """The ways in which the two can differ; the values are those of ``FindingKind``."""

    MISSING = "missing"
    EXTRA = "extra"
    FOREIGN = "foreign"
    DETACHED = "detached"
    WRONG_PLAN = "wrong_plan"
    WRONG_ENABLED = "wrong_enabled"
    WRONG_LIMITS = "wrong_limits"
    WRONG_STAGE = "wrong_stage"
    DUPLICATE = "duplicate"
    STALE_NAME = "stale_name"


class Subject(StrEnum):
    """What differs."""

    PLAN = "usage plan"
    KEY = "gateway key"


@dataclass(frozen=True, slots=True)
class Difference:
    """One of them. ``row_id`` is None for what no row explains; ``remote_id`` is "" for what is missing.

    ``before`` and ``after`` are words: as it is, and as it shall be. ``plan_id``: the usage plan that a key is in and shall not be.
    ``enabled``: of a key that no row explains, whether it is answered.
    """

    kind: Kind
    subject: Subject
    row_id: uuid.UUID | None
    remote_id: str
    name: str
    before: str = ""
    after: str = ""
    plan_id: str = ""
    enabled: bool = False


def diff(desired: Desired, remote: Remote) -> list[Difference]:
    """All differences, plans first. Linear in what there is.

    Keys of others are among them, as they take room; usage plans of others only where they bear a Tollgate's mark, which names no gateway:
    they may be another Tollgate's in this account, or what is left of ours.
    """
    return [*_plans(desired, remote), *_keys(desired, remote)]


def _plans(desired: Desired, remote: Remote) -> Iterator[Difference]:
    by_id = {plan.id: plan for plan in remote.plans}
    names = {plan.spec.name for plan in desired.plans if plan.remote_id in by_id}
    for plan in desired.plans:
        there = by_id.get(plan.remote_id)
        if there is None:
            yield Difference(Kind.MISSING, Subject.PLAN, plan.row_id, "", plan.spec.name, _("not there"), describe_limits(plan.spec))
        else:
            yield from _plan_parts(plan, there)
    for other in remote.plans:
        if other.id in desired.known_ids or not other.spec.name.startswith(MARK):
            continue
        if other.spec.name in names:
            yield Difference(Kind.DUPLICATE, Subject.PLAN, None, other.id, other.spec.name, describe_limits(other.spec))
        elif other.spec.name not in desired.known_names:
            yield Difference(Kind.FOREIGN, Subject.PLAN, None, other.id, other.spec.name, describe_limits(other.spec))


def _plan_parts(plan: DesiredPlan, there: RemotePlan) -> Iterator[Difference]:
    """What of an existing plan is not as it shall be: each part is a difference of its own."""
    seen, wanted = there.spec, plan.spec
    parts = (
        (Kind.WRONG_LIMITS, describe_limits(seen), describe_limits(wanted)),
        (Kind.WRONG_STAGE, describe_stages(seen), describe_stages(wanted)),
        (Kind.STALE_NAME, seen.name or _("no name"), wanted.name),
    )
    for kind, before, after in parts:
        if before != after:
            yield Difference(kind, Subject.PLAN, plan.row_id, there.id, wanted.name, before, after)


def _keys(desired: Desired, remote: Remote) -> list[Difference]:
    """Sets do the work: only what differs is looked at one by one."""
    found = []
    there = {key.id: key for key in remote.keys}
    wanted = {key.remote_id: key for key in desired.keys}
    for remote_id, key in wanted.items():
        seen = there.get(remote_id)
        if seen is None:
            found.append(Difference(Kind.MISSING, Subject.KEY, key.row_id, "", key.name, _("not there"), _switch(key.enabled)))
            continue
        if seen.enabled != key.enabled:
            switched = (_switch(seen.enabled), _switch(key.enabled))
            found.append(Difference(Kind.WRONG_ENABLED, Subject.KEY, key.row_id, seen.id, seen.name, *switched))
        if key.name and seen.name != key.name:
            names = (seen.name or _("no name"), key.name)
            found.append(Difference(Kind.STALE_NAME, Subject.KEY, key.row_id, seen.id, key.name, *names))
    found += _memberships(wanted, there, remote.members)
    names_there = {key.name for remote_id, key in wanted.items() if remote_id in there}
    found += [_unexplained(there[remote_id], desired, names_there) for remote_id in there.keys() - desired.known_ids]
    return [each for each in found if each.kind is not Kind.EXTRA or each.name not in desired.known_names]


def _unexplained(key: RemoteKey, desired: Desired, names_there: Set[str]) -> Difference:
    """A key that no row knows by its id."""
    kind = Kind.FOREIGN
    if key.name in names_there and key.name:
        kind = Kind.DUPLICATE
    elif key.name.startswith(desired.key_mark):
        kind = Kind.EXTRA
    return Difference(kind, Subject.KEY, None, key.id, key.name, _switch(key.enabled), enabled=key.enabled)


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
            states = (_("not in its usage plan"), _("in its usage plan"))
            found.append(Difference(Kind.DETACHED, Subject.KEY, key.row_id, remote_id, key.name, *states))
        for remote_id in sorted((inside - ids) & wanted.keys() & there.keys()):
            key = wanted[remote_id]
            states = (_("in usage plan %(id)s") % {"id": plan_id}, _("not in it"))
            found.append(Difference(Kind.WRONG_PLAN, Subject.KEY, key.row_id, remote_id, key.name, *states, plan_id))
    return found


def _switch(enabled: bool) -> str:  # noqa: FBT001 - it is what is switched
    return _("enabled") if enabled else _("disabled")


def describe_limits(spec: PlanSpec) -> str:
    """A plan's limits in one line."""
    rate, quota = _("no rate"), _("no quota")
    if spec.rate is not None:
        burst = words.number_of(spec.burst) if spec.burst is not None else _("none")
        rate = _("%(rate)s requests a second, burst %(burst)s") % {"rate": words.number_of(spec.rate), "burst": burst}
    if spec.quota_limit is not None:
        quota = _("%(limit)s a %(period)s") % {"limit": words.number_of(spec.quota_limit), "period": spec.quota_period.lower()}
    return f"{rate}, {quota}"


def describe_stages(spec: PlanSpec) -> str:
    """The stages that a plan is for in one line."""
    return ", ".join(sorted(spec.stages)) or _("none")
