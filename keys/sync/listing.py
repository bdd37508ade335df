"""Reading everything that is compared: what a gateway holds, in pages of 500, and what the rows say it shall hold."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TypeVar

from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from keys.gateway.errors import Kind, NotFound, TryLater
from keys.models import Gateway, GatewayKey, UsagePlan
from keys.sync.drift import Desired, DesiredKey, DesiredPlan, Difference, Remote, Subject
from keys.sync.drift import Kind as Drift
from keys.sync.names import MARK, mark_of
from keys.sync.plans import desired_spec
from keys.sync.session import Session

Found = TypeVar("Found")

# Differences of a kind that are asked for by themselves before a list is believed.
SAMPLES = 5


def list_remote(session: Session) -> Remote:
    """List plans, keys and the members of our plans: one call a page, never one a key. Raises GatewayError."""
    known = set(UsagePlan.objects.filter(gateway=session.gateway).exclude(remote_id="").values_list("remote_id", flat=True))
    plans = session.client.list_plans()
    keys = session.client.list_keys()
    ours = [plan.id for plan in plans if plan.id in known or plan.spec.name.startswith(MARK)]
    return Remote(keys, plans, {plan_id: session.client.list_plan_members(plan_id) for plan_id in ours})


def read_desired(gateway: Gateway, listed_from: datetime) -> Desired:
    """What the gateway shall hold, read after it was listed, which began at ``listed_from`` (by ``Session.now``, as rows are
    written).

    Urgent work goes on between the pages of a list. What was written since then may stand otherwise on a page that was read before, so
    it is compared the next time: rows that came into step are left out, and keys that were removed are known still.
    """
    present = GatewayKey.objects.filter(Q(removed_at=None) | Q(removed_at__gte=listed_from), gateway=gateway)
    plans = list(UsagePlan.objects.filter(gateway=gateway).select_related("tier").prefetch_related("tier__stages"))
    stays = Q(ends_at=None) | Q(ends_at__gt=Now())
    in_step = present.filter(stays, removed_at=None, synced_revision=F("revision"), synced_at__lt=listed_from).exclude(remote_id="")
    rows = in_step.values_list("pk", "remote_id", "name", "enabled", "usage_plan__remote_id")
    known = list(present.values_list("remote_id", "name"))
    return Desired(
        keys=[DesiredKey(*row) for row in rows.iterator(chunk_size=2000)],
        plans=[DesiredPlan(plan.pk, plan.remote_id, desired_spec(plan)) for plan in plans if plan.remote_id and not plan.is_pending],
        known_ids=frozenset([remote_id for remote_id, _name in known] + [plan.remote_id for plan in plans]),
        known_names=frozenset([name for _remote_id, name in known] + [plan.remote_name for plan in plans]),
        key_mark=mark_of(gateway.pk),
        changed_ids=frozenset(present.filter(synced_at__gte=listed_from).values_list("remote_id", flat=True)),
    )


def refuse_unsound_lists(session: Session, remote: Remote, desired: Desired, differences: Sequence[Difference]) -> None:
    """Raise TryLater when the lists cannot be right: then nothing may be concluded from what is on them, or is not.

    Given away by what is on them twice, by a member that is no key (but for those that came while it was listed), or by a difference
    that is not there when it is asked for by itself. Of each kind a few are asked for, spread over all: a page that got lost would hold
    hundreds of them. Plans that are not ours say nothing: whoever has them makes keys while we list.
    """
    ids = {key.id for key in remote.keys}
    members = [[member.id for member in inside] for plan_id, inside in remote.members.items() if plan_id in desired.known_ids]
    lists = [[key.id for key in remote.keys], [plan.id for plan in remote.plans], *members]
    unsound = any(len(each) != len(set(each)) for each in lists)
    unsound = unsound or any(not ids.union(desired.changed_ids).issuperset(inside) for inside in members)
    unsound = unsound or any(_is_refuted(session, remote, desired, each) for each in _samples(differences))
    if unsound:
        words = _("API Gateway's list was not whole, so nothing was concluded from it and nothing changed. It is read again.")
        raise TryLater(words, Kind.UNKNOWN)


def _samples(differences: Sequence[Difference]) -> Iterator[Difference]:
    alike: dict[tuple[Subject, Drift], list[Difference]] = defaultdict(list)
    for each in differences:
        if each.row_id is not None:
            alike[(each.subject, each.kind)].append(each)
    for group in alike.values():
        last = len(group) - 1
        yield from (group[place] for place in sorted({last * part // (SAMPLES - 1) for part in range(SAMPLES)}))


def _is_refuted(session: Session, remote: Remote, desired: Desired, difference: Difference) -> bool:
    """Ask for what differs by itself: whether the lists were wrong about it."""
    if difference.subject is Subject.PLAN:
        plan_id = next(plan.remote_id for plan in desired.plans if plan.row_id == difference.row_id)
        listed = next((plan for plan in remote.plans if plan.id == plan_id), None)
        return _found(session.client.get_plan, plan_id) != listed
    wanted = next(key for key in desired.keys if key.row_id == difference.row_id)
    seen = next((key for key in remote.keys if key.id == wanted.remote_id), None)
    if difference.kind is Drift.DETACHED and seen is not None:
        return any(plan.id == wanted.plan_id for plan in session.client.list_plans(key_id=seen.id))
    return _found(session.client.get_key, wanted.remote_id) != seen


def _found(ask: Callable[[str], Found], remote_id: str) -> Found | None:
    try:
        return ask(remote_id)
    except NotFound:
        return None
