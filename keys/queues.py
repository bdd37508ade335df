"""What waits at gateways, and how long that will take: for pages, the admin and the REST API. Nothing here writes."""

import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from django.db.models import Count, F, Q, Sum
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from keys import words
from keys.estimates import Queue, calls_for, seconds_for
from keys.models import ApiKey, CallCount, Gateway, GatewayKey, Priority, Status, UsagePlan
from keys.stock import HAS_ROOM, with_spares


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """What waits at one gateway. ``calls``: that it takes; ``seconds``: about how long, None while the gateway is left alone after
    failures."""

    queue: Queue
    calls: int
    seconds: float | None

    @property
    def text(self) -> str:
        """``3,120 keys, about 40 s``."""
        if not self.queue:
            return _("Nothing waits.")
        parts = [words.keys_text(self.queue.keys)] if self.queue.keys else []
        if self.queue.plans:
            parts.append(
                ngettext("%(count)s usage plan", "%(count)s usage plans", self.queue.plans) % {"count": words.number_of(self.queue.plans)}
            )
        waits = _("not before API Gateway answers again") if self.seconds is None else about_text(self.seconds)
        return ", ".join([*parts, waits])


def backlogs_of(gateways: Collection[Gateway], now: datetime, most: Priority = Priority.REPAIR) -> dict[uuid.UUID, Backlog]:
    """What waits at each gateway that is as urgent as ``most`` or more, in a query for each kind. Rows that wait for a person are not in
    it; spares that are wanted, have no row yet and find room are."""
    found: dict[uuid.UUID, Counter[str]] = {gateway.pk: Counter() for gateway in gateways}
    _count_keys(found, now, most)
    _count_plans(found, most)
    if most >= Priority.SPARE:
        _count_spares(found)
    if most >= Priority.NAME:
        unnamed = GatewayKey.objects.filter(gateway__in=found, name="", removed_at=None).exclude(remote_id="").order_by()
        for gateway_id, names in unnamed.values_list("gateway").annotate(Count("pk")):
            found[gateway_id]["names"] = names
    return {gateway.pk: _backlog(gateway, Queue(**found[gateway.pk]), now) for gateway in gateways}


def _count_keys(found: Mapping[uuid.UUID, Counter[str]], now: datetime, most: Priority) -> None:
    waiting, ended = Q(synced_revision__lt=F("revision")), Q(ends_at__isnull=False, ends_at__lte=now)
    there = Q(synced_revision__gt=0) & ~Q(remote_id="")
    keys = GatewayKey.objects.filter(waiting | ended, gateway__in=found, removed_at=None, priority__lte=most)
    columns = {
        "removals": Count("pk", filter=ended),
        "switches": Count("pk", filter=there & ~ended),
        "makes": Count("pk", filter=~there & ~ended),
        "makes_of": Count("usage_plan", filter=~there & ~ended, distinct=True),
    }
    rows = keys.filter(Q(permanent=False) | ended).order_by().annotate(of=F("gateway")).values_list("of").annotate(**columns)
    for gateway_id, *counts in rows:
        found[gateway_id].update(dict(zip(columns, counts, strict=True)))


def _count_plans(found: Mapping[uuid.UUID, Counter[str]], most: Priority) -> None:
    plans = UsagePlan.objects.filter(synced_revision__lt=F("revision"), gateway__in=found, permanent=False).order_by()
    rows = plans.values_list("gateway").annotate(made=Count("pk", filter=Q(remote_id="")), changed=Count("pk", filter=~Q(remote_id="")))
    for gateway_id, made, changed in rows:
        found[gateway_id]["plans_to_make"] = made
        found[gateway_id]["plans_to_change"] = changed if most >= Priority.LIMITS else 0


def _count_spares(found: Mapping[uuid.UUID, Counter[str]]) -> None:
    plans = UsagePlan.objects.filter(HAS_ROOM, gateway__in=found, gateway__accepts_keys=True)
    lacking = with_spares(plans).filter(have__lt=F("wanted"))
    for gateway_id, have, wanted in lacking.values_list("gateway_id", "have", "wanted"):
        found[gateway_id]["makes"] += wanted - have
        found[gateway_id]["makes_of"] += 1


