"""What is wrong, for the head of the staff's first page: ten queries, whatever the number of rows, and one more where a drain is stuck."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Case, Count, F, Min, OuterRef, Subquery, When
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from keys import words
from keys.admin.cells import change_url
from keys.admin.plans import state_of
from keys.drains import stuck_pool_keys
from keys.models import Gateway, GatewayKey, ReconcileRun, UsagePlan
from keys.staff_selectors import gateways_with_facts, pending_plans, plans_to_compare

PATIENCE = timedelta(minutes=1)  # how long a row may be pending before it is worth a look
FULL = 0.9  # share of a gateway's key cap


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """One thing that is wrong, with the page where to mend it. ``kind``: bad or warning."""

    kind: str
    text: str
    url: str


def alarms(now: datetime) -> list[Alarm]:
    """Everything that is wrong, the worst first. Empty: all gateways are in step."""
    found = [
        *_gateways(now),
        *_stuck_drains(),
        *_waiting_for_a_person(now),
        *_late(now),
        *_differing_tiers(now),
        *_canaries(),
        *_stopped_runs(),
    ]
    return sorted(found, key=lambda alarm: alarm.kind)  # "bad" before "warning"


def _gateways(now: datetime) -> Iterator[Alarm]:
    silent_from = now - max(PATIENCE, 3 * timedelta(seconds=settings.HEARTBEAT_SECONDS))
    for gateway in gateways_with_facts(Gateway.objects.order_by("name"), now):
        url = change_url(gateway)
        if gateway.resume_at is not None and gateway.resume_at > now:
            text = _("%(gateway)s: circuit breaker open for %(left)s. %(error)s") % {
                "gateway": gateway,
                "left": words.duration_text(gateway.resume_at - now),
                "error": gateway.last_error,
            }
            yield Alarm(kind="bad", text=text, url=url)
        elif gateway.failures:
            text = ngettext(
                "%(gateway)s: %(count)s failure in a row. %(error)s",
                "%(gateway)s: %(count)s failures in a row. %(error)s",
                gateway.failures,
            ) % {"gateway": gateway, "count": words.number_of(gateway.failures), "error": gateway.last_error}
            yield Alarm(kind="bad", text=text, url=url)
        elif (gateway.last_seen_at or gateway.created_at) < silent_from:
            since = words.duration_text(now - (gateway.last_seen_at or gateway.created_at))
            text = _("%(gateway)s: no answer for %(time)s. Do the workers run?") % {"gateway": gateway, "time": since}
            yield Alarm(kind="bad", text=text, url=url)
        taken = gateway.held + gateway.foreign_keys
        if taken >= FULL * gateway.capacity:
            share = words.used_text(taken, gateway.capacity)
            text = _("%(gateway)s: %(share)s gateway keys. Register another account or Region before it is full.") % {
                "gateway": gateway,
                "share": share,
            }
            yield Alarm(kind="warning", text=text, url=url)


def _stopped_runs() -> Iterator[Alarm]:
    """Gateways whose last comparison would have deleted too much: nothing on them is repaired until somebody looks into it."""
    runs = ReconcileRun.objects.filter(gateway=OuterRef("pk"), dry_run=False).order_by("-started_at")
    last = Gateway.objects.annotate(last_run=Subquery(runs.values("pk")[:1])).values("last_run")
    for run in ReconcileRun.objects.filter(pk__in=last).exclude(stopped="").select_related("gateway").order_by("gateway__name"):
        text = _("%(gateway)s: drift is not repaired. %(reason)s") % {"gateway": run.gateway, "reason": run.stopped}
        yield Alarm(kind="bad", text=text, url=change_url(run))


def _stuck_drains() -> Iterator[Alarm]:
    """Gateways that cannot be drained."""
    stuck = stuck_pool_keys()
    for gateway in Gateway.objects.filter(pk__in=stuck).order_by("name"):
        text = ngettext(
            "%(gateway)s is drained, and %(count)s pool key cannot leave: no other gateway that can take keys now serves its tier.",
            "%(gateway)s is drained, and %(count)s pool keys cannot leave: no other gateway that can take keys now serves their tiers.",
            stuck[gateway.pk],
        ) % {"gateway": gateway, "count": words.number_of(stuck[gateway.pk])}
        yield Alarm(kind="bad", text=text, url=change_url(gateway))


def _waiting_for_a_person(now: datetime) -> Iterator[Alarm]:
    plans = pending_plans().filter(permanent=True).count()
    keys = GatewayKey.objects.pending(now).filter(permanent=True).count()
    if plans:
        text = ngettext("%(count)s usage plan waits for a person.", "%(count)s usage plans wait for a person.", plans) % {
            "count": words.number_of(plans)
        }
        yield Alarm(kind="bad", text=text, url=reverse("admin:keys_gateway_changelist"))
    if keys:
        text = ngettext("%(count)s gateway key waits for a person.", "%(count)s gateway keys wait for a person.", keys) % {
            "count": words.number_of(keys)
        }
        yield Alarm(kind="bad", text=text, url=_keys_url("person"))


def _late(now: datetime) -> Iterator[Alarm]:
    late = now - PATIENCE
    keys = GatewayKey.objects.pending(late).annotate(
        since=Case(When(synced_revision__lt=F("revision"), then="changed_at"), default="ends_at")
    )
    plans = pending_plans().annotate(since=F("changed_at"))
    found = {"count": Count("pk"), "oldest": Min("since")}
    late_keys = keys.filter(permanent=False, since__lt=late).aggregate(**found)
    late_plans = plans.filter(permanent=False, since__lt=late).aggregate(**found)
    if late_keys["count"]:
        text = ngettext(
            "%(count)s gateway key pending for more than a minute, for %(age)s.",
            "%(count)s gateway keys pending for more than a minute, the oldest for %(age)s.",
            late_keys["count"],
        ) % {"count": words.number_of(late_keys["count"]), "age": words.duration_text(now - late_keys["oldest"])}
        yield Alarm(kind="warning", text=text, url=_keys_url("pending"))
    if late_plans["count"]:
        text = ngettext(
            "%(count)s usage plan pending for more than a minute, for %(age)s.",
            "%(count)s usage plans pending for more than a minute, the oldest for %(age)s.",
            late_plans["count"],
        ) % {"count": words.number_of(late_plans["count"]), "age": words.duration_text(now - late_plans["oldest"])}
        yield Alarm(kind="warning", text=text, url=reverse("admin:keys_gateway_changelist"))


def _differing_tiers(now: datetime) -> Iterator[Alarm]:
    for plan in plans_to_compare():
        state = state_of(plan, now)
        if state.kind == "bad" and state.differences:
            text = _("%(plan)s is provisioned otherwise than it is sold. %(differences)s") % {
                "plan": plan,
                "differences": " ".join(state.differences),
            }
            yield Alarm(kind="bad", text=text, url=change_url(plan.tier))


def _canaries() -> Iterator[Alarm]:
    """Usage plans whose canary was not answered 200: what their tenants call may not be answered either."""
    plans = UsagePlan.objects.filter(canary_failures__gt=0).select_related("tier", "gateway").order_by("gateway__name", "tier__name")
    for plan in plans:
        text = _("%(plan)s: calls are not answered. %(error)s") % {"plan": plan, "error": plan.canary_error}
        yield Alarm(kind="bad", text=text, url=change_url(plan.gateway))


def _keys_url(state: str) -> str:
    return f"{reverse('admin:keys_gatewaykey_changelist')}?state={state}"
