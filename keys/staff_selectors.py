"""Reads that the staff's pages and the staff's part of the REST API share. Nothing here writes, and nothing calls AWS.

Lists are read with a constant number of queries: facts about a page of rows are counted for that page, in one query each.
"""

import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, TypedDict

from django.db.models import Count, Exists, F, Max, OuterRef, Prefetch, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_variables

from keys import proposals, selectors, values, words
from keys.models import (
    Adoption,
    AdoptionState,
    ApiKey,
    Credential,
    Finding,
    FindingState,
    Gateway,
    GatewayKey,
    KeyRole,
    ReconcileRun,
    Stage,
    Status,
    Tier,
    UsageDay,
    UsagePlan,
)
from tenants.models import Tenant

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

# --- Tiers and their usage plans ------------------------------------------------------------------------------------------------


def pending_plans() -> QuerySet[UsagePlan]:
    """Plans that are not yet what their tier says."""
    return UsagePlan.objects.filter(synced_revision__lt=F("revision"))


def plans_to_compare() -> QuerySet[UsagePlan]:
    """Usage plans with everything that ``differences_of`` reads, in three queries."""
    return (
        UsagePlan.objects.select_related("tier", "gateway")
        .prefetch_related(Prefetch("tier__stages", Stage.objects.order_by("rest_api_id", "name")))
        .order_by("tier__position", "tier__name", "gateway__name")
    )


def differences_of(plan: UsagePlan) -> list[str]:
    """How the plan that API Gateway last showed differs from what its tier says, in sentences. Load it by ``plans_to_compare``."""
    return [
        _("%(name)s: the tier says %(wanted)s, API Gateway has %(seen)s.") % {"name": name, "wanted": _shown(wanted), "seen": _shown(seen)}
        for name, wanted, seen in _compared(plan.tier, plan)
        if wanted != seen
    ]


def _compared(tier: Tier, plan: UsagePlan) -> Iterable[tuple[str, Any, Any]]:
    seen = plan.observed
    stages = frozenset(stage.remote_key for stage in tier.stages.all() if stage.gateway_id == plan.gateway_id)
    yield _("Rate"), tier.throttle_rate, _decimal(seen.get("rate"))
    yield _("Burst"), tier.throttle_burst, seen.get("burst")
    yield _("Quota"), tier.quota_limit, seen.get("quota_limit")
    yield _("Quota period"), tier.quota_period, seen.get("quota_period") or ""
    yield _("Stages"), stages, frozenset(seen.get("stages") or ())


def _decimal(value: object) -> Decimal | None:
    try:
        return None if value is None else Decimal(str(value))
    except InvalidOperation:
        return None


def _shown(value: object) -> str:
    if isinstance(value, frozenset):
        return ", ".join(sorted(value)) or _("none")
    if isinstance(value, int | Decimal):
        return words.number_of(value)
    return str(value) if value else _("none")


@dataclass(frozen=True, kw_only=True)
class PoolKey:
    """A live key of a pool, with the API keys that stand on it."""

    id: uuid.UUID
    position: int
    last_four: str
    gateway_id: uuid.UUID
    in_service_at: datetime | None
    load: int


def pool_keys_of(tier: Tier) -> list[PoolKey]:
    """The live keys of a tier's pool by position, in one query; a pool has up to thousands."""
    rows = GatewayKey.objects.live().filter(pool__tier=tier).annotate(load=Count("api_keys", filter=Q(api_keys__slot__isnull=False)))
    fields = ("id", "position", "last_four", "gateway_id", "in_service_at", "load")
    return [PoolKey(**row) for row in rows.order_by("position").values(*fields)]


# --- Gateways and their keys ----------------------------------------------------------------------------------------------------


class GatewayFacts(TypedDict):
    """Gateway keys held, and rows that are not yet what they shall be."""

    held: int
    plans_pending: int
    keys_pending: int


def gateways_with_facts(gateways: QuerySet[Gateway], now: datetime) -> "QuerySet[WithAnnotations[Gateway, GatewayFacts]]":
    """Gateways with GatewayFacts, in one query."""
    keys = GatewayKey.objects.filter(gateway=OuterRef("pk")).pending(now).order_by().values("gateway").annotate(count=Count("pk"))
    plans = pending_plans().filter(gateway=OuterRef("pk")).order_by().values("gateway").annotate(count=Count("pk"))
    return gateways.annotate(
        held=Coalesce(F("room__held"), 0),
        plans_pending=Coalesce(Subquery(plans.values("count")), 0),
        keys_pending=Coalesce(Subquery(keys.values("count")), 0),
    )


