"""Planning tiers: from what the backend sustains and a split of it, the gateway keys, limits and accounts that it takes.

Pure: reads and writes nothing. Rates are requests a second, bursts are requests, blast radiuses are shares from 0 to 1. A usage plan's
limits hold for each gateway key by itself, so a tier lets through its number of keys times its rate: that product is what must fit.

AWS enforces throttles and quotas on a best-effort basis, so a plan says what is aimed at, and is no ceiling that nothing exceeds.
"""

from keys.planner.computing import plan
from keys.planner.plans import Caution, Concern, Plan, TierPlan, keys_for
from keys.planner.texts import number_text, percent_text
from keys.planner.wishes import (
    ACCOUNT_BURST,
    ACCOUNT_RATE,
    FASTEST_RATE,
    LARGEST_BURST,
    LARGEST_QUOTA,
    MOST,
    PERIOD_SECONDS,
    SLOWEST_RATE,
    Surroundings,
    UnableToPlan,
    Wish,
)

__all__ = [
    "ACCOUNT_BURST",
    "ACCOUNT_RATE",
    "FASTEST_RATE",
    "LARGEST_BURST",
    "LARGEST_QUOTA",
    "MOST",
    "PERIOD_SECONDS",
    "SLOWEST_RATE",
    "Caution",
    "Concern",
    "Plan",
    "Surroundings",
    "TierPlan",
    "UnableToPlan",
    "Wish",
    "keys_for",
    "number_text",
    "percent_text",
    "plan",
]
