"""Nothing that a tenant is answered tells how its keys are kept apart."""

from __future__ import annotations

from typing import Any

import pytest

from keys.models import ApiKey, GatewayKey, UsagePlan
from keys.services import api_keys
from tenants.audit import SYSTEM
from tenants.models import Tenant
from tests.support.api import ApiClient
from tests.support.factories import bring_into_service, buy, make_tier

pytestmark = pytest.mark.django_db
WORDS = ["silo", "pool", "isolation", "slot", "gateway_key", "gateway key", "shared", "cut_off", "spare", "usage_plan", "tenant"]


def names_of(value: Any, path: str = "") -> set[str]:
    """The names of all fields of an answer."""
    if isinstance(value, dict):
        return {f"{path}{name}" for name in value}.union(*(names_of(inner, f"{path}{name}.") for name, inner in value.items()))
    return set().union(*(names_of(inner, path) for inner in value)) if isinstance(value, list) else set()


def life(api: ApiClient, tier: str, api_key: ApiKey, doomed: ApiKey) -> list[Any]:
    """Every endpoint of the tenant's, with what it answers."""
    key = f"/keys/{api_key.pk}"
    return [
        api.get("/tiers"),
        api.get(f"/tiers/{tier}"),
        api.get("/keys"),
        api.get(key),
        api.post("/keys", {"tier": tier, "name": "New"}),
        api.post("/keys/batch", {"items": [{"tier": tier, "name": "New"}]}),
        api.patch(key, {"name": "Store"}),
        api.get(f"{key}/usage"),
        api.get("/usage"),
        api.post(f"{key}/reveal"),
        api.post(f"{key}/enable"),
        api.delete(f"/keys/{doomed.pk}"),
        api.get("/audit-events"),
        # Refused where the credential is shared
        api.post(f"{key}/rotate"),
        api.post(f"{key}/disable"),
    ]


def test_no_answer_tells_of_isolation(api: ApiClient, acme: Tenant) -> None:
    named = []
    for slug, pool_size in (("first", None), ("second", 2)):
        tier = make_tier(slug=slug, name=slug.title(), pool_size=pool_size, max_api_keys=100)
        api_key, doomed = buy(acme, tier), buy(acme, tier)
        bring_into_service()
        answers = life(api, slug, api_key, doomed)
        assert [answer.status_code for answer in answers[:13]] == [200] * 4 + [201] + [200] * 8
        assert [answer.status_code for answer in answers[13:]] == ([409, 409] if pool_size else [200, 200])
        for answer in answers:
            text = answer.content.decode().lower()
            assert [word for word in WORDS if word in text.replace("tenant:", "")] == []
            hidden = [*GatewayKey.objects.all(), *UsagePlan.objects.all()]
            assert [row for row in hidden if str(row.pk) in text or row.pk.hex in text] == []
        named.append([names_of(answer.json()) for answer in answers[:12]])
        api_keys.revoke(api_key=api_key, actor=SYSTEM)
    assert named[0] == named[1]