def gateway_keys_in_state(gateway_keys: QuerySet[GatewayKey], state: str, now: datetime) -> QuerySet[GatewayKey]:
    """``service``, ``pending``, ``failing``, ``person`` (no try will mend it), ``ending``, ``gone``; all of them for any other word."""
    pending = GatewayKey.objects.pending(now).values("pk")
    states = {
        "service": Q(in_service_at__lte=now, removed_at=None),
        "pending": Q(pk__in=pending),
        "failing": Q(pk__in=pending) & ~Q(last_error=""),
        "person": Q(pk__in=pending, permanent=True),
        "ending": Q(ends_at__isnull=False, removed_at=None),
        "gone": Q(removed_at__isnull=False),
    }
    return gateway_keys.filter(states[state]) if state in states else gateway_keys


def loads_of(gateway_keys: Collection[GatewayKey]) -> dict[uuid.UUID, int]:
    """Live API keys that stand on each gateway key, where there are any."""
    rows = ApiKey.objects.live().filter(gateway_key__in=[key.pk for key in gateway_keys]).order_by()
    return dict(rows.values_list("gateway_key").annotate(Count("pk")))


def former_holders_of(gateway_keys: Collection[GatewayKey]) -> dict[uuid.UUID, int]:
    """API keys that were revoked while they stood on each pool key: their tenants may still know its value."""
    pool_keys = [key.pk for key in gateway_keys if key.role == KeyRole.POOL]
    rows = Credential.objects.filter(gateway_key__in=pool_keys, api_key__revoked_at__isnull=False).order_by()
    return dict(rows.values_list("gateway_key").annotate(Count("api_key", distinct=True)))


RUN_OUTCOMES = {
    "clean": gettext_lazy("In step"),
    "drift": gettext_lazy("Drift found"),
    "stopped": gettext_lazy("Stopped"),
    "failed": gettext_lazy("Failed"),
    "running": gettext_lazy("Running"),
}


def outcome_of(run: ReconcileRun, findings: int) -> str:
    """How a comparison with so many findings ended: a key of RUN_OUTCOMES."""
    if run.error:
        return "failed"
    if run.ended_at is None:
        return "running"
    if run.stopped:
        return "stopped"
    return "drift" if findings else "clean"


def runs_with_outcome(runs: QuerySet[ReconcileRun], outcome: str) -> QuerySet[ReconcileRun]:
    """Those of which ``outcome_of`` says so; all of them for any other word."""
    found = Exists(Finding.objects.filter(run=OuterRef("pk")))
    ended = runs.filter(ended_at__isnull=False, error="", stopped="")
    outcomes = {
        "clean": ended.filter(~found),
        "drift": ended.filter(found),
        "stopped": runs.filter(ended_at__isnull=False, error="").exclude(stopped=""),
        "failed": runs.exclude(error=""),
        "running": runs.filter(ended_at=None, error=""),
    }
    return outcomes.get(outcome, runs)


def findings_in_state(findings: QuerySet[Finding], state: str) -> QuerySet[Finding]:
    """Those of which ``Finding.state`` says so; all of them for any other word."""
    unresolved, failing = Q(resolved_at=None, quarantined_at=None), Q(row_id=None) | ~Q(trouble="")
    states = {
        FindingState.OPEN.value: unresolved & failing,
        FindingState.REPAIRING.value: unresolved & ~failing,
        FindingState.QUARANTINE.value: Q(resolved_at=None, quarantined_at__isnull=False),
        FindingState.RESOLVED.value: Q(resolved_at__isnull=False),
    }
    return findings.filter(states[state]) if state in states else findings


# --- Adoptions -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ProposedPlan:
    """A usage plan of others as staff decide about it. ``obstacles``: what is in the way of the suggestion, in sentences.

    ``keys``: each with why it would be left alone by the suggestion; empty: it is taken.
    """

    plan: proposals.PlanSeen
    suggestion: proposals.Decision
    obstacles: list[str]
    keys: list[tuple[proposals.KeySeen, str]]


def proposed_plans(adoption: Adoption) -> list[ProposedPlan]:
    """What a worker found, in two queries. Empty until one has looked."""
    proposal = proposals.Proposal.read(adoption.proposal)
    registered = {stage.remote_key for stage in Stage.objects.filter(gateway=adoption.gateway_id)}
    suggested = proposals.suggestions(proposal, Tier.objects.values_list("slug", flat=True))
    return [
        ProposedPlan(
            plan=plan,
            suggestion=suggestion,
            obstacles=[text for _field, text in proposals.obstacles(plan, suggestion, registered)],
            keys=[(key, proposals.left_alone(key, suggestion.take)) for key in plan.keys],
        )
        for plan, suggestion in zip(proposal.plans, suggested, strict=True)
    ]


