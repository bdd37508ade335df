"""What is asked of a plan, and what it has to fit into."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.utils.translation import gettext as _

from keys.models.gateway import AWS_KEY_CAP
from keys.models.pool import LARGEST_POOL

# Requests a second and burst of all APIs of an account and Region (developer guide, "Amazon API Gateway quotas"; fewer in small Regions).
ACCOUNT_RATE = Decimal(10_000)
ACCOUNT_BURST = 5_000
SLOWEST_RATE = Decimal("0.001")
# Of a tier: what its columns hold.
FASTEST_RATE = 9_999_999
LARGEST_BURST = 10_000_000
LARGEST_QUOTA = 2_147_483_647
# Of any other number: far above what can be meant.
MOST = 1_000_000_000
# Of a month, the longest: a quota that cannot be reached then is never reached.
PERIOD_SECONDS = {"DAY": 86_400, "WEEK": 7 * 86_400, "MONTH": 31 * 86_400}


class UnableToPlan(Exception):
    """Wishes that no plan fulfils. ``tier``: the slug concerned, or ""; ``field``: the wish to mend; the message says how."""

    def __init__(self, field: str, message: str, tier: str = "") -> None:
        super().__init__(f"{tier}: {message}" if tier else message)
        self.field, self.tier, self.message = field, tier, message


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is asked of one tier.

    ``share``: percent of the backend's rate. Pooled: ``keys`` gateway keys; without it as many as ``blast_radius`` needs; without that as
    many as ``rate`` allows. Siloed: a gateway key a tenant. ``rate`` and ``burst`` are of one gateway key; without them they are computed.
    ``spares``: ready keys kept on each gateway, siloed tiers only. ``tenants``: None where it is not known yet.
    """

    slug: str
    share: Decimal
    siloed: bool | None = None
    tenants: int | None = None
    keys: int | None = None
    rate: Decimal | None = None
    burst: int | None = None
    blast_radius: Decimal | None = None
    quota_limit: int | None = None
    quota_period: str = ""
    spares: int | None = None


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the plan has to fit into.

    ``rate``: requests a second that the backend sustains; ``burst``: requests that it takes at once, by default those of one second.
    ``burst_seconds``: the size of a bucket, where a tier does not say it, in seconds of its rate. ``gateways``: how many there are;
    None: as many as are needed. ``canaries``: a gateway key is kept for each usage plan, to prove it.
    """

    rate: Decimal
    burst: int | None = None
    burst_seconds: Decimal = Decimal("0.5")
    gateways: int | None = None
    key_cap: int = AWS_KEY_CAP
    account_rate: Decimal = ACCOUNT_RATE
    account_burst: int = ACCOUNT_BURST
    canaries: bool = True


def check(wishes: Sequence[Wish], around: Surroundings) -> None:
    """Raises UnableToPlan for what lies outside of its range, or contradicts itself."""
    if not wishes:
        raise UnableToPlan("tiers", _("Name at least one tier."))
    for field, number in (("rate", around.rate), ("burst_seconds", around.burst_seconds), ("account_rate", around.account_rate)):
        if not 0 < number <= MOST:
            raise UnableToPlan(field, _out_of_range(field))
    for field, whole in (("burst", around.burst), ("account_burst", around.account_burst)):
        if whole is not None and not 0 < whole <= MOST:
            raise UnableToPlan(field, _out_of_range(field))
    slugs = [wish.slug for wish in wishes]
    for wish in wishes:
        if slugs.count(wish.slug) > 1:
            raise UnableToPlan("slug", _("This tier is there twice."), wish.slug)
        _check_wish(wish)


def _out_of_range(field: str) -> str:
    return _("Give a number above 0, of at most %(most)s, for %(wish)s.") % {"most": f"{MOST:,}", "wish": field.replace("_", " ")}


def _check_wish(wish: Wish) -> None:
    ranges: tuple[tuple[str, Decimal | int | None, Decimal | int, int], ...] = (
        ("tenants", wish.tenants, 1, MOST), ("keys", wish.keys, 1, MOST), ("rate", wish.rate, SLOWEST_RATE, FASTEST_RATE),
        ("burst", wish.burst, 1, LARGEST_BURST), ("quota_limit", wish.quota_limit, 1, LARGEST_QUOTA), ("spares", wish.spares, 0, 10_000),
    )  # fmt: skip
    for field, number, least, most in ranges:
        if number is not None and not least <= number <= most:
            span = {"least": least, "most": f"{most:,}", "wish": field.replace("_", " ")}
            raise UnableToPlan(field, _("Give %(least)s to %(most)s for %(wish)s.") % span, wish.slug)
    if not 0 < wish.share <= 10_000:
        raise UnableToPlan("share", _("Give its share of the backend's rate in percent, above 0 and of at most 10,000."), wish.slug)
    if wish.blast_radius is not None and not 0 < wish.blast_radius <= 1:
        raise UnableToPlan("blast_radius", _("Give a blast radius above 0 and of at most 100 %."), wish.slug)
    if bool(wish.quota_limit) != bool(wish.quota_period):
        raise UnableToPlan("quota_period", _("Give a quota and its period, or neither."), wish.slug)
    if wish.quota_period and wish.quota_period not in PERIOD_SECONDS:
        raise UnableToPlan("quota_period", _("A quota is for a DAY, WEEK or MONTH."), wish.slug)
    if not wish.siloed and wish.spares:
        raise UnableToPlan("spares", _("Only a siloed tier has spares."), wish.slug)
    if not wish.siloed and wish.keys is not None and wish.keys > LARGEST_POOL:
        raise UnableToPlan("keys", _("A pool has at most %(most)s gateway keys.") % {"most": f"{LARGEST_POOL:,}"}, wish.slug)
