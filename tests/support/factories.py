"""Rows for tests, made through the services wherever a service makes them."""

import itertools
import uuid
from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db.models import F
from django.utils import timezone

from keys.models import ApiKey, Gateway, GatewayKey, Isolation, Stage, Tier, UsagePlan
from keys.services import catalog, gateways, purchases
from keys.stock import add_spares, end_spares
from tenants.audit import SYSTEM, Actor
from tenants.models import Tenant

_numbers = itertools.count(1)


def make_tenant(name: str = "") -> Tenant:
    return Tenant.objects.create(name=name or f"Tenant {next(_numbers)}")


def make_gateway(**fields: Any) -> Gateway:
    number = next(_numbers)
    values = {"name": f"Gateway {number}", "account_id": f"{number:012d}", "region": "us-east-1", "propagation_seconds": 0}
    return gateways.register_gateway(actor=SYSTEM, **{**values, **fields})


def make_stage(gateway: Gateway | None = None, **fields: Any) -> Stage:
    values = {"rest_api_id": "groceries", "name": "v1", "invoke_url": "http://127.0.0.1:4510/_aws/execute-api/groceries/v1"}
    return gateways.register_stage(gateway=gateway or make_gateway(), actor=SYSTEM, **{**values, **fields})


def make_tier(*, stage: Stage | None = None, gateways: Iterable[Gateway] = (), pool_size: int | None = None, **fields: Any) -> Tier:
    """A siloed tier; a pooled one when it gets a pool size. ``gateways``: it serves a stage of each of them."""
    number = next(_numbers)
    values: dict[str, Any] = {
        "slug": f"tier-{number}",
        "name": f"Tier {number}",
        "description": "",
        "position": number,
        "price_minor": 0,
        "currency": "USD",
        "throttle_rate": Decimal(10),
        "throttle_burst": 5,
        "quota_limit": 2000,
        "quota_period": "DAY",
        "max_api_keys": 10,
        "spare_target": 0,
    }
    isolation = Isolation.POOLED if pool_size else Isolation.SILOED
    stages = [gateway.stages.first() or make_stage(gateway) for gateway in gateways]
    return catalog.create_tier(
        stages=stages or [stage or Stage.objects.first() or make_stage()],
        pool_size=pool_size,
        isolation=isolation,
        actor=SYSTEM,
        **{**values, **fields},
    )


def buy(tenant: Tenant, tier: Tier, *, name: str = "Shop", actor: Actor = SYSTEM, **fields: Any) -> ApiKey:
    return purchases.buy(tenant=tenant, tier=tier, name=name, actor=actor, **{"purchase_token": uuid.uuid4(), **fields})


def keep_spares() -> None:
    """What the workers do about spares, on every gateway."""
    for plan in UsagePlan.objects.all():
        end_spares(plan)
        add_spares(plan)


def bring_into_service() -> None:
    """What the workers would have written once the gateway holds every desired key: for tests that need no gateway."""
    keep_spares()
    now = timezone.now()
    for plan in UsagePlan.objects.all():
        UsagePlan.objects.filter(pk=plan.pk).update(synced_revision=F("revision"), remote_id=plan.remote_id or plan.pk.hex[:10])
    for key in GatewayKey.objects.filter(removed_at=None):
        GatewayKey.objects.filter(pk=key.pk).update(
            synced_revision=F("revision"),
            name=key.name or f"tollgate-{key.pk.hex}",
            remote_id=key.remote_id or key.pk.hex[:10],
            in_service_at=key.in_service_at or now - timedelta(seconds=1),
        )