def adoptions_in_state(adoptions: QuerySet[Adoption], state: str) -> QuerySet[Adoption]:
    """Those of which ``Adoption.state`` says so; all of them for any other word."""
    at_work = Q(error="", withdrawn_at=None, applied_at=None)
    states = {
        AdoptionState.FAILED.value: ~Q(error=""),
        AdoptionState.WITHDRAWN.value: Q(error="", withdrawn_at__isnull=False),
        AdoptionState.APPLIED.value: Q(error="", withdrawn_at=None, applied_at__isnull=False),
        AdoptionState.CONFIRMED.value: at_work & Q(confirmed_at__isnull=False),
        AdoptionState.PROPOSED.value: at_work & Q(confirmed_at=None, proposed_at__isnull=False),
        AdoptionState.LOOKING.value: at_work & Q(confirmed_at=None, proposed_at=None),
    }
    return adoptions.filter(states[state]) if state in states else adoptions


# --- Tenants and their API keys -------------------------------------------------------------------------------------------------


def own_and_shared_of(tenants: Collection[Tenant]) -> dict[uuid.UUID, tuple[int, int]]:
    """``selectors.own_and_shared`` for many, in one query: by tenant id, where there are any."""
    rows = ApiKey.objects.live().filter(tenant__in=[tenant.pk for tenant in tenants]).order_by().values_list("tenant")
    counts = rows.annotate(own=Count("pk", filter=Q(slot=None)), shared=Count("pk", filter=Q(slot__isnull=False)))
    return {tenant_id: (own, shared) for tenant_id, own, shared in counts}


def api_keys_with_status(api_keys: QuerySet[ApiKey], status: str, now: datetime) -> QuerySet[ApiKey]:
    """Those that ``ApiKey.status`` says are so: derived, so asked of the columns it is derived from. All for any other word."""
    off = Q(disabled_at__isnull=False) | Q(tenant__suspended_at__isnull=False)
    in_service = Q(gateway_key__in_service_at__lte=now) | Q(selectors.renewing(now))
    enabled = api_keys.filter(revoked_at=None).exclude(off)
    return {
        Status.REVOKED.value: api_keys.filter(revoked_at__isnull=False),
        Status.DISABLED.value: api_keys.filter(off, revoked_at=None),
        Status.READY.value: enabled.filter(in_service),
        Status.PREPARING.value: enabled.exclude(in_service),
    }.get(status, api_keys)


@sensitive_variables("value")
def gateway_key_with_value(value: str) -> GatewayKey | None:
    """The gateway key that has or had this value: of our form, or of any that an adopted key may have. It is hashed and looked up, and
    kept nowhere."""
    found = GatewayKey.objects.filter(value_sha256=values.digest(value)).defer("value_encrypted", "value_sha256")
    return found.select_related("gateway", "usage_plan__tier").first()


def holders_of(gateway_key: GatewayKey) -> QuerySet[ApiKey]:
    """API keys that have or had a credential on this gateway key, newest first."""
    standing = Credential.objects.filter(gateway_key=gateway_key).values("api_key")
    return ApiKey.objects.filter(pk__in=standing).order_by("-created_at", "-pk")


# --- Usage ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class TierUsage:
    """Requests of one tier; ``read_at``: when the latest of it was read, None without any."""

    requests: int
    read_at: datetime | None


def usage_of_tiers(first: date, last: date) -> dict[uuid.UUID, TierUsage]:
    """Requests from ``first`` to ``last`` (UTC days, both of them in), by tier id, where there are any. What our canaries called is no
    request of anybody."""
    sold = UsageDay.objects.filter(date__range=(first, last)).exclude(gateway_key__role=KeyRole.CANARY)
    days = sold.order_by().values_list("gateway_key__usage_plan__tier")
    rows = days.annotate(requests=Sum("used"), latest=Max("read_at"))
    return {tier_id: TierUsage(requests=int(requests), read_at=latest) for tier_id, requests, latest in rows}


def usage_of_tenants(tenants: Collection[Tenant], first: date, last: date) -> dict[uuid.UUID, dict[str, TierUsage]]:
    """Requests with credentials of each tenant's own, by tenant id and tier slug, in one query.

    What went through a value that tenants share belongs to none of them alone and is not in it; ``usage_of_tiers`` has it.
    """
    own = UsageDay.objects.filter(
        gateway_key__role=KeyRole.SILO,  # stands for one credential of one tenant, so that no day counts twice
        gateway_key__credentials__api_key__tenant__in=[tenant.pk for tenant in tenants],
        date__range=(first, last),
    ).order_by()
    groups = own.values_list("gateway_key__credentials__api_key__tenant", "gateway_key__usage_plan__tier__slug")
    found: dict[uuid.UUID, dict[str, TierUsage]] = {}
    for tenant_id, slug, requests, latest in groups.annotate(requests=Sum("used"), latest=Max("read_at")):
        found.setdefault(tenant_id, {})[slug] = TierUsage(requests=int(requests), read_at=latest)
    return found
