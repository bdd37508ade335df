"""A gateway that forgot everything, and how it all comes back with the same credentials."""

from typing import Any

import pytest
from django.utils import timezone

from keys.models import Gateway, GatewayKey, ReconcileRun, Tier, UsagePlan
from keys.services import api_keys
from keys.sync.converge import converge
from tenants.audit import SYSTEM
from tests.keys.sync.conftest import remote_keys, retry_now, value_of
from tests.support.factories import buy, make_tenant, make_tier
from tests.support.sandbox import SandboxProcess


@pytest.fixture
def busy(converged: Gateway, tier: Tier, stage: object) -> Gateway:
    """A pool of three, two siloed keys in use, one of them disabled."""
    make_tier(stage=stage, pool_size=3)
    buy(make_tenant(), tier)
    off = buy(make_tenant(), tier)
    api_keys.disable(api_key=off, actor=SYSTEM)
    converge(converged.pk)
    return converged


def heartbeat_is_due() -> None:
    Gateway.objects.update(last_seen_at=None)


def test_everything_heals_with_the_same_values(busy: Gateway, sandbox: SandboxProcess) -> None:
    answers = {value_of(key): sandbox.invoke(value_of(key)).status for key in GatewayKey.objects.all()}
    assert sorted(answers.values()) == [200, 200, 200, 200, 403]
    sandbox.forget()
    assert {sandbox.invoke(value).status for value in answers} == {403}

    heartbeat_is_due()
    converge(busy.pk)

    assert {value: sandbox.invoke(value).status for value in answers} == answers
    assert not any(row.is_pending for row in [*GatewayKey.objects.all(), *UsagePlan.objects.all()])
    assert len(remote_keys(sandbox)) == 5
    assert len(sandbox.state()["plans"]) == 2


def test_healing_costs_calls_by_the_batch(busy: Gateway, sandbox: SandboxProcess) -> None:
    sandbox.forget()
    before = sandbox.state()["calls"]

    heartbeat_is_due()
    converge(busy.pk)

    after = sandbox.state()["calls"]
    assert after["ImportApiKeys"] - before["ImportApiKeys"] == 1
    assert sum(after.values()) - sum(before.values()) < 20


def test_keys_are_not_in_service_until_they_are_back(busy: Gateway, sandbox: SandboxProcess) -> None:
    sandbox.forget()
    sandbox.fault(kind="error", status=503, operation="ImportApiKeys", count=1)

    heartbeat_is_due()
    converge(busy.pk)

    assert not any(key.is_in_service(timezone.now()) for key in GatewayKey.objects.all())

    retry_now()
    converge(busy.pk)

    assert sum(key.is_in_service(timezone.now()) for key in GatewayKey.objects.all()) == 4


def test_purchase_notices_the_loss_before_the_heartbeat(busy: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    sandbox.forget()
    bought = buy(make_tenant(), tier)

    converge(busy.pk)
    retry_now()
    converge(busy.pk)

    key = GatewayKey.objects.get(pk=bought.gateway_key_id)
    assert sandbox.invoke(value_of(key)).status == 200
    assert len(remote_keys(sandbox)) == 6
    assert not any(row.is_pending for row in [*GatewayKey.objects.all(), *UsagePlan.objects.all()])


def test_short_list_of_plans_is_no_loss(busy: Gateway, monkeypatch: Any) -> None:
    """A plan that is not listed, but answers when asked for, is no reason to make anything anew."""
    from keys.gateway.client import GatewayClient

    list_plans = GatewayClient.list_plans
    monkeypatch.setattr(GatewayClient, "list_plans", lambda self, key_id="": list_plans(self, key_id)[1:])
    runs = ReconcileRun.objects.count()

    heartbeat_is_due()
    converge(busy.pk)

    assert ReconcileRun.objects.count() == runs
    assert not any(plan.is_pending for plan in UsagePlan.objects.all())


def test_key_that_vanished_alone_is_made_anew_when_it_is_switched(busy: Gateway, sandbox: SandboxProcess) -> None:
    key = GatewayKey.objects.filter(enabled=False).get()
    sandbox.client().delete_api_key(apiKey=key.remote_id)

    api_keys.enable(api_key=key.api_keys.get(), actor=SYSTEM)
    converge(busy.pk)

    assert sandbox.invoke(value_of(key)).status == 200
