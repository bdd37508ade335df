"""Reading everything that is compared: what a gateway holds, in pages of 500, and what the rows say it shall hold."""

from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from keys.gateway.errors import Kind, NotFound, TryLater
from keys.models import Gateway, GatewayKey, UsagePlan
from keys.sync.drift import Desired, DesiredKey, DesiredPlan, Difference, Remote
from keys.sync.drift import Kind as Drift
from keys.sync.names import MARK, mark_of
from keys.sync.plans import desired_spec
from keys.sync.session import Session


def list_remote(session: Session) -> Remote:
    """List plans, keys and the members of our plans: one call a page, never one a key. Raises GatewayError."""
    known = set(UsagePlan.objects.filter(gateway=session.gateway).exclude(remote_id="").values_list("remote_id", flat=True))
    plans = session.client.list_plans()
    keys = session.client.list_keys()
    ours = [plan.id for plan in plans if plan.id in known or plan.spec.name.startswith(MARK)]
    return Remote(keys, plans, {plan_id: session.client.list_plan_members(plan_id) for plan_id in ours})


def read_desired(gateway: Gateway) -> Desired:
    """What the gateway shall hold, read after it was listed: rows that are in step have been so since before, as only the lease
    holder changes that."""
    present = GatewayKey.objects.filter(gateway=gateway, removed_at=None)
    plans = list(UsagePlan.objects.filter(gateway=gateway).select_related("tier").prefetch_related("tier__stages"))
    in_step = present.filter(Q(ends_at=None) | Q(ends_at__gt=timezone.now()), synced_revision=F("revision")).exclude(remote_id="")
    rows = in_step.values_list("pk", "remote_id", "name", "enabled", "usage_plan__remote_id")
    known = list(present.values_list("remote_id", "name"))
    return Desired(
        keys=[DesiredKey(*row) for row in rows.iterator(chunk_size=2000)],
        plans=[DesiredPlan(plan.pk, plan.remote_id, desired_spec(plan)) for plan in plans if plan.remote_id],
        known_ids=frozenset([remote_id for remote_id, _name in known] + [plan.remote_id for plan in plans]),
        known_names=frozenset([name for _remote_id, name in known] + [plan.remote_name for plan in plans]),
        key_mark=mark_of(gateway.pk),
    )


def refuse_short_list(session: Session, remote: Remote, desired: Desired, differences: list[Difference]) -> None:
    """Raise TryLater when the lists cannot be whole: then nothing may be concluded from what is not on them.

    A member that is no key, or a missing key or plan that answers when it is asked for by its id, gives a short list away.
    """
    ids = {key.id for key in remote.keys}
    short = any(member.id not in ids for members in remote.members.values() for member in members)
    remote_ids = {key.row_id: key.remote_id for key in desired.keys}
    missing = [remote_ids[each.row_id] for each in differences if each.kind is Drift.MISSING and each.row_id]
    plan_ids = {plan.row_id: plan.remote_id for plan in desired.plans}
    missing_plans = [plan_ids[each.row_id] for each in differences if each.kind is Drift.PLAN_MISSING and each.row_id]
    # The first and the last: a list is cut at its end, whichever end that is.
    short = short or any(_key_exists(session, remote_id) for remote_id in {*missing[:1], *missing[-1:]})
    short = short or any(_plan_exists(session, remote_id) for remote_id in missing_plans[:1])
    if short:
        words = _("API Gateway's list was not whole, so nothing was concluded from it and nothing changed. It is read again.")
        raise TryLater(words, Kind.UNKNOWN)


def _key_exists(session: Session, remote_id: str) -> bool:
    try:
        session.client.get_key(remote_id)
    except NotFound:
        return False
    return True


def _plan_exists(session: Session, remote_id: str) -> bool:
    try:
        session.client.get_plan(remote_id)
    except NotFound:
        return False
    return True