def ready_in(api_keys: Iterable[ApiKey], now: datetime) -> dict[uuid.UUID, int]:
    """About how many seconds it takes until the current credential of each API key is answered, rounded up; by API key id.

    Left out: those of which it is answered or switched off, and those of which nobody can tell, as their gateway is failing or their row
    waits for a person. No query where all are answered; else four, whatever their number. Select ``gateway_key`` and ``tenant`` with the
    rows.
    """
    waiting = {
        key.gateway_key_id: (key.gateway_key.gateway_id, key.gateway_key.in_service_at)
        for key in api_keys
        if key.status(now) is Status.PREPARING
    }
    seconds = seconds_until_ready(waiting, now)
    return {key.pk: seconds[key.gateway_key_id] for key in api_keys if key.gateway_key_id in seconds}


def seconds_until_ready(waiting: dict[uuid.UUID, tuple[uuid.UUID, datetime | None]], now: datetime) -> dict[uuid.UUID, int]:
    """``ready_in`` by gateway key: of each, its gateway and when it is in service, if that is known."""
    if not waiting:
        return {}
    found = {pk: ceil(max(0.0, (at - now).total_seconds())) for pk, (_gateway_id, at) in waiting.items() if at is not None}
    rest = {pk: gateway_id for pk, (gateway_id, at) in waiting.items() if at is None}
    rows = Gateway.objects.filter(pk__in=set(rest.values()))
    # Of a gateway that is left alone nobody can tell, so nothing is counted there: people look often at what does not get ready.
    gateways = {gateway.pk: gateway for gateway in rows if not _is_left_alone(gateway, now)} if rest else {}
    rest = {pk: gateway_id for pk, gateway_id in rest.items() if gateway_id in gateways}
    if not rest:
        return found
    backlogs = backlogs_of(list(gateways.values()), now, Priority.PURCHASE)
    failing = set(GatewayKey.objects.filter(pk__in=list(rest)).exclude(last_error="").values_list("pk", flat=True))
    for pk, gateway_id in rest.items():
        takes = backlogs[gateway_id].seconds
        if takes is not None and pk not in failing:
            found[pk] = ceil(takes) + gateways[gateway_id].propagation_seconds
    return found


@dataclass(frozen=True, kw_only=True)
class CallsMade:
    """Calls of one operation: all of them, those answered 429, and those that failed otherwise."""

    operation: str
    calls: int
    throttled: int
    failed: int

    @property
    def text(self) -> str:
        """``GetApiKeys: 1,240, of which 3 answered 429``."""
        text = f"{self.operation}: {words.number_of(self.calls)}"
        if self.throttled:
            text += ", " + _("of which %(count)s answered 429") % {"count": words.number_of(self.throttled)}
        if self.failed:
            text += ", " + _("%(count)s failed") % {"count": words.number_of(self.failed)}
        return text


def calls_since(gateway: Gateway, since: datetime) -> list[CallsMade]:
    """Calls at a gateway in whole hours from the one of ``since``, by operation, the most frequent first. In one query."""
    rows = CallCount.objects.filter(gateway=gateway, hour__gte=since.replace(minute=0, second=0, microsecond=0)).order_by()
    sums = rows.values_list("operation").annotate(Sum("calls"), Sum("throttled"), Sum("failed"))
    found = [CallsMade(operation=name, calls=calls, throttled=throttled, failed=failed) for name, calls, throttled, failed in sums]
    return sorted(found, key=lambda each: (-each.calls, each.operation))


def about_text(seconds: float) -> str:
    """``about 40 s``, ``about 7 min``: rounded up, for who waits is not to wait longer."""
    rounded = max(5, ceil(seconds / 5) * 5) if seconds <= 60 else ceil(seconds / 60) * 60
    return _("about %(time)s") % {"time": words.duration_text(timedelta(seconds=rounded))}


def _backlog(gateway: Gateway, queue: Queue, now: datetime) -> Backlog:
    calls = calls_for(queue, uses_imports=gateway.uses_imports)
    seconds = None if _is_left_alone(gateway, now) else seconds_for(calls, gateway.pace)
    return Backlog(queue=queue, calls=sum(calls.values()), seconds=seconds)


def _is_left_alone(gateway: Gateway, now: datetime) -> bool:
    """Whether its circuit breaker is open."""
    return gateway.resume_at is not None and gateway.resume_at > now
