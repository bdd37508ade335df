"""Usage plans: made once, found again by their names, kept equal to their tiers."""

from collections.abc import Sequence

from django.db.models import QuerySet

from keys.gateway.errors import GatewayError, NotFound
from keys.gateway.patches import plan_patches
from keys.gateway.types import PlanSpec, RemotePlan
from keys.models import UsagePlan
from keys.sync import due, outcome
from keys.sync.heartbeat import see_plans
from keys.sync.pacer import UPDATE_SECONDS
from keys.sync.session import Session

# Made in one go, before what is more urgent is looked for again.
BATCH = 10
# Shorter waits for a turn are slept through; longer ones are left to a later converge, so that no worker is held up by them.
PATIENCE_SECONDS = 0.5


def desired_spec(plan: UsagePlan) -> PlanSpec:
    """What the plan shall say: its tier's limits, and those of the tier's stages that are on its gateway."""
    tier = plan.tier
    stages = frozenset(stage.remote_key for stage in tier.stages.all() if stage.gateway_id == plan.gateway_id)
    return PlanSpec(
        name=plan.remote_name,
        rate=tier.throttle_rate,
        burst=tier.throttle_burst,
        quota_limit=tier.quota_limit,
        quota_period=tier.quota_period,
        stages=stages,
    )


def make_plans(session: Session) -> bool:
    """Make the usage plans that do not exist yet; whether there was anything to do."""
    return _settle(session, list(_due(session, exists=False)[:BATCH]))


def change_plans(session: Session) -> bool:
    """Bring existing usage plans into step with their tiers; whether there was anything to do."""
    return _settle(session, list(_due(session, exists=True)))


def _due(session: Session, *, exists: bool) -> QuerySet[UsagePlan]:
    rows = due.plans(session.gateway.pk, session.now()).select_related("tier").prefetch_related("tier__stages")
    return rows.exclude(remote_id="") if exists else rows.filter(remote_id="")


def _settle(session: Session, plans: Sequence[UsagePlan]) -> bool:
    if not plans:
        return False
    try:
        listed = see_plans(session)
    except GatewayError as error:
        for plan in plans:
            outcome.plan_failed(session, plan, error)
        return True
    waiting = 0
    for plan in plans:
        try:
            waiting += _settle_one(session, plan, listed, waiting)
        except NotFound:
            outcome.plan_missing(session, plan)
        except GatewayError as error:
            outcome.plan_failed(session, plan, error)
    return True


def _settle_one(session: Session, plan: UsagePlan, listed: Sequence[RemotePlan], waiting: int) -> bool:
    """Bring one plan into step; True when it has to wait for its turn behind ``waiting`` others."""
    desired = desired_spec(plan)
    # An earlier CreateUsagePlan may have worked without our hearing of it: the name, which no other plan has, tells.
    remote = next((each for each in listed if each.id == plan.remote_id or (not plan.remote_id and each.spec.name == desired.name)), None)
    if remote is None:
        if plan.remote_id:
            raise NotFound(plan.remote_id)
        outcome.plan_confirmed(session, plan, session.client.create_plan(desired))
        return False
    patches = plan_patches(remote.spec, desired)
    if not patches:
        outcome.plan_confirmed(session, plan, remote)
        return False
    outcome.plan_found(session, plan, remote)
    seconds = session.pacer.seconds_until("UpdateUsagePlan") + waiting * UPDATE_SECONDS
    if seconds > PATIENCE_SECONDS:
        outcome.plan_waits(session, plan, seconds)
        return True
    outcome.plan_confirmed(session, plan, session.client.update_plan(remote.id, patches))
    return False
