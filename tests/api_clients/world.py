"""A small world to call: Acme with keys of every kind, a tenant that must see none of it, staff, and a token for each."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

from django.db.models import Model
from django.utils import timezone

from keys.models import Adoption, ApiKey, Gateway, GatewayKey, Pool, Stage, Tier
from keys.proposals import KeySeen, PlanSeen, Proposal
from keys.services import adoptions
from keys.services import tenants as suspension
from keys.services.purchases import UnableToBuyKey
from tenants.audit import SYSTEM
from tenants.models import Role, Scope, Tenant, Token, WebhookEndpoint
from tenants.webhooks import endpoints
from tests.support.api import token_for
from tests.support.cast import make_member, make_user
from tests.support.factories import bring_into_service, buy, make_gateway, make_stage, make_tier

# Stands in whatever is Acme's: no answer to another tenant may hold it.
MARK = "zqx-acme"


@dataclass(kw_only=True)
class World:
    """Tokens by identity, and ids by the part of the path that stands before them."""

    tokens: dict[str, str]
    kept: list[uuid.UUID]
    ids: dict[str, list[str]] = field(default_factory=dict)
    slugs: list[str] = field(default_factory=list)
    acme: Tenant
    outsiders: Tenant

    def refill(self) -> None:
        """Undo what would end the round: tokens revoked, tenants suspended, tiers closed, no keys left; and learn the ids anew."""
        Token.objects.filter(pk__in=self.kept).update(revoked_at=None, expires_at=None)
        for tenant in (self.acme, self.outsiders):
            tenant.refresh_from_db()
            if tenant.suspended_at is not None:
                suspension.resume(tenant=tenant, actor=SYSTEM)
        Tier.objects.filter(slug__in=self.slugs).update(retired_at=None, max_api_keys=10_000)
        Gateway.objects.update(accepts_keys=True, capacity=10_000)
        for tenant in (self.acme, self.outsiders):
            if ApiKey.objects.filter(tenant=tenant, revoked_at=None).count() < 3:
                for slug in self.slugs:
                    try:
                        buy(tenant, Tier.objects.get(slug=slug), name=MARK if tenant == self.acme else "Theirs")
                    except UnableToBuyKey:
                        continue
        bring_into_service()
        self._propose()
        self._learn()

    def _propose(self) -> None:
        """See to it that an adoption waits for a decision."""
        if not Adoption.objects.filter(confirmed_at=None, withdrawn_at=None).exists():
            adoption = adoptions.ask(gateway=Gateway.objects.order_by("pk")[0], actor=SYSTEM)
            stages = [stage.remote_key for stage in Stage.objects.all()]
            seen = PlanSeen(
                id="p1", name="Old", rate=Decimal(1), burst=1, quota_limit=None, quota_period="", stages=tuple(stages),
                keys=(KeySeen(id="k1", name="Old", enabled=True),),
            )  # fmt: skip
            proposal = Proposal(plans=(seen,), loose_keys=1).as_json()
            Adoption.objects.filter(pk=adoption.pk).update(proposal=proposal, proposed_at=timezone.now())

    def _learn(self) -> None:
        acmes = {"tenant": self.acme}
        self.ids = {
            "keys": _some(ApiKey, **acmes),
            "tokens": [pk for pk in _some(Token, **acmes) if uuid.UUID(pk) not in self.kept],
            "webhooks": _some(WebhookEndpoint, **acmes),
            "staff/keys": _some(ApiKey),
            "staff/tiers": _some(Tier),
            "staff/gateways": _some(Gateway),
            "staff/stages": _some(Stage),
            "staff/adoptions": _some(Adoption),
            "staff/pools": _some(Pool),
            "staff/gateway-keys": _some(GatewayKey),
            "staff/tenants": _some(Tenant),
        }


def _some(model: type[Model], **where: object) -> list[str]:
    return [str(pk) for pk in model._default_manager.filter(**where).order_by("pk").values_list("pk", flat=True)[:8]]


def make_world() -> World:
    """All rows and tokens."""
    stage = make_stage(make_gateway(capacity=10_000))
    many = {"max_api_keys": 10_000, "stage": stage}
    tiers = [make_tier(slug="free", **many), make_tier(slug="gold", **many), make_tier(slug="shared", pool_size=3, **many)]
    acme, outsiders = Tenant.objects.create(name=f"Acme {MARK}"), Tenant.objects.create(name="Outsiders")
    owner, reader = make_member(f"owner@{MARK}.example", acme), make_member(f"reader@{MARK}.example", acme, Role.VIEWER)
    other = make_member("owner@outsiders.example", outsiders)
    staff = make_user("staff@example.com", is_staff=True, is_superuser=True)
    reading = [Scope.KEYS_READ, Scope.USAGE_READ, Scope.TENANT_READ]
    tokens = {
        "owner": token_for(owner, name=f"{MARK} CI"),
        "read-only": token_for(reader, scopes=reading, name=f"{MARK} reader"),
        "other": token_for(other),
        "staff": token_for(staff),
    }
    kept = list(Token.objects.values_list("pk", flat=True))
    for number in range(3):
        token_for(owner, name=f"{MARK} {number}", expires_at=timezone.now() + timedelta(days=number + 1))
        endpoints.register(tenant=acme, url=f"https://example.com/{MARK}/{number}", types=["key.ready"], description=MARK, actor=SYSTEM)
        for tier in tiers:
            buy(acme, tier, name=f"{MARK} {number}", description=MARK)
    buy(outsiders, tiers[0], name="Theirs")
    world = World(tokens=tokens, kept=kept, acme=acme, outsiders=outsiders, slugs=[tier.slug for tier in tiers])
    world.refill()
    return world
