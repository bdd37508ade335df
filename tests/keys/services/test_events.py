"""What webhooks are told of API keys: when, how often, and nothing that is secret."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from keys import values
from keys.models import ApiKey, GatewayKey, KeyRole, Tier, UsageDay, UsagePlan
from keys.moving import tell_moved
from keys.services import api_keys, pools, purchases
from keys.sync.quota import is_wanted, tell_quota
from keys.sync.ready import tell_ready
from tenants.audit import SYSTEM
from tenants.models import EventType, Tenant, WebhookDelivery, WebhookEvent
from tenants.webhooks import endpoints
from tenants.webhooks.deliver import request_for
from tests.support.factories import bring_into_service, buy, make_stage, make_tenant, make_tier
from tests.support.processes import at_once

pytestmark = pytest.mark.django_db

ALL = [str(each) for each in endpoints.TYPES]


@pytest.fixture(autouse=True)
def _no_bells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenants.webhooks.bell._ring_now", lambda: None)
    monkeypatch.setattr("keys.services.bell._ring_now", lambda gateway_id: None)


def listen(tenant: Tenant, types: list[str] | None = None) -> None:
    endpoints.register(tenant=tenant, url="https://hooks.example.com/", types=types or ALL, actor=SYSTEM)


@pytest.fixture
def told(acme: Tenant) -> Callable[[], list[str]]:
    """Acme listens to everything; the types that were told, in order."""
    listen(acme)

    def types() -> list[str]:
        return [delivery.event.type for delivery in WebhookDelivery.objects.select_related("event").order_by("pk")]

    return types


def last() -> dict[str, Any]:
    return dict(WebhookDelivery.objects.select_related("event").order_by("-pk")[0].event.data)


# key.ready


def test_key_that_is_ready_at_once_is_told_of_in_the_purchase(acme: Tenant, told: Callable[[], list[str]]) -> None:
    tier = make_tier(pool_size=1)
    bring_into_service()

    api_key = buy(acme, tier, name="Shop", description="Till 1")

    assert told() == ["key.ready"]
    api_key.refresh_from_db()
    assert not api_key.awaits_ready
    assert last() == {
        "id": str(api_key.pk),
        "name": "Shop",
        "description": "Till 1",
        "tier": tier.slug,
        "status": "ready",
        "last_four": api_key.gateway_key.last_four,
        "credential_ready": True,
        "endpoint": "http://127.0.0.1:4510/_aws/execute-api/groceries/v1",
        "created_at": api_key.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "disabled_at": None,
        "revoked_at": None,
    }
    assert tell_ready() == 0


def test_key_that_has_to_be_made_is_told_of_once_it_is_ready(acme: Tenant, told: Callable[[], list[str]]) -> None:
    api_key = buy(acme, make_tier())
    assert ApiKey.objects.get().awaits_ready
    assert (tell_ready(), told()) == (0, [])

    bring_into_service()

    assert (tell_ready(), tell_ready(), told()) == (1, 0, ["key.ready"])
    assert last()["id"] == str(api_key.pk)
    assert not ApiKey.objects.get().awaits_ready


def test_many_at_once_are_told_of_each(acme: Tenant, told: Callable[[], list[str]]) -> None:
    tier = make_tier(pool_size=2, max_api_keys=500)
    bring_into_service()

    bought = purchases.buy_many(tenant=acme, items=[purchases.Item(tier=tier, name=f"Key {number}") for number in range(230)], actor=SYSTEM)

    assert told() == ["key.ready"] * 230
    assert {event.subject for event in WebhookEvent.objects.all()} == {str(each.pk) for each in bought if isinstance(each, ApiKey)}


def test_tenant_without_webhooks_costs_nothing_more(acme: Tenant, outsiders: Tenant) -> None:
    tier = make_tier(pool_size=1)
    bring_into_service()
    listen(outsiders)

    with CaptureQueriesContext(connection) as captured:
        api_key = buy(acme, tier)

    statements = [query["sql"] for query in captured if "webhook" in query["sql"]]
    assert len(statements) == 1  # the one that locks the tenant's row asks along with it
    assert '"tenants_tenant"' in statements[0]
    assert not ApiKey.objects.get(pk=api_key.pk).awaits_ready
    assert not WebhookEvent.objects.exists()


@pytest.mark.parametrize("types", [["key.revoked"], ["quota.80", "quota.100"]])
def test_who_did_not_ask_for_ready_keys_is_not_told(acme: Tenant, types: list[str]) -> None:
    listen(acme, types)

    buy(acme, make_tier())

    assert not ApiKey.objects.get().awaits_ready


def test_purchase_that_is_rolled_back_tells_nothing(acme: Tenant, told: Callable[[], list[str]]) -> None:
    tier = make_tier(pool_size=1)
    bring_into_service()
    with transaction.atomic():
        buy(acme, tier)
        transaction.set_rollback(True)

    assert told() == []


def test_second_click_tells_nothing(acme: Tenant, told: Callable[[], list[str]]) -> None:
    tier, token = make_tier(pool_size=1), uuid.uuid4()
    bring_into_service()

    for _ in range(2):
        buy(acme, tier, purchase_token=token)

    assert told() == ["key.ready"]


@pytest.mark.parametrize("end", [api_keys.disable, api_keys.revoke])
def test_key_that_is_disabled_or_revoked_before_it_was_ready(acme: Tenant, told: Callable[[], list[str]], end: Callable[..., Any]) -> None:
    api_key = buy(acme, make_tier())
    end(api_key=api_key, actor=SYSTEM)
    bring_into_service()

    assert tell_ready() == 0
    assert "key.ready" not in told()


def test_suspended_tenants_key_is_told_of_when_it_works_again(acme: Tenant, told: Callable[[], list[str]]) -> None:
    buy(acme, make_tier())
    bring_into_service()
    Tenant.objects.filter(pk=acme.pk).update(suspended_at=timezone.now())
    assert tell_ready() == 0

    Tenant.objects.filter(pk=acme.pk).update(suspended_at=None)

    assert tell_ready() == 1


# What tenants and staff do


def test_life_of_a_siloed_key(acme: Tenant, told: Callable[[], list[str]]) -> None:
    api_key = buy(acme, make_tier())
    bring_into_service()
    tell_ready()

    api_keys.rotate(api_key=api_key, grace=timedelta(hours=1), actor=SYSTEM)
    rotated = last()
    bring_into_service()
    tell_ready()
    api_keys.disable(api_key=api_key, actor=SYSTEM)
    api_keys.disable(api_key=api_key, actor=SYSTEM)
    disabled = last()
    GatewayKey.objects.update(in_service_at=None)
    api_keys.enable(api_key=api_key, actor=SYSTEM)
    assert tell_ready() == 0
    bring_into_service()
    tell_ready()
    api_keys.revoke(api_key=api_key, actor=SYSTEM)
    api_keys.revoke(api_key=api_key, actor=SYSTEM)

    assert told() == ["key.ready", "key.rotated", "key.ready", "key.disabled", "key.ready", "key.revoked"]
    assert (rotated["status"], disabled["status"], last()["status"]) == ("ready", "disabled", "revoked")
    assert (rotated["credential_ready"], disabled["credential_ready"]) == (False, False)
    assert rotated["old_credential_ends_at"] > rotated["created_at"]
    api_key.refresh_from_db()
    assert last()["last_four"] == api_key.gateway_key.last_four


def test_rotation_served_by_a_spare_works_at_once(acme: Tenant, told: Callable[[], list[str]]) -> None:
    tier = make_tier(spare_target=2)
    bring_into_service()
    api_key = buy(acme, tier)

    api_keys.rotate(api_key=api_key, grace=timedelta(0), actor=SYSTEM)

    assert told() == ["key.ready", "key.rotated"]
    assert last()["status"] == "ready"
    assert not ApiKey.objects.get().awaits_ready


def test_replaced_pool_key_is_a_rotation_to_its_tenants(acme: Tenant, outsiders: Tenant, told: Callable[[], list[str]]) -> None:
    tier = make_tier(pool_size=1)
    bring_into_service()
    buy(acme, tier), buy(outsiders, tier)

    pools.replace_pool_key(gateway_key=GatewayKey.objects.get(role=KeyRole.POOL), grace=timedelta(days=1), actor=SYSTEM)

    assert told() == ["key.ready", "key.rotated"]
    assert (last()["status"], last()["credential_ready"]) == ("ready", False)  # the old one works
    assert dict(ApiKey.objects.values_list("tenant__name", "awaits_ready")) == {"Acme": True, "Outsiders": False}
    bring_into_service()
    tell_ready()
    assert told() == ["key.ready", "key.rotated", "key.ready"]
    assert (last()["status"], last()["credential_ready"]) == ("ready", True)


def test_shrunk_pool_is_a_rotation_to_those_who_move(acme: Tenant, told: Callable[[], list[str]]) -> None:
    tier = make_tier(pool_size=3)
    bring_into_service()
    bought = [buy(acme, tier) for _ in range(6)]
    before = {api_key.pk: api_key.gateway_key_id for api_key in bought}

    pools.resize_pool(tier=tier, size=1, actor=SYSTEM)

    moved = {str(pk) for pk, place in ApiKey.objects.values_list("pk", "gateway_key") if place != before[pk]}
    events = WebhookEvent.objects.filter(type="key.rotated")
    assert {event.subject for event in events} == moved
    assert len(moved) == len(events) == 4


def test_moves_cost_the_same_however_many_move(acme: Tenant, told: Callable[[], list[str]]) -> None:
    def queries(count: int) -> int:
        tier = make_tier(pool_size=1, max_api_keys=100)
        bring_into_service()
        moved = [buy(acme, tier) for _ in range(count)]
        with CaptureQueriesContext(connection) as captured:
            tell_moved(moved, timezone.now())
        return len(captured)

    assert queries(1) == queries(40)


# Quota


def use(api_key: ApiKey, used: int, day: datetime) -> None:
    UsageDay.objects.update_or_create(
        gateway_key_id=api_key.gateway_key_id, date=day.date(), defaults={"used": used, "remaining": 0, "read_at": timezone.now()}
    )


def read(tier: Tier, now: datetime) -> None:
    with transaction.atomic():
        tell_quota(UsagePlan.objects.select_related("tier").get(tier=tier), now)


def test_quota_is_told_once_a_threshold_and_period(acme: Tenant, told: Callable[[], list[str]]) -> None:
    tier = make_tier(quota_limit=1001, quota_period="MONTH")
    api_key = buy(acme, tier)
    day = datetime(2026, 11, 5, 12, tzinfo=UTC)

    for used, expected in [(800, []), (801, ["quota.80"]), (900, ["quota.80"]), (1001, ["quota.80", "quota.100"])] * 2:
        use(api_key, used, day)
        read(tier, day)
        if len(told()) < 2:
            assert told() == expected

    assert told() == ["quota.80", "quota.100"]
    assert last()["quota"] == {
        "used": 1001,
        "limit": 1001,
        "period": "MONTH",
        "starts_at": "2026-11-01T00:00:00.000Z",
        "resets_at": "2026-12-01T00:00:00.000Z",
    }
    assert last()["id"] == str(api_key.pk)
    later = datetime(2026, 12, 1, 1, tzinfo=UTC)
    read(tier, later)
    assert len(told()) == 2  # a new period, with nothing used
    use(api_key, 5000, later)
    read(tier, later)
    assert told() == ["quota.80", "quota.100"] * 2


def test_days_of_a_period_are_added_up(acme: Tenant, told: Callable[[], list[str]]) -> None:
    tier = make_tier(quota_limit=100, quota_period="WEEK")
    api_key = buy(acme, tier)
    monday = datetime(2026, 11, 16, 9, tzinfo=UTC)
    use(api_key, 90, monday - timedelta(days=1))  # last week
    for day in range(4):
        use(api_key, 20, monday + timedelta(days=day))

    read(tier, monday + timedelta(days=3))

    assert told() == ["quota.80"]
    assert last()["quota"]["used"] == 80


@pytest.mark.usefixtures("told")
def test_quota_of_others_and_of_ended_keys_is_not_told(acme: Tenant, outsiders: Tenant) -> None:
    tier = make_tier(quota_limit=10)
    for api_key in (buy(outsiders, tier), revoked := buy(acme, tier)):
        use(api_key, 10, timezone.now())
    api_keys.revoke(api_key=revoked, actor=SYSTEM)
    unlimited = make_tier(quota_limit=None, quota_period="")
    use(buy(acme, unlimited), 10**9, timezone.now())

    read(tier, timezone.now())
    read(unlimited, timezone.now())

    assert not WebhookEvent.objects.filter(type__startswith="quota").exists()


def test_quota_costs_the_same_however_many_keys(acme: Tenant) -> None:
    assert not is_wanted()
    listen(acme, ["quota.80"])
    assert is_wanted()

    def queries(count: int) -> int:
        tier = make_tier(quota_limit=10, max_api_keys=100)
        for _ in range(count):
            use(buy(acme, tier), 9, timezone.now())
        with CaptureQueriesContext(connection) as captured:
            read(tier, timezone.now())
        assert WebhookEvent.objects.filter(data__tier=tier.slug).count() == count
        return len(captured)

    assert queries(1) == queries(40)


# Secrets


def test_no_credential_and_no_isolation_in_anything_that_is_sent(acme: Tenant, told: Callable[[], list[str]]) -> None:
    siloed, pooled = make_tier(quota_limit=10), make_tier(pool_size=2, quota_limit=10)
    bring_into_service()
    one, two = buy(acme, siloed), buy(acme, pooled)
    bring_into_service()
    tell_ready()
    use(one, 10, timezone.now())
    read(siloed, timezone.now())
    api_keys.rotate(api_key=one, grace=timedelta(hours=1), actor=SYSTEM)
    bring_into_service()
    api_keys.disable(api_key=one, actor=SYSTEM)
    pools.replace_pool_key(gateway_key=GatewayKey.objects.get(api_keys=two), grace=timedelta(0), actor=SYSTEM)
    for api_key in (one, two):
        api_keys.revoke(api_key=api_key, actor=SYSTEM)
    assert set(told()) == {str(each) for each in EventType} - {"webhook.test"}

    sent, bodies = [], b""
    for delivery in WebhookDelivery.objects.select_related("event", "endpoint"):
        headers, body = request_for(delivery.endpoint, delivery.event, timezone.now())
        sent.append(json.dumps(headers) + body.decode())
        bodies += body
    everything = "\n".join(sent)

    assert len(sent) >= 9
    for gateway_key in GatewayKey.objects.all():
        value = values.decrypt(gateway_key.value_encrypted)
        for secret in (value, value[3:20], gateway_key.value_encrypted, gateway_key.value_sha256, str(gateway_key.pk)):
            assert secret not in everything
    for word in ("silo", "pool", "isolation", "slot", "gateway_key", "whsec_"):
        assert word.encode() not in bodies  # signatures are random letters


# Races


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_eight_sweeps_beside_purchases_tell_of_each_key_once(acme: Tenant) -> None:
    listen(acme)
    make_stage()
    tiers = [make_tier(max_api_keys=1000), make_tier(pool_size=2, max_api_keys=1000)]
    bring_into_service()

    def work(number: int) -> int:
        for attempt in range(15):
            if number % 2:
                buy(acme, tiers[attempt % 2])
            else:
                bring_into_service()
                tell_ready()
        return 0

    at_once(work)
    bring_into_service()
    tell_ready()

    ready = list(WebhookEvent.objects.filter(type="key.ready").values_list("subject", flat=True))
    assert len(ready) == len(set(ready)) == ApiKey.objects.count() == 60
    assert WebhookDelivery.objects.count() == 60
    assert not ApiKey.objects.filter(awaits_ready=True).exists()


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_eight_processes_telling_at_once(acme: Tenant) -> None:
    listen(acme)
    tier = make_tier(max_api_keys=1000)
    for _ in range(50):
        buy(acme, tier)
    bring_into_service()

    def work(_number: int) -> int:
        return sum(tell_ready() for _ in range(3))

    assert sum(at_once(work)) == 50
    assert WebhookEvent.objects.count() == 50


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_revoking_while_it_is_told_leaves_a_true_order(acme: Tenant) -> None:
    """A key is never told to be ready after it was told to be revoked."""
    listen(acme)
    tier = make_tier(max_api_keys=1000)
    bought = [buy(acme, tier) for _ in range(40)]
    bring_into_service()

    def work(number: int) -> int:
        if number == 0:
            for api_key in bought:
                api_keys.revoke(api_key=api_key, actor=SYSTEM)
        else:
            for _ in range(30):
                tell_ready()
        return 0

    at_once(work, processes=3)

    for api_key in bought:
        types = [row.event.type for row in WebhookDelivery.objects.filter(subject=str(api_key.pk)).select_related("event").order_by("pk")]
        assert types in (["key.revoked"], ["key.ready", "key.revoked"])


def test_ready_goes_to_its_own_tenant_alone(acme: Tenant) -> None:
    listen(acme)
    buy(make_tenant(), make_tier())
    bring_into_service()

    assert (tell_ready(), WebhookEvent.objects.count()) == (0, 0)
