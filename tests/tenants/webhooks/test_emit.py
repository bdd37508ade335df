"""The outbox: written with what happened, for those who listen, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tenants.models import EventType, Tenant, WebhookDelivery, WebhookEndpoint, WebhookEvent
from tenants.webhooks.emit import Happening, emit, emit_each
from tests.support.processes import at_once
from tests.tenants.webhooks.conftest import tell

pytestmark = pytest.mark.django_db


def test_nobody_listens_nothing_is_written(acme: Tenant, django_assert_num_queries: Any) -> None:
    def never() -> dict[str, Any]:
        raise AssertionError("asked for data that nobody wants")

    with django_assert_num_queries(1):
        assert emit(acme.pk, EventType.KEY_READY, "key-1", never) is None

    assert not WebhookEvent.objects.exists()


def test_a_delivery_for_each_endpoint_that_wants_the_type(
    acme: Tenant, outsiders: Tenant, register: Callable[..., WebhookEndpoint]
) -> None:
    first, second = register("https://a.example.com/"), register("https://b.example.com/", ["key.revoked", "quota.80"])
    register("https://c.example.com/", ["key.ready"])
    register("https://d.example.com/", tenant=outsiders)

    event = tell(acme)

    assert {delivery.endpoint for delivery in WebhookDelivery.objects.filter(event=event)} == {first, second}
    assert WebhookDelivery.objects.count() == 2
    assert {delivery.subject for delivery in WebhookDelivery.objects.all()} == {"key-1"}


@pytest.mark.parametrize("column", ["disabled_at", "deleted_at"])
def test_endpoints_that_do_not_listen_are_not_told(acme: Tenant, register: Callable[..., WebhookEndpoint], column: str) -> None:
    endpoint = register()
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(**{column: timezone.now()})

    assert tell(acme) is None


def test_rolled_back_with_the_change(acme: Tenant, register: Callable[..., WebhookEndpoint]) -> None:
    register()
    with transaction.atomic():
        tell(acme)
        transaction.set_rollback(True)

    assert not WebhookEvent.objects.exists()
    assert not WebhookDelivery.objects.exists()


def test_once_is_told_once(acme: Tenant, register: Callable[..., WebhookEndpoint]) -> None:
    register()
    for _ in range(3):
        emit(acme.pk, EventType.QUOTA_80, "key-1", {}, once="quota.80:key-1:2026-11-01")
    emit(acme.pk, EventType.QUOTA_80, "key-1", {}, once="quota.80:key-1:2026-12-01")

    assert (WebhookEvent.objects.count(), WebhookDelivery.objects.count()) == (2, 2)


def test_many_cost_no_more_queries_than_one(acme: Tenant, outsiders: Tenant, register: Callable[..., WebhookEndpoint]) -> None:
    register()
    register(tenant=outsiders)

    def happenings(count: int) -> list[Happening]:
        return [
            Happening(tenant_id=tenant.pk, type=EventType.QUOTA_100, subject=f"key-{number}", data={}, once=f"{count}:{tenant.pk}:{number}")
            for number in range(count)
            for tenant in (acme, outsiders)
        ]

    def queries(count: int) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert len(emit_each(happenings(count))) == 2 * count
        return len(captured)

    assert queries(1) == queries(30)


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_once_told_by_eight_processes_at_once_is_written_once(acme: Tenant, register: Callable[..., WebhookEndpoint]) -> None:
    register()

    def work(number: int) -> int:
        written = 0
        for each in range(20):
            with transaction.atomic():
                written += emit(acme.pk, EventType.QUOTA_80, "key", {"by": number}, once=f"quota.80:key:{each}") is not None
        return written

    assert sum(at_once(work)) == 20
    assert (WebhookEvent.objects.count(), WebhookDelivery.objects.count()) == (20, 20)
