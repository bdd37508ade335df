"""A gateway key of our own in each usage plan that is in use, called as a tenant would call it: what a list shows as enabled and attached
may still not be answered.

Making and ending canaries is the lease holder's work, like spares; calling them needs no lease, as it is no call of the management API.
"""

import random
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from keys import values
from keys.models import GatewayKey, KeyRole, Priority, QuotaPeriod, Stage, Tier, UsagePlan
from keys.stock import make
from keys.sync import dataplane, due
from keys.sync.session import Session
from tenants.clock import database_now

log = structlog.get_logger(__name__)

# A plan whose canary failed is looked after sooner, so that an alarm ends soon after its cause.
FAILED_SECONDS = 30
# Plans called in one turn, and how many at a time; and for how long calls of one plan are begun. So a turn whose canaries do not answer
# takes about a minute, and the longest remains below the limit after which Celery would break it off.
MOST = 100
AT_ONCE = 16
CHECK_SECONDS = 25.0
TRIES = 2
# Each check may take TRIES calls of each stage; altogether they use up half of a canary's own quota at most.
QUOTA_SHARE = 2
PERIOD_SECONDS = {QuotaPeriod.DAY: 86_400, QuotaPeriod.WEEK: 7 * 86_400, QuotaPeriod.MONTH: 30 * 86_400}
LONGEST_ERROR = 300
NEVER_CALLED: dict[str, Any] = {"canary_checked_at": None, "canary_status": None, "canary_failures": 0, "canary_error": ""}


def keep_canaries(session: Session) -> bool:
    """Make the canaries that lack, end those that are alone in their plans; whether there were any."""
    lacking = list(due.without_canary(session.gateway.pk))
    lone = list(due.lone_canaries(session.gateway.pk).values_list("pk", flat=True))
    if not lacking and not lone:
        return False
    with session.lease.writing():  # a holder that was paused makes no second one
        made = [key for plan in lacking for key in make([plan], 1, KeyRole.CANARY, Priority.SPARE)]
        # Nobody calls them any more, so what the last call found would stand for ever.
        UsagePlan.objects.filter(gateway_keys__in=lone).update(**NEVER_CALLED)
        ended = GatewayKey.objects.filter(pk__in=lone).update(ends_at=Now(), priority=Priority.SPARE)
    return bool(made or ended)


def call_canaries() -> int:
    """Call the canaries whose time has come, and write down how it went; how many were called.

    Race: two workers at once. Each plan is claimed by compare-and-set on the time of its last call, so one of them calls it.
    """
    calls = _claimed(database_now())
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="canary") as pool:
        answers = list(pool.map(_answer_of, calls))
    for call, answer in zip(calls, answers, strict=True):
        _note(call, answer)
    return len(calls)


def seconds_between(tier: Tier, *, stages: int, failing: bool) -> float:
    """How long a plan's canary is left alone: as the setting says, sooner after a failure, never so soon that its own throttle refuses it,
    or that it uses up its own quota, which counts the calls of all ``stages``."""
    wanted = min(settings.CANARY_SECONDS, FAILED_SECONDS) if failing else settings.CANARY_SECONDS
    pause = max(float(wanted), seconds_a_token(tier))
    if tier.quota_limit is None:
        return pause
    calls = TRIES * max(1, stages)
    return max(pause, QUOTA_SHARE * calls * PERIOD_SECONDS[QuotaPeriod(tier.quota_period)] / tier.quota_limit)


def seconds_a_token(tier: Tier) -> float:
    """How long a key of the tier that has used up its burst waits for one more call."""
    return float(1 / tier.throttle_rate)


@dataclass(frozen=True, kw_only=True)
class _Call:
    """One canary to be called. The value stands in no representation of it: it is decrypted right before the call."""

    plan: UsagePlan
    claimed_at: datetime
    value_encrypted: str
    urls: Sequence[str]


