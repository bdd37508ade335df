"""What monitoring reads: the figures of the staff's pages, in Prometheus's words. Every figure is a row's or counted from rows, so any
web process answers the same, and none has to be asked twice."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from django.conf import settings
from django.db.models import Count, F, QuerySet, Sum
from django.utils import timezone
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from keys import selectors
from keys.models import CallCount, Finding, Gateway, GatewayKey, Isolation, KeyRole, Priority, Tier, UsagePlan
from keys.sales import sales_of, tiers_with_facts

# A label, its gauge's help, and the column it shows: of gateways.
_GATEWAY_FIGURES = (
    ("capacity", "API keys that the account and Region may hold.", "capacity"),
    ("keys_held", "Gateway keys that exist there or shall exist.", "room__held"),
    ("foreign_keys", "API keys there that are not Tollgate's, when last listed.", "foreign_keys"),
    ("pace", "Share of AWS's rates in use; below 1 after answers of 429.", "pace"),
    ("failures", "Failures in a row; three open the circuit breaker, six where they are answers of 429.", "failures"),
)


def exposition() -> bytes:
    """All figures as text, in Prometheus's format 0.0.4."""
    registry = CollectorRegistry()
    registry.register(_Rows())
    return generate_latest(registry)


class _Rows(Collector):
    """Reads the rows when it is asked: about ten queries, whatever the number of keys."""

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering reads no row."""
        return []

    def collect(self) -> Iterable[Metric]:
        now = timezone.now()
        yield from _gateways(now)
        yield from _pending(now)
        yield _calls(now)
        yield from _canaries()
        yield _findings()
        yield from _pools()


def _gateways(now: datetime) -> Iterator[Metric]:
    columns = [column for _name, _help, column in _GATEWAY_FIGURES]
    gateways = list(Gateway.objects.order_by("name").values("name", "resume_at", "last_seen_at", "draining_since", *columns))
    for name, text, column in _GATEWAY_FIGURES:
        yield _gauge(f"gateway_{name}", text, ["gateway"], [([row["name"]], row[column] or 0) for row in gateways])
    headroom = [([row["name"]], row["capacity"] - (row["room__held"] or 0) - row["foreign_keys"]) for row in gateways]
    yield _gauge("gateway_headroom", "Gateway keys that can still be made there.", ["gateway"], headroom)
    is_open = [([row["name"]], int(row["resume_at"] is not None and row["resume_at"] > now)) for row in gateways]
    yield _gauge("gateway_breaker_open", "1 while the gateway is left alone after failures.", ["gateway"], is_open)
    draining = [([row["name"]], int(row["draining_since"] is not None)) for row in gateways]
    yield _gauge("gateway_draining", "1 while the gateway is drained.", ["gateway"], draining)
    seen = [([row["name"]], row["last_seen_at"].timestamp()) for row in gateways if row["last_seen_at"]]
    yield _gauge("gateway_last_answer_timestamp_seconds", "When its management API last answered.", ["gateway"], seen)


def _pending(now: datetime) -> Iterator[Metric]:
    words = {priority.value: priority.name.lower() for priority in Priority}
    # Two counts, each of an index of its own: what is out of step, and what is past its end.
    late: dict[tuple[str, int], int] = {}
    for rows in _pending_keys(now):
        for name, priority, count in rows.order_by().values_list("gateway__name", "priority").annotate(count=Count("pk")):
            late[(name, priority)] = late.get((name, priority), 0) + count
    keys = [([name, words.get(priority, str(priority))], count) for (name, priority), count in sorted(late.items())]
    yield _gauge("pending_keys", "Gateway keys that are not yet what they shall be.", ["gateway", "priority"], keys)
    plans = UsagePlan.objects.filter(synced_revision__lt=F("revision")).order_by("gateway__name").values_list("gateway__name")
    counted = [([name], count) for name, count in plans.annotate(count=Count("pk"))]
    yield _gauge("pending_usage_plans", "Usage plans that are not yet what their tier says.", ["gateway"], counted)
    stuck = sum(rows.filter(permanent=True).count() for rows in _pending_keys(now))
    stuck += UsagePlan.objects.filter(synced_revision__lt=F("revision"), permanent=True).count()
    yield _gauge("rows_waiting_for_a_person", "Pending rows with an error that no further try will mend.", [], [([], stuck)])
    oldest = selectors.oldest_pending_at()
    age = max(0.0, (now - oldest).total_seconds()) if oldest else 0.0
    yield _gauge("oldest_pending_seconds", "Age of the oldest row that waits for a worker; 0 when none does.", [], [([], age)])


def _pending_keys(now: datetime) -> tuple[QuerySet[GatewayKey], QuerySet[GatewayKey]]:
    there = GatewayKey.objects.filter(removed_at=None)
    in_step = there.filter(synced_revision__gte=F("revision"))
    return there.filter(synced_revision__lt=F("revision")), in_step.filter(ends_at__lte=now)


def _calls(now: datetime) -> Metric:
    """Of the UTC day: at midnight the counters begin anew, which Prometheus takes as it takes a restart."""
    metric = CounterMetricFamily(
        "tollgate_gateway_calls", "Calls of the management API since midnight, UTC.", labels=["gateway", "operation", "outcome"]
    )
    today = CallCount.objects.filter(hour__gte=now.replace(hour=0, minute=0, second=0, microsecond=0))
    rows = today.order_by("gateway__name", "operation").values_list("gateway__name", "operation")
    for name, operation, calls, throttled, failed in rows.annotate(a=Sum("calls"), b=Sum("throttled"), c=Sum("failed")):
        for outcome, count in (("ok", calls - throttled - failed), ("throttled", throttled), ("failed", failed)):
            metric.add_metric([name, operation, outcome], count)
    return metric


def _canaries() -> Iterator[Metric]:
    labels = ["gateway", "tier"]
    plans = UsagePlan.objects.filter(gateway_keys__role=KeyRole.CANARY, gateway_keys__ends_at=None, canary_checked_at__isnull=False)
    fields = ("gateway__name", "tier__slug", "canary_checked_at", "canary_failures")
    rows = list(plans.order_by("gateway__name", "tier__slug").values_list(*fields)) if settings.CANARY_SECONDS else []
    up = [([gateway, tier], int(not failures)) for gateway, tier, _at, failures in rows]
    yield _gauge("canary_up", "1 when the usage plan's canary was answered 200.", labels, up)
    checked = [([gateway, tier], at.timestamp()) for gateway, tier, at, _failures in rows]
    yield _gauge("canary_checked_timestamp_seconds", "When the usage plan's canary was last called.", labels, checked)


def _findings() -> Metric:
    rows = Finding.objects.filter(resolved_at=None).order_by("gateway__name", "kind").values_list("gateway__name", "kind")
    counted = [([name, kind], count) for name, kind, count in rows.annotate(count=Count("pk"))]
    return _gauge("findings_open", "Differences found and not resolved.", ["gateway", "kind"], counted)


def _pools() -> Iterator[Metric]:
    tiers = list(tiers_with_facts(Tier.objects.filter(isolation=Isolation.POOLED).order_by("slug")))
    sales = [(tier.slug, sales_of(tier)) for tier in tiers]
    most = [([slug], each.load_max or 0) for slug, each in sales]
    yield _gauge("pool_load_max", "API keys on the fullest gateway key of a pool.", ["tier"], most)
    least = [([slug], each.load_min or 0) for slug, each in sales]
    yield _gauge("pool_load_min", "API keys on the emptiest gateway key of a pool.", ["tier"], least)


def _gauge(name: str, text: str, labels: list[str], values: Iterable[tuple[list[str], float]]) -> Metric:
    metric = GaugeMetricFamily(f"tollgate_{name}", text, labels=labels)
    for words, value in values:
        metric.add_metric(words, value)
    return metric
