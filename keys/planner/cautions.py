"""What a plan does and is seldom meant: found, and said."""

from collections.abc import Iterator
from decimal import ROUND_CEILING, Decimal

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from keys.planner.plans import Caution, Concern, Plan, TierPlan, up
from keys.planner.texts import number_text, percent_text, times_text
from keys.planner.wishes import PERIOD_SECONDS, Surroundings

# A gateway that holds more of its keys than this share raises an alarm.
FULL_SHARE = Decimal("0.9")
# Shares have three decimal places; what a tier's is rounded by, in hundredths of the backend's rate, is no overload.
ROUNDED_OFF = Decimal("0.0005")


def cautions(draft: Plan) -> Iterator[Caution]:
    """Of the whole plan first, then tier by tier."""
    yield from _of_the_backend(draft)
    yield from _of_the_accounts(draft)
    for tier in draft.tiers:
        yield from _of_a_tier(tier, draft.around)


def _of_the_backend(draft: Plan) -> Iterator[Caution]:
    around = draft.around
    shares = sum((tier.share for tier in draft.tiers), Decimal(0))
    if shares > 100 + len(draft.tiers) * ROUNDED_OFF:
        text = _("The split hands out %(shares)s %% of the backend's rate.") % {"shares": number_text(shares)}
        yield Caution(concern=Concern.OVERSUBSCRIBED_SPLIT, text=text)
    if draft.promised > around.rate:
        text = _("Together the tiers let through %(promised)s requests a second; the backend sustains %(rate)s (%(times)s times).")
        shown = {
            "promised": number_text(draft.promised),
            "rate": number_text(around.rate),
            "times": times_text(draft.promised / around.rate),
        }
        yield Caution(concern=Concern.OVERSUBSCRIBED_BACKEND, text=text % shown)
    at_once = around.burst if around.burst is not None else up(around.rate)
    if draft.bursts > at_once:
        text = _("With every bucket full, %(bursts)s requests arrive at once; the backend takes %(burst)s. Use smaller bursts.")
        yield Caution(concern=Concern.BURSTS, text=text % {"bursts": f"{draft.bursts:,}", "burst": f"{at_once:,}"})


def _of_the_accounts(draft: Plan) -> Iterator[Caution]:
    around, used = draft.around, draft.around.gateways or draft.accounts
    if around.gateways is not None and around.gateways < draft.accounts:
        text = ngettext(
            "It needs %(needed)d gateways (AWS account and Region) for %(keys)s gateway keys; there is %(there)d.",
            "It needs %(needed)d gateways (AWS account and Region) for %(keys)s gateway keys; there are %(there)d.",
            around.gateways,
        )
        shown = {"needed": draft.accounts, "keys": f"{draft.gateway_keys:,}", "there": around.gateways}
        yield Caution(concern=Concern.ACCOUNTS, text=text % shown)
    rate, burst = draft.promised / used, up(Decimal(draft.bursts) / used)
    if rate > around.account_rate:
        text = _("Each gateway gets %(rate)s requests a second; AWS lets an account have %(most)s in a Region. Ask AWS for more.")
        shown = {"rate": number_text(rate.quantize(Decimal("0.001"), ROUND_CEILING)), "most": number_text(around.account_rate)}
        yield Caution(concern=Concern.ACCOUNT_RATE, text=text % shown)
    if burst > around.account_burst:
        text = _("With every bucket full, each gateway gets %(burst)s requests at once; AWS lets an account have %(most)s in a Region.")
        yield Caution(concern=Concern.ACCOUNT_BURST, text=text % {"burst": f"{burst:,}", "most": f"{around.account_burst:,}"})
    full = Decimal(draft.gateway_keys) / (used * around.key_cap)
    if FULL_SHARE < full <= 1:
        text = _("The gateways are %(full)s full: above %(alarm)s they raise an alarm, and a rotation needs room for a second key.")
        yield Caution(concern=Concern.NEARLY_FULL, text=text % {"full": percent_text(full), "alarm": percent_text(FULL_SHARE)})


