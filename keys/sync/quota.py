"""Telling webhooks that an API key used 80 % or all of its quota: once each in a quota period."""

from datetime import datetime

from django.db.models import Sum

from keys import selectors
from keys.models import ApiKey, UsageDay, UsagePlan
from keys.public import key_data, moment
from keys.words import period_bounds
from tenants.models import EventType
from tenants.webhooks.emit import Happening, emit_each, tenants_that_want

THRESHOLDS = [(EventType.QUOTA_80, 80), (EventType.QUOTA_100, 100)]
_TYPES = [type_ for type_, _share in THRESHOLDS]


def is_wanted() -> bool:
    """Whether any tenant wants to be told of its quota."""
    return tenants_that_want(*_TYPES).exists()


def tell_quota(plan: UsagePlan, now: datetime) -> None:
    """Emit ``quota.80`` and ``quota.100`` for the API keys of one usage plan. The number of queries does not grow with the keys.

    Call it inside a transaction, after usage was read. What was told is not told again until the next period: ``once`` says so.
    """
    limit = plan.tier.quota_limit
    if limit is None:
        return
    starts_at, resets_at = period_bounds(plan.tier.quota_period, now)
    days = UsageDay.objects.filter(gateway_key__usage_plan=plan, date__gte=starts_at.date(), date__lt=resets_at.date())
    sums = days.order_by().values_list("gateway_key").annotate(total=Sum("used"))
    used = dict(sums.filter(total__gte=_needed(limit, THRESHOLDS[0][1])))
    if not used:
        return
    # Ids of the heavy users as a query of its own again: there may be thousands of them.
    heavy = days.order_by().values("gateway_key").annotate(total=Sum("used")).filter(total__gte=_needed(limit, THRESHOLDS[0][1]))
    rows = ApiKey.objects.live().filter(gateway_key__in=heavy.values("gateway_key"))
    rows = rows.filter(tenant__in=tenants_that_want(*_TYPES))
    api_keys = list(rows.select_related("tier", "gateway_key", "tenant").order_by("created_at", "pk"))
    stages = selectors.endpoints_of(api_keys) if api_keys else {}
    renewing = selectors.renewing_among(api_keys, now)
    period = {"limit": limit, "period": plan.tier.quota_period, "starts_at": moment(starts_at), "resets_at": moment(resets_at)}
    emit_each(
        [
            Happening(
                tenant_id=row.tenant_id,
                type=type_,
                subject=str(row.pk),
                data={
                    **key_data(row, stages.get(row.pk), now, renewing=row.pk in renewing),
                    "quota": {"used": int(used[row.gateway_key_id]), **period},
                },
                once=f"{type_}:{row.pk}:{starts_at.date()}",
            )
            for row in api_keys
            for type_, share in THRESHOLDS
            if used.get(row.gateway_key_id, 0) >= _needed(limit, share)
        ]
    )


def _needed(limit: int, share: int) -> int:
    """How many requests are ``share`` per cent of the quota, rounded up."""
    return -(-limit * share // 100)
