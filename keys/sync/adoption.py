"""Taking over usage plans and keys that somebody else made: a worker looks, staff decide, a worker takes.

Nothing at API Gateway is changed here. What is written are rows that say what is there; names follow later, as changes like any others.
Values of keys are read when they are taken over and not before, and kept as all others are: encrypted.
"""

import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from keys import takeover
from keys.gateway.errors import GatewayError, Kind, TryLater
from keys.gateway.types import Member, PlanSpec, RemoteKey, RemotePlan, ValuedKey
from keys.models import Adoption, GatewayKey, UsagePlan
from keys.proposals import Decision, KeySeen, PlanSeen, Proposal, UnfitDecision
from keys.sync import due
from keys.sync.names import MARK
from keys.sync.outcome import shown
from keys.sync.session import Session, speak_to

log = structlog.get_logger(__name__)

# After a look that failed, the next one waits this long: it costs a call a page.
LOOK_AGAIN = timedelta(seconds=60)


class UnableToLook(Exception):
    """The gateway did not say what it holds; the message says why."""


@dataclass(frozen=True, slots=True)
class _Look:
    """What others made on a gateway; ``specs`` by plan id."""

    proposal: Proposal
    specs: Mapping[str, PlanSpec]


@dataclass(frozen=True, slots=True)
class _Plans:
    """All usage plans of a gateway and the keys in them, by plan id; listed from ``since`` on."""

    since: datetime
    plans: Sequence[RemotePlan]
    members: Mapping[str, Sequence[Member]]


def look_at(gateway_id: uuid.UUID, go_first: Callable[[Session], None]) -> Proposal | None:
    """What could be taken over, now and in the foreground; nothing is written. None when a worker is busy with the gateway, or it is left
    alone after failures. ``go_first``: does what people wait for between two calls, as no worker can meanwhile. Raises UnableToLook."""
    found = None
    try:
        with speak_to(gateway_id) as session:
            if session is not None:
                session.interrupt = go_first
                plans = _list_plans(session)
                found = _look(session, plans, session.client.list_keys()).proposal
    except GatewayError as error:
        raise UnableToLook(str(error)) from error
    return found


def work_on_adoption(session: Session) -> bool:
    """Propose, or take over, what the gateway's adoption waits for; whether it got further.

    A gateway in trouble is asked again after LOOK_AGAIN. What no later try can mend, or not before a person gives the workers a right, ends
    the adoption, and stands in its ``error``.
    """
    adoption = due.adoptions(session.gateway.pk, session.now()).select_related("gateway").first()
    if adoption is None:
        return False
    try:
        if adoption.confirmed_at is None:
            _propose(session, adoption)
        else:
            _take_over(session, adoption)
    except (GatewayError, UnfitDecision) as error:
        if isinstance(error, TryLater) and not error.is_forbidden:
            log.info("adoption.postponed", adoption_id=adoption.pk, reason=str(error.kind))
            _note(session, adoption, next_try_at=session.now() + LOOK_AGAIN)
            return False
        log.warning("adoption.failed", adoption_id=adoption.pk)
        _note(session, adoption, error=str(error))
    return True


def _note(session: Session, adoption: Adoption, **columns: object) -> None:
    with session.lease.writing():
        Adoption.objects.filter(pk=adoption.pk).update(**columns)


def _propose(session: Session, adoption: Adoption) -> None:
    plans = _list_plans(session)
    proposal = _look(session, plans, session.client.list_keys()).proposal
    _note(session, adoption, proposal=proposal.as_json(), proposed_at=session.now())
    log.info("adoption.proposed", adoption_id=adoption.pk, plans=len(proposal.plans))


def _take_over(session: Session, adoption: Adoption) -> None:
    """Look again, and take over what is still as it was when it was decided about.

    Race: staff withdraw the adoption at the same moment. Its row is locked, and looked at again under that.
    """
    plans = _list_plans(session)
    keys = session.client.list_keys_with_values()
    look = _look(session, plans, [RemoteKey(key.id, key.name, key.enabled) for key in keys])
    decisions = [Decision.read(each) for each in adoption.decisions["plans"]]
    proposal = _brought_up_to_date(Proposal.read(adoption.proposal), look.proposal, {each.plan for each in decisions})
    taken = takeover.read_decisions(adoption.gateway, proposal, decisions)
    values = _values(taken, look.proposal, keys)
    del keys
    seen = {plan_id: shown(spec) for plan_id, spec in look.specs.items()}
    with transaction.atomic():
        takeover.hold(taken)
        taken = takeover.read_decisions(adoption.gateway, proposal, decisions)
        with session.lease.writing():
            still_wanted = Adoption.objects.select_for_update(no_key=True).filter(pk=adoption.pk, withdrawn_at=None, applied_at=None)
            if still_wanted.exists():
                report = takeover.take_over(adoption, taken, values, seen)
                Adoption.objects.filter(pk=adoption.pk).update(applied_at=session.now(), report=report)
    log.info("adoption.applied", adoption_id=adoption.pk)


