"""Suspending a tenant, and resuming it."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from keys.models import ApiKey, GatewayKey, Priority, Status
from keys.services import api_keys, purchases, tenants
from keys.services.refusals import TenantSuspended
from tenants.audit import SYSTEM
from tenants.models import AuditEvent, Tenant
from tests.support.factories import bring_into_service, buy, make_tenant, make_tier

pytestmark = pytest.mark.django_db


def suspend(tenant: Tenant, reason: str = "Unpaid since May") -> Tenant:
    return tenants.suspend(tenant=tenant, reason=reason, actor=SYSTEM)


def resume(tenant: Tenant) -> Tenant:
    return tenants.resume(tenant=tenant, actor=SYSTEM)


def enabled(api_key: ApiKey) -> bool:
    return GatewayKey.objects.get(pk=api_key.gateway_key_id).enabled


def status(api_key: ApiKey) -> Status:
    return ApiKey.objects.get(pk=api_key.pk).status(timezone.now())


def test_own_keys_are_wanted_off_before_all_else(acme: Tenant) -> None:
    api_key, others = buy(acme, make_tier()), buy(make_tenant(), make_tier())
    bring_into_service()

    suspend(acme)

    key = GatewayKey.objects.get(pk=api_key.gateway_key_id)
    assert (key.enabled, key.priority, key.is_pending) == (False, Priority.REVOKE, True)
    assert (status(api_key), status(others)) == (Status.DISABLED, Status.READY)
    assert enabled(others)


def test_resumed_keys_are_wanted_on_again(acme: Tenant) -> None:
    api_key = buy(acme, make_tier())
    bring_into_service()
    suspend(acme)

    resume(acme)

    key = GatewayKey.objects.get(pk=api_key.gateway_key_id)
    assert (key.enabled, key.is_pending) == (True, True)
    assert status(api_key) is Status.READY


def test_key_that_was_disabled_by_hand_stays_so(acme: Tenant) -> None:
    by_hand, other = buy(acme, make_tier()), buy(acme, make_tier())
    bring_into_service()
    api_keys.disable(api_key=by_hand, actor=SYSTEM)

    suspend(acme)
    resume(acme)

    assert (enabled(by_hand), enabled(other)) == (False, True)
    assert (status(by_hand), status(other)) == (Status.DISABLED, Status.READY)


def test_old_credential_in_its_grace_is_cut_off_too(acme: Tenant) -> None:
    api_key = buy(acme, make_tier())
    bring_into_service()
    old = api_key.gateway_key_id
    api_keys.rotate(api_key=api_key, grace=timedelta(hours=1), actor=SYSTEM)

    suspend(acme)
    off = set(GatewayKey.objects.filter(enabled=False).values_list("pk", flat=True))
    resume(acme)

    assert len(off) == 2
    assert old in off
    assert not GatewayKey.objects.filter(enabled=False).exists()


def test_shared_value_is_not_touched_and_counted(acme: Tenant) -> None:
    pool = make_tier(pool_size=1)
    shared, stranger = buy(acme, pool), buy(make_tenant(), pool)
    buy(acme, make_tier())
    bring_into_service()

    suspend(acme)

    assert enabled(shared)
    assert (status(shared), status(stranger)) == (Status.DISABLED, Status.READY)
    assert AuditEvent.objects.get(action="tenant.suspended").data == {"reason": "Unpaid since May", "cut_off": 1, "not_cut_off": 1}


def test_twice_is_once(acme: Tenant) -> None:
    api_key = buy(acme, make_tier())

    first, second = suspend(acme), suspend(acme, "Another reason")
    revision = GatewayKey.objects.get(pk=api_key.gateway_key_id).revision
    resume(acme)
    resume(acme)

    assert first.suspended_at == second.suspended_at
    assert revision == 2
    assert AuditEvent.objects.filter(action__in=["tenant.suspended", "tenant.resumed"]).count() == 2
    assert GatewayKey.objects.get(pk=api_key.gateway_key_id).revision == 3


def test_tenant_without_keys_is_suspended_as_well(acme: Tenant) -> None:
    assert suspend(acme).suspended_at is not None
    assert resume(acme).suspended_at is None


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501, "a\0b"])
def test_reason_must_be_one(acme: Tenant, reason: str) -> None:
    with pytest.raises(tenants.UnableToSuspend, match="reason"):
        suspend(acme, reason)

    acme.refresh_from_db()
    assert acme.suspended_at is None


def test_buying_is_refused_whatever_the_caller_holds(acme: Tenant) -> None:
    tier = make_tier(pool_size=1)
    stale = Tenant.objects.get(pk=acme.pk)
    suspend(acme)

    with pytest.raises(purchases.UnableToBuyKey, match="Acme is suspended"):
        buy(stale, tier)

    assert not ApiKey.objects.exists()


def test_purchase_of_before_is_answered_again(acme: Tenant) -> None:
    tier, token = make_tier(pool_size=1), uuid.uuid4()
    before = buy(acme, tier, purchase_token=token)
    suspend(acme)

    assert buy(acme, tier, purchase_token=token) == before


def test_what_gives_access_is_refused_and_what_takes_it_is_not(acme: Tenant) -> None:
    api_key = buy(acme, make_tier())
    bring_into_service()
    suspend(acme)
    api_key = ApiKey.objects.get(pk=api_key.pk)

    for change in (
        lambda: api_keys.enable(api_key=api_key, actor=SYSTEM),
        lambda: api_keys.disable(api_key=api_key, actor=SYSTEM),
        lambda: api_keys.rotate(api_key=api_key, grace=timedelta(0), actor=SYSTEM),
        lambda: api_keys.reveal(api_key=api_key, actor=SYSTEM),
    ):
        with pytest.raises(TenantSuspended, match="Acme is suspended"):
            change()
    assert api_keys.rename(api_key=api_key, name="Till", description="", actor=SYSTEM).name == "Till"
    assert api_keys.revoke(api_key=api_key, actor=SYSTEM).revoked_at is not None


def test_revoked_key_stays_gone_after_resuming(acme: Tenant) -> None:
    api_key = buy(acme, make_tier())
    bring_into_service()
    suspend(acme)
    api_keys.revoke(api_key=api_key, actor=SYSTEM)

    resume(acme)

    key = GatewayKey.objects.get(pk=api_key.gateway_key_id)
    assert key.ends_at is not None
    assert not key.enabled


@pytest.mark.parametrize("count", [1, 40])
def test_statements_do_not_grow_with_the_keys(acme: Tenant, count: int) -> None:
    tier = make_tier(max_api_keys=100)
    purchases.buy_many(tenant=acme, items=[purchases.Item(tier=tier, name="Shop") for _ in range(count)], actor=SYSTEM)

    with CaptureQueriesContext(connection) as suspending:
        suspend(acme)
    with CaptureQueriesContext(connection) as resuming:
        resume(acme)

    assert len([query for query in suspending if "SAVEPOINT" not in query["sql"]]) == 6
    assert len([query for query in resuming if "SAVEPOINT" not in query["sql"]]) == 5
    assert GatewayKey.objects.filter(enabled=True, revision=3).count() == count


def test_one_bell_a_gateway(acme: Tenant, django_capture_on_commit_callbacks: Any) -> None:
    tier = make_tier(max_api_keys=100)
    purchases.buy_many(tenant=acme, items=[purchases.Item(tier=tier, name="Shop") for _ in range(5)], actor=SYSTEM)

    with django_capture_on_commit_callbacks() as callbacks:
        suspend(acme)

    assert len(callbacks) == 1
