"""Put four tiers up for sale: a start to change to taste in the staff site."""

from decimal import Decimal
from typing import Any, TypedDict

from django.core.management.base import BaseCommand, CommandError

from keys import words
from keys.models import Isolation, Stage, Tier
from keys.services import catalog
from tenants.audit import Actor


class TierSeed(TypedDict):
    slug: str
    name: str
    description: str
    position: int
    price_minor: int
    isolation: Isolation
    throttle_rate: Decimal
    throttle_burst: int
    quota_limit: int
    quota_period: str
    max_api_keys: int
    spare_target: int
    pool_size: int | None


TIERS: list[TierSeed] = [
    {
        "slug": "test", "name": "Test", "description": "See your first 429 within a minute.", "position": 10, "price_minor": 0,
        "isolation": Isolation.SILOED, "throttle_rate": Decimal(10), "throttle_burst": 5, "quota_limit": 20, "quota_period": "DAY",
        "max_api_keys": 3, "spare_target": 2, "pool_size": None,
    },
    {
        "slug": "free", "name": "Free", "description": "For trying things out.", "position": 20, "price_minor": 0,
        "isolation": Isolation.POOLED, "throttle_rate": Decimal(10), "throttle_burst": 5, "quota_limit": 2000, "quota_period": "DAY",
        "max_api_keys": 3, "spare_target": 0, "pool_size": 1,
    },
    {
        "slug": "basic", "name": "Basic", "description": "For a side project with users.", "position": 30, "price_minor": 1999,
        "isolation": Isolation.POOLED, "throttle_rate": Decimal(100), "throttle_burst": 50, "quota_limit": 5000, "quota_period": "MONTH",
        "max_api_keys": 10, "spare_target": 0, "pool_size": 5,
    },
    {
        "slug": "premium", "name": "Premium", "description": "For a product that people rely on.", "position": 40, "price_minor": 6999,
        "isolation": Isolation.SILOED, "throttle_rate": Decimal(100), "throttle_burst": 50, "quota_limit": 50000, "quota_period": "MONTH",
        "max_api_keys": 10, "spare_target": 2, "pool_size": None,
    },
]  # fmt: skip


class Command(BaseCommand):
    help = "Create the tiers Test, Free, Basic and Premium on every registered stage. Tiers that exist are left as they are."

    def handle(self, *args: Any, **options: Any) -> None:
        if not Stage.objects.exists():
            raise CommandError("No stage is registered yet; run `manage.py connect_gateway` first.")
        for tier in seed_tiers(Actor.command("seed_tiers")):
            self.stdout.write(f"{tier.name}: {words.limits_text(tier)}, {words.price_text(tier)}")


def seed_tiers(actor: Actor) -> list[Tier]:
    """Create those of TIERS that do not exist; the created ones."""
    known = set(Tier.objects.values_list("slug", flat=True))
    stages = list(Stage.objects.all())
    return [catalog.create_tier(currency="USD", stages=stages, actor=actor, **seed) for seed in TIERS if seed["slug"] not in known]