def _of_a_tier(tier: TierPlan, around: Surroundings) -> Iterator[Caution]:
    def warning(concern: Concern, text: str, **shown: object) -> Caution:
        return Caution(concern=concern, text=text % shown, tier=tier.slug)

    allotted = around.rate * tier.share / 100
    if tier.promised > allotted + around.rate * ROUNDED_OFF / 100:
        text = ngettext(
            "%(keys)s key at %(rate)s lets through %(promised)s requests a second; its share is %(share)s (%(times)s times).",
            "%(keys)s keys at %(rate)s let through %(promised)s requests a second; its share is %(share)s (%(times)s times).",
            tier.keys,
        )
        shown = {"promised": number_text(tier.promised), "share": number_text(allotted), "times": times_text(tier.promised / allotted)}
        yield warning(Concern.OVERSUBSCRIBED_TIER, text, keys=f"{tier.keys:,}", rate=number_text(tier.rate), **shown)
    yield from _of_its_blast_radius(tier)
    if tier.tenants is not None and tier.tenants < tier.keys:
        text = ngettext(
            "%(tenants)s tenant leaves %(idle)s of its %(keys)s keys idle, and their share of the rate unused.",
            "%(tenants)s tenants leave %(idle)s of its %(keys)s keys idle, and their share of the rate unused.",
            tier.tenants,
        )
        yield warning(Concern.IDLE_KEYS, text, tenants=f"{tier.tenants:,}", idle=f"{tier.keys - tier.tenants:,}", keys=f"{tier.keys:,}")
    if tier.rate < 1:
        text = _("A key refills with one request in %(seconds)s s; a client that sends two in a row may be throttled.")
        yield warning(Concern.SLOW_KEYS, text, seconds=number_text((1 / tier.rate).quantize(Decimal("0.1"), ROUND_CEILING)))
    yield from _of_its_quota(tier)


def _of_its_blast_radius(tier: TierPlan) -> Iterator[Caution]:
    if tier.target is None or tier.blast_radius <= tier.target:
        return
    target, needed = percent_text(tier.target), tier.keys_for_target
    reached = percent_text(tier.blast_radius)
    if tier.siloed or needed is None:
        text = _("One tenant is %(reached)s of all; a blast radius of %(target)s takes more tenants.")
    else:
        text = ngettext(
            "A blast radius of %(target)s needs %(needed)s keys; %(keys)s makes %(reached)s.",
            "A blast radius of %(target)s needs %(needed)s keys; %(keys)s make %(reached)s.",
            tier.keys,
        )
    shown = {"target": target, "reached": reached, "needed": f"{needed:,}" if needed else "", "keys": f"{tier.keys:,}"}
    yield Caution(concern=Concern.BLAST_RADIUS, text=text % shown, tier=tier.slug)


def _of_its_quota(tier: TierPlan) -> Iterator[Caution]:
    if tier.quota_limit is None:
        return
    reached = tier.rate * PERIOD_SECONDS[tier.quota_period] + tier.burst
    if tier.quota_limit > reached:
        text = _("Its quota of %(quota)s a %(period)s is never reached: %(rate)s requests a second make at most %(most)s.")
        shown = {
            "quota": f"{tier.quota_limit:,}",
            "period": tier.quota_period.lower(),
            "rate": number_text(tier.rate),
            "most": number_text(reached),
        }
        yield Caution(concern=Concern.QUOTA_NEVER_REACHED, text=text % shown, tier=tier.slug)
    if tier.tenants_a_key and tier.quota_limit < tier.tenants_a_key:
        text = _("%(tenants)s tenants share a key and its quota of %(quota)s a %(period)s: that is less than one request for each.")
        shown = {"tenants": f"{tier.tenants_a_key:,}", "quota": f"{tier.quota_limit:,}", "period": tier.quota_period.lower()}
        yield Caution(concern=Concern.QUOTA_TOO_SMALL, text=text % shown, tier=tier.slug)
