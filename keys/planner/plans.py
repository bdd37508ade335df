"""What a plan says: its tiers, and what is warned of."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import StrEnum

from keys.planner.wishes import Surroundings


class Concern(StrEnum):
    """What a warning is about."""

    OVERSUBSCRIBED_SPLIT = "oversubscribed_split"
    OVERSUBSCRIBED_TIER = "oversubscribed_tier"
    OVERSUBSCRIBED_BACKEND = "oversubscribed_backend"
    BURSTS = "bursts"
    ACCOUNT_RATE = "account_rate"
    ACCOUNT_BURST = "account_burst"
    ACCOUNTS = "accounts"
    NEARLY_FULL = "nearly_full"
    BLAST_RADIUS = "blast_radius"
    IDLE_KEYS = "idle_keys"
    SLOW_KEYS = "slow_keys"
    QUOTA_NEVER_REACHED = "quota_never_reached"
    QUOTA_TOO_SMALL = "quota_too_small"


@dataclass(frozen=True, kw_only=True)
class Caution:
    """Something that a plan does and that is seldom meant. ``tier``: the slug concerned, or ""."""

    concern: Concern
    text: str
    tier: str = ""


@dataclass(frozen=True, kw_only=True)
class TierPlan:
    """One tier as planned. ``rate``, ``burst`` and the quota are those of one gateway key."""

    slug: str
    share: Decimal
    siloed: bool
    keys: int
    tenants: int | None
    rate: Decimal
    burst: int
    quota_limit: int | None
    quota_period: str
    spares: int
    target: Decimal | None

    @property
    def promised(self) -> Decimal:
        """Requests a second that all its keys together let through."""
        return self.keys * self.rate

    @property
    def bursts(self) -> int:
        """Requests that all its keys together let through at once, when every bucket is full."""
        return self.keys * self.burst

    @property
    def tenants_a_key(self) -> int | None:
        """On the fullest key; keys differ by one tenant at most."""
        return None if self.tenants is None else up(Decimal(self.tenants) / self.keys)

    @property
    def rate_a_tenant(self) -> Decimal | None:
        """What is left for each when all tenants of a key call at once."""
        return self.rate / self.tenants_a_key if self.tenants_a_key else None

    @property
    def blast_radius(self) -> Decimal:
        """The largest share of its tenants on one key; while their number is unknown, that of very many."""
        if self.tenants_a_key and self.tenants:
            return Decimal(self.tenants_a_key) / self.tenants
        return Decimal(1) / self.keys

    @property
    def keys_for_target(self) -> int | None:
        """How many keys the wanted blast radius takes; None without one, and where no number of keys does."""
        return None if self.target is None else keys_for(self.target, self.tenants)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Tiers that share a backend. ``accounts``: AWS account-Regions that their gateway keys and their rate need."""

    around: Surroundings
    tiers: tuple[TierPlan, ...]
    accounts: int
    warnings: tuple[Caution, ...]

    @property
    def promised(self) -> Decimal:
        return sum((tier.promised for tier in self.tiers), Decimal(0))

    @property
    def bursts(self) -> int:
        return sum(tier.bursts for tier in self.tiers)

    @property
    def gateway_keys(self) -> int:
        """On all gateways together: those of tenants, spares and canaries."""
        return sum(tier.keys for tier in self.tiers) + self.accounts * overhead(self.tiers, self.around)


def keys_for(blast_radius: Decimal, tenants: int | None = None) -> int | None:
    """The fewest gateway keys of which none carries a larger share of the tenants; for very many tenants when their number is unknown.

    None when not even a key for each tenant is enough: one of 100 tenants is 1 % of them.
    """
    if tenants is None:
        return up(1 / blast_radius)
    most = down(blast_radius * tenants)
    return up(Decimal(tenants) / most) if most else None


def overhead(tiers: Iterable[TierPlan], around: Surroundings) -> int:
    """Gateway keys of no tenant on each gateway."""
    return sum(tier.spares + around.canaries for tier in tiers)


def up(number: Decimal) -> int:
    """The next whole number."""
    return int(number.to_integral_value(ROUND_CEILING))


def down(number: Decimal) -> int:
    """The last whole number."""
    return int(number.to_integral_value(ROUND_FLOOR))
