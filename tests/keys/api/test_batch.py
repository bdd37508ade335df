"""POST /keys/batch."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from keys import values
from keys.models import ApiKey, Tier
from keys.services import catalog, tenants
from tenants.audit import SYSTEM
from tenants.models import AuditEvent, Tenant
from tests.keys.api.asking import refusal, wrong_fields
from tests.support.api import ApiClient
from tests.support.factories import bring_into_service, make_tier

pytestmark = pytest.mark.django_db


@pytest.fixture
def free() -> Tier:
    tier = make_tier(slug="free", name="Free", pool_size=3, max_api_keys=5000)
    bring_into_service()
    return tier


def items(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"tier": "free", "name": f"Branch {number}", **more} for number in range(count)]


def test_each_item_has_its_outcome_in_the_order_of_the_request(api: ApiClient, free: Tier) -> None:
    make_tier(slug="small", name="Small", max_api_keys=1)
    catalog.retire_tier(tier=make_tier(slug="old"), actor=SYSTEM)
    wanted = [
        {"tier": "small", "name": "First"},
        {"tier": "none", "name": "Second"},
        {"tier": "small", "name": "Third"},
        {"tier": "old", "name": "Fourth"},
        {"tier": "free", "name": "Fifth", "description": "Till"},
    ]

    answer = api.post("/keys/batch", {"items": wanted})

    body = answer.json()
    assert (answer.status_code, body["bought"], body["refused"]) == (200, 2, 3)
    outcomes = body["outcomes"]
    assert [(each["index"], each["status"]) for each in outcomes] == [(0, 201), (1, 400), (2, 409), (3, 409), (4, 201)]
    assert [each["problem"] is None for each in outcomes] == [True, False, False, False, True]
    assert [each["key"] is None for each in outcomes] == [False, True, True, True, False]
    assert outcomes[1]["problem"]["errors"] == [{"field": "tier", "detail": "There is no tier “none”."}]
    assert outcomes[2]["problem"]["detail"].startswith("You have 1 key of the Small tier")
    assert outcomes[2]["problem"]["type"].endswith("/docs/errors/refused/")
    for each in (outcomes[0]["key"], outcomes[4]["key"]):
        bought = ApiKey.objects.get(pk=each["id"])
        assert each["credential"] == values.decrypt(bought.gateway_key.value_encrypted)
        assert {**api.get(f"/keys/{each['id']}").json(), "credential": each["credential"]} == each
    assert (outcomes[4]["key"]["description"], outcomes[4]["key"]["status"]) == ("Till", "ready")
    assert sorted(AuditEvent.objects.filter(target_type="apikey").values_list("action", flat=True)) == [
        "api_key.bought",
        "api_key.bought",
        "api_key.revealed",
        "api_key.revealed",
    ]


def test_thousand_at_once(api: ApiClient, acme: Tenant, free: Tier) -> None:
    body = api.post("/keys/batch", {"items": items(1000)}, Idempotency_Key="all").json()
    assert (body["bought"], body["refused"]) == (1000, 0)
    assert ApiKey.objects.of(acme).count() == 1000
    assert len({each["key"]["id"] for each in body["outcomes"]}) == 1000

    again = api.post("/keys/batch", {"items": items(1000)}, Idempotency_Key="all")
    assert (again.json(), again["Idempotent-Replayed"]) == (body, "true")
    assert ApiKey.objects.of(acme).count() == 1000


def test_queries_do_not_grow_with_items(api: ApiClient, free: Tier) -> None:
    api.get("/tiers")
    counts = []
    for count in (1, 10, 100):
        with CaptureQueriesContext(connection) as queries:
            assert api.post("/keys/batch", {"items": items(count)}).json()["bought"] == count
        counts.append(len(queries))
    assert counts[0] == counts[1]
    # SQLite takes 999 parameters a statement, so a few of its INSERTs are cut in two.
    assert counts[2] <= counts[0] + (4 if connection.vendor == "sqlite" else 0)


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, {"items"}),
        ({"items": []}, {"items"}),
        ({"items": {}}, {"items"}),
        ({"items": None}, {"items"}),
        ({"items": items(1001)}, {"items"}),
        ({"items": [*items(2), {"tier": "free"}, 5]}, {"items.2.name", "items.3"}),
        ({"items": items(2, slot=1)}, {"items.0.slot", "items.1.slot"}),
        ({"items": items(1), "dry_run": True}, {"dry_run"}),
    ],
)
def test_malformed_batch_is_refused_whole(api: ApiClient, free: Tier, body: Any, wrong: set[str]) -> None:
    assert wrong_fields(api.post("/keys/batch", body)) == wrong
    assert not ApiKey.objects.exists()


def test_unreadable_credential_buys_nothing(api: ApiClient, free: Tier) -> None:
    free.pool.gateway_keys.filter(position=0).update(value_encrypted="nonsense")
    assert refusal(api.post("/keys/batch", {"items": items(6)})) == (409, "refused")
    assert not ApiKey.objects.exists()


def test_suspended_organisation_buys_nothing(api: ApiClient, acme: Tenant, free: Tier) -> None:
    tenants.suspend(tenant=acme, reason="Test", actor=SYSTEM)
    body = api.post("/keys/batch", {"items": items(2)}).json()
    assert [each["status"] for each in body["outcomes"]] == [409, 409]
    assert body["outcomes"][0]["problem"]["detail"].startswith("Acme is suspended.")
