"""The calculation: pool sizes, limits and accounts from wishes."""

from collections.abc import Iterable, Sequence
from decimal import ROUND_FLOOR, Decimal
from math import ceil

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from keys.models.pool import LARGEST_POOL
from keys.planner.cautions import cautions
from keys.planner.plans import Plan, TierPlan, down, keys_for, overhead, up
from keys.planner.texts import number_text, percent_text
from keys.planner.wishes import FASTEST_RATE, LARGEST_BURST, SLOWEST_RATE, Surroundings, UnableToPlan, Wish, check


def plan(wishes: Sequence[Wish], around: Surroundings) -> Plan:
    """The plan, with a warning for whatever is seldom meant. Raises UnableToPlan."""
    check(wishes, around)
    tiers = tuple(_planned(wish, around) for wish in wishes)
    accounts = _accounts(tiers, around)
    draft = Plan(around=around, tiers=tiers, accounts=accounts, warnings=())
    return Plan(around=around, tiers=tiers, accounts=accounts, warnings=tuple(cautions(draft)))


def _planned(wish: Wish, around: Surroundings) -> TierPlan:
    allotted = around.rate * wish.share / 100
    keys = _silos(wish) if wish.siloed else _pool_size(wish, allotted)
    rate = wish.rate
    if rate is None:
        # Rounded down to what a tier can have, so that rounding never promises more than there is.
        rate = (allotted / keys).quantize(SLOWEST_RATE, ROUND_FLOOR)
    if rate < SLOWEST_RATE:
        message = ngettext(
            "%(keys)s gateway key gets less than 0.001 requests a second. Give it a larger share.",
            "%(keys)s gateway keys leave each of them less than 0.001 requests a second. Use fewer keys, or give it a larger share.",
            keys,
        )
        raise UnableToPlan("keys", message % {"keys": f"{keys:,}"}, wish.slug)
    if rate > FASTEST_RATE:
        message = _("Each of its gateway keys would get more than %(most)s requests a second. Use more keys.")
        raise UnableToPlan("keys", message % {"most": f"{FASTEST_RATE:,}"}, wish.slug)
    burst = wish.burst
    if burst is None:
        burst = min(LARGEST_BURST, max(1, down(rate * around.burst_seconds)))
    return TierPlan(
        slug=wish.slug,
        share=wish.share,
        siloed=bool(wish.siloed),
        keys=keys,
        tenants=wish.tenants,
        rate=rate,
        burst=burst,
        quota_limit=wish.quota_limit,
        quota_period=wish.quota_period,
        spares=wish.spares or 0,
        target=wish.blast_radius,
    )


def _silos(wish: Wish) -> int:
    if wish.keys not in {None, wish.tenants}:
        raise UnableToPlan("keys", _("It is siloed: a gateway key for each tenant. Say how many tenants, not how many keys."), wish.slug)
    if wish.tenants is None:
        raise UnableToPlan("tenants", _("A siloed tier has a gateway key for each tenant; say how many tenants."), wish.slug)
    return wish.tenants


def _pool_size(wish: Wish, allotted: Decimal) -> int:
    if wish.keys is not None:
        return wish.keys
    if wish.blast_radius is not None:
        return _keys_for_target(wish, wish.blast_radius)
    if wish.rate is None:
        raise UnableToPlan("keys", _("Say how many gateway keys it has, or the rate of one, or a blast radius."), wish.slug)
    keys = down(allotted / wish.rate)
    if not keys:
        message = _("Its share is %(share)s requests a second, less than one key at %(rate)s. Lower the rate, or give it a larger share.")
        raise UnableToPlan("rate", message % {"share": number_text(allotted), "rate": number_text(wish.rate)}, wish.slug)
    if keys > LARGEST_POOL:
        message = _("At %(rate)s requests a second its share makes %(keys)s keys; a pool has at most %(most)s. Raise the rate.")
        raise UnableToPlan("rate", message % {"rate": number_text(wish.rate), "keys": f"{keys:,}", "most": f"{LARGEST_POOL:,}"}, wish.slug)
    return keys


def _keys_for_target(wish: Wish, target: Decimal) -> int:
    keys = keys_for(target, wish.tenants)
    if keys is None:
        tenants = wish.tenants or 1
        message = ngettext(
            "With %(tenants)s tenant it is %(share)s of them; no number of keys makes a blast radius of %(target)s.",
            "With %(tenants)s tenants each one is %(share)s of them; no number of keys makes a blast radius of %(target)s.",
            tenants,
        )
        shown = {"tenants": f"{tenants:,}", "share": percent_text(Decimal(1) / tenants), "target": percent_text(target)}
        raise UnableToPlan("blast_radius", message % shown, wish.slug)
    if keys > LARGEST_POOL:
        message = _("A blast radius of %(target)s takes %(keys)s keys; a pool has at most %(most)s. Allow a larger one, or make it siloed.")
        shown = {"target": percent_text(target), "keys": f"{keys:,}", "most": f"{LARGEST_POOL:,}"}
        raise UnableToPlan("blast_radius", message % shown, wish.slug)
    return keys


def _accounts(tiers: Iterable[TierPlan], around: Surroundings) -> int:
    tiers = tuple(tiers)
    left = around.key_cap - overhead(tiers, around)
    if left < 1:
        message = _("Spares and canaries alone fill a gateway of %(cap)s keys. Keep fewer spares.")
        raise UnableToPlan("spares", message % {"cap": f"{around.key_cap:,}"})
    by_keys = ceil(sum(tier.keys for tier in tiers) / left)
    by_rate = up(sum((tier.promised for tier in tiers), Decimal(0)) / around.account_rate)
    return max(1, by_keys, by_rate)
