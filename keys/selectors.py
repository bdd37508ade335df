"""Reads that pages, the admin and the REST API share. Nothing here writes, and nothing calls AWS."""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from django.db.models import Count, Exists, F, Min, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import TruncDate
from django.shortcuts import get_object_or_404
from django.utils import timezone

from keys import words
from keys.models import (
    ApiKey,
    ApiKeyQuerySet,
    Credential,
    Gateway,
    GatewayKey,
    KeyRole,
    Stage,
    Status,
    Tier,
    UsageDay,
    UsagePlan,
)
from keys.rates import BY_OPERATION
from tenants.models import AuditEvent, Tenant

# --- For tenants ----------------------------------------------------------------------------------------------------------------


def tiers_for_sale() -> list[Tier]:
    """Open to buyers, in the order of the price page."""
    return list(Tier.objects.for_sale().select_related("pool"))


def held_tiers(tenant: Tenant) -> set[uuid.UUID]:
    """Ids of the tiers of which the tenant has a live API key."""
    return set(ApiKey.objects.of(tenant).live().values_list("tier_id", flat=True))


def api_keys_of(tenant: Tenant, query: str = "") -> ApiKeyQuerySet:
    """The tenant's API keys, newest first, revoked ones too; ``query`` looks in name, description and last four."""
    api_keys = ApiKey.objects.of(tenant).select_related("tier", "gateway_key", "tenant").order_by("-created_at", "-pk")
    return api_keys.filter(holds(query)) if query else api_keys


def holds(query: str) -> Q:
    """API keys with ``query`` in their name or description, or that end in it."""
    return Q(name__icontains=query) | Q(description__icontains=query) | Q(gateway_key__last_four=query.removeprefix("..."))


def api_keys_in_pages(tenant: Tenant, *, revoked: bool = False, size: int = 1000) -> Iterator[list[ApiKey]]:
    """All of the tenant's API keys, the oldest first, ``size`` at a time: any number of them in little memory, and no long query.

    Keys that are bought meanwhile come at the end.
    """
    rows = ApiKey.objects.of(tenant).select_related("tier", "gateway_key", "tenant").order_by("created_at", "pk")
    if not revoked:
        rows = rows.live()
    page = list(rows[:size])
    while page:
        yield page
        last = page[-1]
        later = Q(created_at__gt=last.created_at) | Q(created_at=last.created_at, pk__gt=last.pk)
        page = list(rows.filter(later, created_at__gte=last.created_at)[:size])


