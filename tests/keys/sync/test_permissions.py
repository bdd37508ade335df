"""What the workers may do on a gateway: looked up when staff ask, and work goes on with what is allowed."""

from typing import Any

import pytest
from django.utils import timezone

from keys.models import Gateway, GatewayKey
from keys.services import api_keys, gateways
from keys.sync import due
from keys.sync.converge import converge
from tenants.audit import SYSTEM
from tests.support.factories import buy, make_gateway, make_stage, make_tenant, make_tier
from tests.support.sandbox import SandboxProcess, World

pytestmark = pytest.mark.django_db
ROLE = "arn:aws:iam::222222222222:role/tollgate"


@pytest.fixture(autouse=True)
def _quick(settings: Any) -> None:
    settings.GATEWAY_PACING = "off"


@pytest.fixture
def west(accounts: SandboxProcess) -> World:
    accounts.role(ROLE, external_id="right")
    return accounts.world("222222222222:eu-west-1", "fruit:v1")


@pytest.fixture
def gateway(west: World) -> Gateway:
    gateway = make_gateway(account_id="222222222222", region="eu-west-1", role_arn=ROLE, external_id="right")
    make_stage(gateway, rest_api_id="fruit")
    return gateway


def test_check_is_made_by_the_worker_once_and_changes_nothing(gateway: Gateway, west: World, accounts: SandboxProcess) -> None:
    converge(gateway.pk)
    accounts.role(ROLE, external_id="right", deny=["DeleteApiKey", "GetUsage"])
    gateways.request_check(gateway=gateway, actor=SYSTEM)
    assert due.check_is_due(Gateway.objects.get())

    converge(gateway.pk)

    found = Gateway.objects.get()
    assert [each["operation"] for each in found.permissions_missing] == ["GetUsage", "DeleteApiKey"]
    assert found.permissions_missing[1]["words"].startswith(
        "apigateway:DELETE on /apikeys/*: Revoked keys are disabled but not deleted: they take room."
    )
    assert not due.check_is_due(found)
    assert (west.state()["keys"], west.state()["plans"]) == ([], [])
    calls = west.state()["calls"]
    converge(gateway.pk)
    assert west.state()["calls"].get("CreateUsagePlan", 0) == calls.get("CreateUsagePlan", 0)


def test_check_that_could_not_be_made_is_made_again(gateway: Gateway, west: World, accounts: SandboxProcess) -> None:
    gateways.request_check(gateway=gateway, actor=SYSTEM)
    west.fault(kind="error", operation="UpdateApiKey", count=1)

    converge(gateway.pk)
    assert due.check_is_due(Gateway.objects.get())

    converge(gateway.pk)
    assert Gateway.objects.get().permissions_missing == []
    assert not due.check_is_due(Gateway.objects.get())


def test_role_that_cannot_be_taken_on_opens_the_circuit_and_says_why(gateway: Gateway, accounts: SandboxProcess) -> None:
    accounts.role(ROLE, external_id="changed")

    for _turn in range(3):
        converge(gateway.pk)

    found = Gateway.objects.get()
    assert f"take on the role {ROLE}" in found.last_error
    assert found.failures >= 1


def test_keys_are_sold_by_a_role_that_may_not_delete_and_the_rest_says_what_lacks(
    gateway: Gateway, west: World, accounts: SandboxProcess
) -> None:
    accounts.role(ROLE, external_id="right", deny=["DeleteApiKey"])
    tier = make_tier(gateways=[gateway])
    old = buy(make_tenant(), tier)
    converge(gateway.pk)
    api_keys.revoke(api_key=old, actor=SYSTEM)
    converge(gateway.pk)

    new = buy(make_tenant(), tier)
    converge(gateway.pk)

    assert GatewayKey.objects.get(pk=new.gateway_key_id).is_in_service(timezone.now())
    revoked = GatewayKey.objects.get(pk=old.gateway_key_id)
    assert "apigateway:DELETE on /apikeys/" in revoked.last_error
    assert Gateway.objects.get().failures == 0
