"""How much of each tier was sold, and how its pool keys are loaded: for lists, at a cost that does not grow with what was sold.

Up to MOST_COUNTED API keys a tier are counted. Beyond it PostgreSQL's own estimate serves, and the loads of the first and the last key of
the pool: a pool is level but for a resize, which makes or fills its last keys. The page of one tier counts them all.
"""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from django.db import connection
from django.db.models import Case, Count, IntegerField, OuterRef, Q, QuerySet, Subquery, When

from keys.models import ApiKey, GatewayKey, Tier

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

# API keys of one tier: index entries that are read in a few milliseconds.
MOST_COUNTED = 10_000


class TierFacts(TypedDict):
    """``counted``: live API keys, one more than MOST_COUNTED for any more. ``low``, ``high``: loads of its pool keys, where all of them
    were counted."""

    counted: int
    low: int | None
    high: int | None


@dataclass(frozen=True, kw_only=True)
class Sales:
    """``sold``: live API keys of a tier. ``load_min``, ``load_max``: of its pool keys; None on a siloed tier. ``exact``: whether that was
    counted; else ``sold`` is an estimate, more than MOST_COUNTED, and the loads are those of two keys."""

    sold: int
    load_min: int | None
    load_max: int | None
    exact: bool

    @property
    def largest_share(self) -> float | None:
        """The blast radius, 0.0 to 1.0: the largest share of the tier's API keys that one gateway key carries. None while none is
        sold."""
        if not self.sold:
            return None
        return min(1.0, (1 if self.load_max is None else self.load_max) / self.sold)


class _CountUpTo(Subquery):
    """How many rows a query with a limit has."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) counted)"
    output_field = IntegerField()


def tiers_with_facts(tiers: QuerySet[Tier]) -> "QuerySet[WithAnnotations[Tier, TierFacts]]":
    """Tiers with TierFacts and ``pool``, in one query."""
    live = ApiKey.objects.live().filter(tier=OuterRef("pk")).order_by()
    loads = GatewayKey.objects.live().filter(pool__tier=OuterRef("pk")).annotate(load=Count("api_keys", filter=_PLACED))
    return (
        tiers.annotate(counted=_CountUpTo(live.values("tenant")[: MOST_COUNTED + 1]))  # the columns of an index
        .annotate(low=_where_counted(loads.order_by("load").values("load")), high=_where_counted(loads.order_by("-load").values("load")))
        .select_related("pool")
    )


def sales_of(tier: "WithAnnotations[Tier, TierFacts]") -> Sales:
    """Of a tier that was loaded by ``tiers_with_facts``. No query unless more was sold than is counted; four at most then."""
    if tier.counted <= MOST_COUNTED:
        return Sales(sold=tier.counted, load_min=tier.low, load_max=tier.high, exact=True)
    live = ApiKey.objects.live().filter(tier=tier.pk).order_by()
    if not tier.is_pooled:
        return Sales(sold=_estimate(live), load_min=None, load_max=None, exact=False)
    keys = GatewayKey.objects.live().filter(pool=tier.pool.pk, position__lt=tier.pool.size)
    ends = [keys.order_by("position").first(), keys.order_by("-position").first()]
    loads = [_load(key) for key in ends if key is not None]
    return Sales(sold=_estimate(live), load_min=min(loads, default=0), load_max=max(loads, default=0), exact=False)


_PLACED = Q(api_keys__slot__isnull=False)


def _where_counted(loads: QuerySet[Any, Any]) -> Case:
    return Case(When(counted__lte=MOST_COUNTED, then=Subquery(loads[:1])), output_field=IntegerField())


def _load(key: GatewayKey) -> int:
    """Of one key of a pool; one more than MOST_COUNTED for any more."""
    return ApiKey.objects.filter(gateway_key=key, slot__isnull=False).order_by().values("slot")[: MOST_COUNTED + 1].count()


def _estimate(rows: QuerySet[Any]) -> int:
    """About how many rows there are, by PostgreSQL's statistics: more than MOST_COUNTED. Elsewhere (a laptop) they are counted."""
    if connection.vendor != "postgresql":
        return rows.count()
    [explained] = json.loads(rows.values("pk").explain(format="json"))
    return max(int(explained["Plan"]["Plan Rows"]), MOST_COUNTED + 1)
