"""Reading from GetUsage what was called, a day and gateway key. Reading again changes nothing but the age."""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from uuid import UUID

import structlog

from keys.gateway.errors import GatewayError
from keys.gateway.types import KeyUsage
from keys.models import Gateway, GatewayKey, UsageDay, UsagePlan
from keys.sync.quota import is_wanted, tell_quota
from keys.sync.session import Session
from keys.words import period_bounds

log = structlog.get_logger(__name__)

# GetUsage answers for at most 90 days (AWS knowledge center, "API key usage").
MOST_DAYS = 90
_CHUNK = 500


def read_usage(session: Session) -> None:
    """Read every usage plan's calls since they were last read. One that cannot be read now is read from there the next time."""
    now = session.now()
    told = is_wanted()
    read = []
    for plan in UsagePlan.objects.filter(gateway=session.gateway).exclude(remote_id="").select_related("tier"):
        try:
            usage = session.client.get_usage(plan.remote_id, first_day(plan, now), _day(now))
        except GatewayError as error:
            log.info("usage.postponed", gateway_id=str(session.gateway.pk), reason=str(error.kind))
            continue
        _keep(session, plan, usage, now)
        read.append(plan.pk)
        if told:
            with session.lease.writing():
                tell_quota(plan, now)
    with session.lease.writing():
        UsagePlan.objects.filter(pk__in=read).update(usage_read_at=now)
        Gateway.objects.filter(pk=session.gateway.pk).update(usage_read_at=now)


def first_day(plan: UsagePlan, now: dt.datetime) -> dt.date:
    """From which UTC day to read: the one before the last reading, as figures come late. At first, all since the plan is there, and of the
    running quota period: one that was taken over was called before that."""
    start = _day(plan.usage_read_at or plan.created_at) - dt.timedelta(days=1)
    if plan.usage_read_at is None:
        start = min(start, period_bounds(plan.tier.quota_period, now)[0].date())
    return max(start, _day(now) - dt.timedelta(days=MOST_DAYS - 1))


def _day(moment: dt.datetime) -> dt.date:
    return moment.astimezone(dt.UTC).date()


def _keep(session: Session, plan: UsagePlan, usage: Iterable[KeyUsage], now: dt.datetime) -> None:
    keys = GatewayKey.objects.filter(gateway=session.gateway, usage_plan=plan).values_list("pk", "remote_id", "value_sha256")
    by_id: dict[str, UUID] = {}
    by_value: dict[str, UUID] = {}
    for pk, remote_id, digest in keys.iterator(chunk_size=2000):
        by_id[remote_id] = by_value[digest] = pk
    rows = _rows(usage, by_id, by_value, _day(now), now, has_quota=plan.tier.quota_limit is not None)
    chunk = list(islice(rows, _CHUNK))
    while chunk:
        with session.lease.writing():
            UsageDay.objects.bulk_create(
                chunk,
                update_conflicts=True,
                unique_fields=["gateway_key", "date"],
                update_fields=["used", "remaining", "read_at"],
            )
        if chunk := list(islice(rows, _CHUNK)):
            session.give_way()


def _rows(
    usage: Iterable[KeyUsage], by_id: Mapping[str, UUID], by_value: Mapping[str, UUID], today: dt.date, now: dt.datetime, *, has_quota: bool
) -> Iterator[UsageDay]:
    """One row a key and day with calls, and one for today in any case: it says how fresh the figure is.

    Idle days of the past are left out: they are most of them, and a gateway that lost its figures must not wipe out ours.
    """
    for key in usage:
        pk = by_id.get(key.key_id) if key.key_id else by_value.get(key.value_sha256)
        if pk is None:
            continue
        for day, used, left in key.days:
            if used or day == today:
                yield UsageDay(gateway_key_id=pk, date=day, used=used, remaining=left if has_quota else None, read_at=now)