def _list_plans(session: Session) -> _Plans:
    """Before the keys: what others make meanwhile is on the list of keys then, and no member without a key."""
    since, plans = session.now(), session.client.list_plans()
    return _Plans(since, plans, {plan.id: session.client.list_plan_members(plan.id) for plan in plans})


def _look(session: Session, listed: _Plans, keys: Sequence[RemoteKey]) -> _Look:
    """What the lists say. What is ours, or bears the mark of another Tollgate, is no matter of an adoption; it may come and go between
    the pages of a list."""
    plans, members = listed.plans, listed.members
    our_plans = set(UsagePlan.objects.filter(gateway=session.gateway).exclude(remote_id="").values_list("remote_id", flat=True))
    known = GatewayKey.objects.filter(Q(removed_at=None) | Q(removed_at__gte=listed.since), gateway=session.gateway)
    ours = set(known.exclude(remote_id="").values_list("remote_id", flat=True))
    if not ours.union(key.id for key in keys).issuperset(member.id for inside in members.values() for member in inside):
        words = _("API Gateway's list was not whole, so nothing was concluded from it and nothing changed. It is read again.")
        raise TryLater(words, Kind.UNKNOWN)
    foreign = {key.id: key for key in keys if key.id not in ours and not key.name.startswith(MARK)}
    times = Counter(member.id for inside in members.values() for member in inside)
    others = [plan for plan in plans if plan.id not in our_plans and not plan.spec.name.startswith(MARK)]
    seen = [
        _plan_seen(
            plan.id,
            plan.spec,
            [
                KeySeen(id=key.id, name=key.name, enabled=key.enabled, plans=times[key.id])
                for member in members[plan.id]
                if (key := foreign.get(member.id)) is not None
            ],
        )
        for plan in others
    ]
    seen.sort(key=lambda plan: (plan.name, plan.id))
    loose = sum(1 for key_id in foreign if not times[key_id])
    return _Look(Proposal(plans=tuple(seen), loose_keys=loose), {plan.id: plan.spec for plan in others})


def _plan_seen(plan_id: str, spec: PlanSpec, keys: list[KeySeen]) -> PlanSeen:
    return PlanSeen(
        id=plan_id,
        name=spec.name,
        rate=spec.rate,
        burst=spec.burst,
        quota_limit=spec.quota_limit,
        quota_period=spec.quota_period,
        stages=tuple(sorted(spec.stages)),
        keys=tuple(sorted(keys, key=lambda key: (key.name, key.id))),
    )


def _brought_up_to_date(decided: Proposal, now: Proposal, plan_ids: set[str]) -> Proposal:
    """The proposal that was decided about, with its keys as they are now but for their names. Keys that came since are not in it:
    nobody decided about them.

    Raises UnfitDecision when a plan that was decided about is gone, or says something else now.
    """
    there = {plan.id: plan for plan in now.plans}
    plans = []
    for plan in decided.plans:
        fresh = there.get(plan.id)
        if plan.id not in plan_ids:
            continue
        if fresh is None or not plan.says_the_same(fresh):
            words = _("The usage plan %(name)s was changed at API Gateway after it was looked at. Nothing was taken over: look again.")
            raise UnfitDecision("plans", words % {"name": plan.name})
        keys = {key.id: key for key in fresh.keys}
        # Named as they were: tenants are made by these names, and somebody said how many.
        plans.append(replace(plan, keys=tuple(replace(keys.get(key.id, key), name=key.name) for key in plan.keys)))
    return replace(decided, plans=tuple(plans))


def _values(taken: Sequence[takeover.Taken], now: Proposal, keys: Sequence[ValuedKey]) -> dict[str, takeover.StoredValue]:
    """The values of the keys that still are in the plans with which they are taken over, encrypted."""
    decided = {(each.plan.id, key.id) for each in taken for key in each.plan.keys}
    wanted = {key.id for plan in now.plans for key in plan.keys if (plan.id, key.id) in decided}
    return {key.id: takeover.stored(key.value) for key in keys if key.id in wanted}