def _claimed(now: datetime) -> list[_Call]:
    canaries = GatewayKey.objects.filter(role=KeyRole.CANARY, ends_at=None, enabled=True, in_service_at__lte=now)
    rows = list(canaries.select_related("usage_plan__tier", "usage_plan__gateway").order_by("usage_plan__canary_checked_at", "pk"))
    urls = _urls([row.usage_plan for row in rows])
    ripe = [row for row in rows if urls[row.usage_plan_id] and _is_ripe(row.usage_plan, len(urls[row.usage_plan_id]), now)]
    calls = []
    for row in ripe[:MOST]:
        plan = row.usage_plan
        free = UsagePlan.objects.filter(pk=plan.pk, canary_checked_at=plan.canary_checked_at)
        if free.update(canary_checked_at=now):
            calls.append(_Call(plan=plan, claimed_at=now, value_encrypted=row.value_encrypted, urls=urls[plan.pk]))
    return calls


def _is_ripe(plan: UsagePlan, stages: int, now: datetime) -> bool:
    last = plan.canary_checked_at
    pause = timedelta(seconds=seconds_between(plan.tier, stages=stages, failing=plan.canary_failures > 0))
    return last is None or last + pause <= now


def _urls(plans: Sequence[UsagePlan]) -> dict[uuid.UUID, list[str]]:
    """What tenants of each plan call: all stages that its tier serves on its gateway."""
    stages: dict[tuple[uuid.UUID, uuid.UUID], list[str]] = {}
    for tier_id, stage in _served({plan.tier_id for plan in plans}):
        stages.setdefault((tier_id, stage.gateway_id), []).append(stage.test_url)
    return {plan.pk: stages.get((plan.tier_id, plan.gateway_id), []) for plan in plans}


def _served(tier_ids: set[uuid.UUID]) -> list[tuple[uuid.UUID, Stage]]:
    links = Tier.stages.through.objects.filter(tier__in=tier_ids).select_related("stage").order_by("stage__rest_api_id", "stage__name")
    return [(link.tier_id, link.stage) for link in links]


def _answer_of(call: _Call) -> dataplane.Answer:
    """The first answer that is no 200, after a second try; else the last 200. Uses no database: it runs in a thread of its own.

    All calls are of one key, which may have no more than one token: between two of them it waits for the next. Calls for which no time is
    left then are not made, so stages are called in any order, and the one that failed the last time first.
    """
    try:
        value = values.decrypt(call.value_encrypted)
    except values.UnreadableValue:
        return dataplane.Answer(None, _("The canary's value cannot be read: look at ENCRYPTION_KEYS."))
    pause, until = seconds_a_token(call.plan.tier), time.monotonic() + CHECK_SECONDS
    urls = sorted(random.sample(call.urls, len(call.urls)), key=lambda url: not call.plan.canary_error.startswith(url))
    answer = None
    for url in urls:
        for _try in range(TRIES):
            if answer is not None:
                if time.monotonic() + pause > until:
                    return answer
                time.sleep(pause)
            answer = dataplane.call(url, value)
            if not answer.error:
                break
        if answer is not None and answer.error:
            break
    return answer or dataplane.Answer(None, "")


def _note(call: _Call, answer: dataplane.Answer) -> None:
    plan = call.plan
    failures = plan.canary_failures + 1 if answer.error else 0
    ours = UsagePlan.objects.filter(pk=plan.pk, canary_checked_at=call.claimed_at)
    ours.update(canary_status=answer.status, canary_failures=failures, canary_error=answer.error[:LONGEST_ERROR])
    about = {"usage_plan_id": str(plan.pk), "tier": plan.tier.slug, "gateway": plan.gateway.name}
    if answer.error:
        log.error("canary.failed", **about, status=answer.status, failures=failures, reason=answer.error)
    elif plan.canary_failures:
        log.warning("canary.recovered", **about, failures=plan.canary_failures)
