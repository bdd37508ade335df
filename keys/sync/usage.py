"""Reading from GetUsage what was called, a day and gateway key. Reading again changes nothing but the age."""

import datetime as dt
from collections.abc import Iterable, Mapping
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
    """Read every usage plan's calls of the running period, and of the days since the last reading."""
    now = session.now()
    told = is_wanted()
    for plan in UsagePlan.objects.filter(gateway=session.gateway).exclude(remote_id="").select_related("tier"):
        start = first_day(plan.tier.quota_period, session.gateway.usage_read_at, now)
        try:
            usage = session.client.get_usage(plan.remote_id, start, now.astimezone(dt.UTC).date())
        except GatewayError as error:
            log.info("usage.postponed", gateway_id=str(session.gateway.pk), reason=str(error.kind))
            continue
        _keep(session, plan, usage, now)
        if told:
            with session.lease.writing():
                tell_quota(plan, now)
    with session.lease.writing():
        Gateway.objects.filter(pk=session.gateway.pk).update(usage_read_at=now)


def first_day(period: str, read_at: dt.datetime | None, now: dt.datetime) -> dt.date:
    """From which UTC day to read: the quota period's first, or the day before the last reading (figures come late) if that is earlier."""
    today = now.astimezone(dt.UTC).date()
    start = period_bounds(period, now)[0].date()
    last_read = (read_at or now).astimezone(dt.UTC).date() - dt.timedelta(days=1)
    return max(min(start, last_read), today - dt.timedelta(days=MOST_DAYS - 1))


def _keep(session: Session, plan: UsagePlan, usage: Iterable[KeyUsage], now: dt.datetime) -> None:
    keys = GatewayKey.objects.filter(gateway=session.gateway, usage_plan=plan).values_list("pk", "remote_id", "value_sha256")
    by_id: dict[str, UUID] = {}
    by_value: dict[str, UUID] = {}
    for pk, remote_id, digest in keys.iterator(chunk_size=2000):
        by_id[remote_id] = by_value[digest] = pk
    today = now.astimezone(dt.UTC).date()
    rows = list(_rows(usage, by_id, by_value, today, now, has_quota=plan.tier.quota_limit is not None))
    for start in range(0, len(rows), _CHUNK):
        with session.lease.writing():
            UsageDay.objects.bulk_create(
                rows[start : start + _CHUNK],
                update_conflicts=True,
                unique_fields=["gateway_key", "date"],
                update_fields=["used", "remaining", "read_at"],
            )


def _rows(
    usage: Iterable[KeyUsage], by_id: Mapping[str, UUID], by_value: Mapping[str, UUID], today: dt.date, now: dt.datetime, *, has_quota: bool
) -> Iterable[UsageDay]:
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