def bought_tokens(tenant: Tenant, tokens: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """Those of ``tokens`` under which the tenant has bought an API key."""
    mine = ApiKey.objects.of(tenant)
    chunks = (tokens[start : start + 1000] for start in range(0, len(tokens), 1000))
    return {token for chunk in chunks for token in mine.filter(purchase_token__in=chunk).values_list("purchase_token", flat=True)}


def api_key_of(tenant: Tenant, pk: uuid.UUID) -> ApiKey:
    """One API key of the tenant. Raises Http404 for another tenant's exactly as for a missing one."""
    return get_object_or_404(ApiKey.objects.of(tenant).select_related("tier", "gateway_key", "tenant"), pk=pk)


def endpoint_of(api_key: ApiKey) -> Stage | None:
    """Where calls with this API key go: the stage its tier serves on the gateway it stands on."""
    return Stage.objects.filter(tiers=api_key.tier_id, gateway=api_key.gateway_key.gateway_id).order_by("rest_api_id", "name").first()


def endpoints_of(api_keys: Iterable[ApiKey]) -> dict[uuid.UUID, Stage]:
    """``endpoint_of`` for many, in one query: by API key id."""
    api_keys = list(api_keys)
    served: dict[tuple[uuid.UUID, uuid.UUID], Stage] = {}
    rows = Stage.objects.filter(tiers__in={key.tier_id for key in api_keys}).order_by("-rest_api_id", "-name").annotate(of_tier=F("tiers"))
    for stage in rows:
        served[(stage.of_tier, stage.gateway_id)] = stage
    places = {key.pk: served.get((key.tier_id, key.gateway_key.gateway_id)) for key in api_keys}
    return {pk: stage for pk, stage in places.items() if stage is not None}


def urls_by_gateway(tier_id: uuid.UUID) -> dict[uuid.UUID, str]:
    """Where the tier's tenants call, by gateway id: as ``endpoint_of``."""
    stages = Stage.objects.filter(tiers=tier_id).order_by("-rest_api_id", "-name")
    return {stage.gateway_id: stage.invoke_url for stage in stages}


def other_credentials(api_key: ApiKey, now: datetime) -> list[GatewayKey]:
    """Gateway keys whose value still works for this API key beside the current one, soonest end first (``ends_at`` says when)."""
    rows = api_key.credentials.filter(ends_at__gt=now).select_related("gateway_key").order_by("ends_at")
    return [row.gateway_key for row in rows]


def renewing(now: datetime) -> Exists:
    """For a query of API keys: whether a credential before the current one is answered. Where the current one is not in service yet, the
    API key works by that one: it was rotated, or moved by staff, and its new credential is still being made."""
    return Exists(_answered(now).filter(api_key=OuterRef("pk")))


def renewing_among(api_keys: Iterable[ApiKey], now: datetime) -> set[uuid.UUID]:
    """Ids of those that work by a credential before the current one, which is being made. No query where none is being prepared. Select
    ``gateway_key`` and ``tenant`` with the rows."""
    return served_before([each.pk for each in api_keys if each.status(now) is Status.PREPARING], now)


def served_before(preparing: Sequence[uuid.UUID], now: datetime) -> set[uuid.UUID]:
    """``renewing_among`` for ids of API keys whose current credential is not in service."""
    return set(_answered(now).filter(api_key__in=preparing).values_list("api_key", flat=True)) if preparing else set()


def _answered(now: datetime) -> QuerySet[Credential]:
    """Credentials in their grace period whose gateway key is in service."""
    return Credential.objects.filter(ends_at__gt=now, gateway_key__in_service_at__lte=now)


@dataclass(frozen=True, kw_only=True)
class PeriodUsage:
    """Use of the quota in the period that is running, as API Gateway last told; ``read_at`` None: not read yet."""

    used: int
    limit: int | None
    remaining: int | None
    starts_at: datetime
    resets_at: datetime
    read_at: datetime | None

    @property
    def share(self) -> float | None:
        """0.0 to 1.0, or None without a quota."""
        return min(1.0, self.used / self.limit) if self.limit else None


def usage_of_period(api_key: ApiKey, now: datetime) -> PeriodUsage:
    """Use of the quota that this API key's credential draws on."""
    return usages_of_period([api_key], now)[api_key.pk]


def usages_of_period(api_keys: Iterable[ApiKey], now: datetime) -> dict[uuid.UUID, PeriodUsage]:
    """``usage_of_period`` for many, in one query: by API key id. A tier without a quota is shown by the month."""
    api_keys = list(api_keys)
    bounds = {key.pk: words.period_bounds(key.tier.quota_period, now) for key in api_keys}
    first = min((start.date() for start, _end in bounds.values()), default=now.date())
    days: dict[uuid.UUID, list[UsageDay]] = {}
    for day in UsageDay.objects.filter(gateway_key__in={key.gateway_key_id for key in api_keys}, date__gte=first):
        days.setdefault(day.gateway_key_id, []).append(day)
    return {key.pk: _period_usage(key, days.get(key.gateway_key_id, []), *bounds[key.pk]) for key in api_keys}


def _period_usage(api_key: ApiKey, days: list[UsageDay], starts_at: datetime, resets_at: datetime) -> PeriodUsage:
    inside = [day for day in days if starts_at.date() <= day.date < resets_at.date()]
    used = sum(day.used for day in inside)
    limit = api_key.tier.quota_limit
    latest = max(inside, key=lambda day: day.date, default=None)
    remaining = latest.remaining if latest is not None and latest.remaining is not None else None
    if remaining is None and limit is not None:
        remaining = max(0, limit - used)
    read_at = max((day.read_at for day in inside), default=None)
    return PeriodUsage(used=used, limit=limit, remaining=remaining, starts_at=starts_at, resets_at=resets_at, read_at=read_at)


def usage_days(api_key: ApiKey, now: datetime, days: int = 14) -> list[tuple[date, int]]:
    """Requests a UTC day, oldest first, of every credential the API key has had; days without a figure are 0."""
    today = now.astimezone(UTC).date()
    return usage_between(api_key, today - timedelta(days=days - 1), today)


def usage_between(api_key: ApiKey, first: date, last: date) -> list[tuple[date, int]]:
    """``usage_days`` for any days, ``first`` and ``last`` among them."""
    used = dict(_days_of([api_key.pk], first, last).values_list("date").annotate(Sum("used")))
    return [(day, int(used.get(day, 0))) for day in (first + timedelta(days=offset) for offset in range((last - first).days + 1))]


def usage_totals(api_keys: Iterable[ApiKey], first: date, last: date) -> dict[uuid.UUID, int]:
    """The sum of ``usage_between`` for many, in one query: by API key id."""
    ids = [api_key.pk for api_key in api_keys]
    used = dict(_days_of(ids, first, last).values_list("gateway_key__credentials__api_key").annotate(Sum("used")))
    return {pk: int(used.get(pk, 0)) for pk in ids}


def _days_of(api_keys: Sequence[uuid.UUID], first: date, last: date) -> QuerySet[UsageDay]:
    """Usage of the gateway keys that these API keys stood on, on the days when they did.

    What came before and after is not theirs: a value that tenants share was called by others, and is after they left it.
    """
    began = TruncDate("gateway_key__credentials__created_at", tzinfo=UTC)
    ended = TruncDate("gateway_key__credentials__ends_at", tzinfo=UTC)
    rows = UsageDay.objects.filter(gateway_key__credentials__api_key__in=api_keys, date__range=(first, last)).order_by()
    return rows.alias(began=began, ended=ended).filter(Q(ended=None) | Q(date__lte=F("ended")), date__gte=F("began"))


def history_of(api_key: ApiKey, limit: int = 50) -> list[AuditEvent]:
    """What was done with an API key, newest first, each with its actor."""
    events = AuditEvent.objects.filter(target_type="apikey", target_id=str(api_key.pk)).select_related("actor")
    return list(events.order_by("-created_at")[:limit])


def connect_sources() -> list[str]:
    """Origins of the registered stages: what the console may call."""
    return sorted({stage.origin for stage in Stage.objects.only("invoke_url")})


# --- For staff ------------------------------------------------------------------------------------------------------------------


def own_and_shared(tenant: Tenant) -> tuple[int, int]:
    """Live API keys of a tenant: those whose calls can be cut off for it alone, and those that share a value with other tenants."""
    live = ApiKey.objects.of(tenant).live()
    counts = live.order_by().aggregate(own=Count("pk", filter=Q(slot=None)), shared=Count("pk", filter=Q(slot__isnull=False)))
    return counts["own"], counts["shared"]


def pending_of(gateway: Gateway, now: datetime) -> tuple[int, int]:
    """How many usage plans and gateway keys are not yet what they shall be."""
    plans = UsagePlan.objects.filter(gateway=gateway, synced_revision__lt=F("revision")).count()
    return plans, GatewayKey.objects.filter(gateway=gateway).pending(now).count()


def pool_loads(tier: Tier) -> list[tuple[GatewayKey, int]]:
    """The live pool keys of a tier with the number of API keys on each, by position."""
    keys = GatewayKey.objects.filter(usage_plan__tier=tier, role=KeyRole.POOL, ends_at=None).order_by("position")
    loads = dict(
        ApiKey.objects.filter(gateway_key__in=keys, slot__isnull=False).order_by().values_list("gateway_key").annotate(Count("pk"))
    )
    return [(key, loads.get(key.pk, 0)) for key in keys]


def former_holders(gateway_key: GatewayKey) -> int:
    """API keys that were revoked while they stood on this pool key: their tenants may still know its value."""
    return ApiKey.objects.filter(credentials__gateway_key=gateway_key, revoked_at__isnull=False).distinct().count()


@dataclass(frozen=True, kw_only=True)
class PlanPreview:
    """What a change of a tier's limits will do on one gateway."""

    gateway: Gateway
    gateway_keys: int
    seconds: int


def preview_limits(tier: Tier, now: datetime) -> list[PlanPreview]:
    """For each gateway of the tier: gateway keys that a change of limits concerns, and about how long it will take. Three queries."""
    plans = list(tier.usage_plans.select_related("gateway").order_by("created_at", "pk"))
    pending = UsagePlan.objects.filter(synced_revision__lt=F("revision"), gateway__in=[plan.gateway_id for plan in plans])
    waiting = dict(pending.exclude(tier=tier).order_by().values_list("gateway").annotate(Count("pk")))
    held = GatewayKey.objects.filter(usage_plan__in=plans, removed_at=None)
    keys = dict(held.order_by().values_list("usage_plan").annotate(Count("pk")))
    changes_a_second, _at_once = BY_OPERATION["UpdateUsagePlan"]
    return [
        PlanPreview(
            gateway=plan.gateway,
            gateway_keys=keys.get(plan.pk, 0),
            seconds=round((waiting.get(plan.gateway_id, 0) + 1) / changes_a_second),
        )
        for plan in plans
    ]


def oldest_pending_at() -> datetime | None:
    """Since when the oldest row waits that the workers should have dealt with: not those that wait for a person."""
    now = timezone.now()
    plans = UsagePlan.objects.filter(synced_revision__lt=F("revision"), permanent=False).aggregate(at=Min("changed_at"))["at"]
    keys = GatewayKey.objects.filter(synced_revision__lt=F("revision"), removed_at=None, permanent=False).aggregate(at=Min("changed_at"))[
        "at"
    ]
    ended = GatewayKey.objects.filter(ends_at__lte=now, removed_at=None, permanent=False).aggregate(at=Min("ends_at"))["at"]
    return min((at for at in (plans, keys, ended) if at is not None), default=None)
