"""Examples of the description are what the endpoints take and show."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from drf_spectacular.drainage import get_override
from rest_framework import serializers

from keys.api.staff import examples, urls  # noqa: F401 - the URLs import every shape
from keys.models import Finding, Gateway, ReconcileRun, UsageDay
from tenants.audit import Actor
from tenants.models import Tenant, User
from tests.support.api import ApiClient
from tests.support.factories import bring_into_service, buy, make_tier


def every_shape(kind: type[Any] = serializers.Serializer) -> dict[str, type[Any]]:
    found = {}
    for each in kind.__subclasses__():
        found.update({each.__name__: each, **every_shape(each)})
    return found


@pytest.mark.parametrize("name", sorted(examples._SHOWN))
def test_example_has_exactly_the_fields_that_are_shown(name: str) -> None:
    shape = every_shape()[name]
    assert get_override(shape, "examples")
    assert_fits(examples._SHOWN[name], shape())


@pytest.mark.parametrize("name", sorted(examples._TAKEN))
def test_example_is_taken(name: str) -> None:
    shape = every_shape()[name]
    assert get_override(shape, "examples")
    shape(data=examples._TAKEN[name]).is_valid(raise_exception=True)


def assert_fits(value: Any, field: Any) -> None:
    if isinstance(field, serializers.ListSerializer):
        for each in value:
            assert_fits(each, field.child)
    elif isinstance(field, serializers.Serializer) and value is not None:
        assert value.keys() == field.fields.keys(), type(field).__name__
        for name, inner in field.fields.items():
            assert_fits(value[name], inner)
    elif value is None:
        assert field.allow_null, field
    else:
        field.run_validation(value)


@pytest.mark.django_db
def test_answers_have_exactly_the_fields_that_are_described(staff: ApiClient, acme: Tenant, sam: User) -> None:
    pooled, siloed = make_tier(pool_size=1), make_tier()
    shared, own = buy(acme, pooled), buy(acme, siloed, actor=Actor(user=sam, label="Sam"))
    bring_into_service()
    gateway, now = own.gateway_key.gateway, timezone.now()
    run = ReconcileRun.objects.create(gateway=gateway, ended_at=now)
    Finding.objects.create(run=run, gateway=gateway, kind="extra", subject="gateway key", detail="x", action="y")
    UsageDay.objects.create(gateway_key=own.gateway_key, date=now.date(), used=7, read_at=now)
    Gateway.objects.update(lease_owner="worker-1", lease_expires_at=now + timedelta(minutes=1))
    lists = {
        "/staff/tiers": "StaffTierShape",
        "/staff/usage-plans": "UsagePlanShape",
        "/staff/gateways": "StaffGatewayShape",
        f"/staff/gateways/{gateway.pk}/stages": "StageShape",
        "/staff/pools": "PoolShape",
        "/staff/gateway-keys": "GatewayKeyShape",
        "/staff/tenants": "StaffTenantShape",
        "/staff/keys": "StaffKeyShape",
        "/staff/reconcile-runs": "ReconcileRunShape",
        "/staff/findings": "FindingShape",
        "/staff/usage/tenants": "TenantUsageShape",
        "/staff/audit-events": "StaffAuditEventShape",
        "/staff/tokens": "TokenShape",
    }
    single = {
        f"/staff/tiers/{pooled.pk}/preview": "TierPreviewsShape",
        f"/staff/pools/{pooled.pk}": "PoolDetailShape",
        f"/staff/pools/{pooled.pk}/preview?size=1": "MovePreviewShape",
        f"/staff/pools/{pooled.pk}/rebalance": "MovePreviewShape",
        f"/staff/keys/{shared.pk}": "StaffKeyShape",
        "/staff/usage": "StaffUsageShape",
    }
    shapes = every_shape()
    for path, name in lists.items():
        rows = staff.get(path).json()["data"]
        assert rows, path
        for row in rows:
            assert_fits(row, shapes[name]())
    for path, name in single.items():
        assert_fits(staff.get(path).json(), shapes[name]())
