"""Workers whose clocks are wrong: what they write is right for all others, and what others wrote they judge rightly."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from keys.models import ApiKey, Gateway, GatewayKey, Status, Tier
from keys.services import api_keys
from keys.sync import due
from keys.sync.breaker import THRESHOLD
from keys.sync.converge import converge, reconcile
from keys.sync.sweep import sweep
from tenants.audit import SYSTEM
from tests.keys.sync.conftest import remote_keys
from tests.support.clocks import HOUR, clock_off_by
from tests.support.factories import buy, make_tenant
from tests.support.sandbox import SandboxProcess

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.flow]  # "flow": on both databases
APART = [HOUR, -HOUR, 45.0, -45.0]


@pytest.mark.parametrize("offset", APART)
def test_key_is_ready_when_it_is_made(offset: float, converged: Gateway, tier: Tier) -> None:
    before = timezone.now()
    buy(make_tenant(), tier)

    with clock_off_by(offset):
        converge(converged.pk)

    key = ApiKey.objects.select_related("gateway_key", "tenant").get()
    assert key.status(timezone.now()) is Status.READY
    assert key.gateway_key.in_service_at is not None
    assert key.gateway_key.in_service_at > before - timedelta(seconds=1)


@pytest.mark.parametrize("offset", APART)
def test_key_is_ready_once_it_has_propagated(offset: float, converged: Gateway, tier: Tier) -> None:
    Gateway.objects.update(propagation_seconds=600)
    buy(make_tenant(), tier)

    with clock_off_by(offset):
        converge(converged.pk)

    in_service_at = GatewayKey.objects.get().in_service_at
    assert in_service_at is not None
    assert abs(in_service_at - timezone.now() - timedelta(seconds=600)) < timedelta(seconds=300)


@pytest.mark.parametrize("offset", APART)
def test_credential_in_its_grace_period_is_left_and_removed_after_it(
    offset: float, converged: Gateway, tier: Tier, sandbox: SandboxProcess
) -> None:
    buy(make_tenant(), tier)
    converge(converged.pk)
    [key] = ApiKey.objects.all()
    api_keys.rotate(api_key=key, grace=timedelta(seconds=30), actor=SYSTEM)

    with clock_off_by(offset):
        converge(converged.pk)
        assert len(remote_keys(sandbox)) == 2

        GatewayKey.objects.filter(ends_at__isnull=False).update(ends_at=Now())
        converge(converged.pk)
    assert len(remote_keys(sandbox)) == 1


@pytest.mark.parametrize("offset", APART)
def test_failed_gateway_is_left_alone_for_its_pause(offset: float, converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    for _ in range(THRESHOLD):
        buy(make_tenant(), tier)
    converge(converged.pk)
    for key in ApiKey.objects.all():
        api_keys.revoke(api_key=key, actor=SYSTEM)
    sandbox.fault(kind="error", status=503)
    with clock_off_by(offset):
        converge(converged.pk)
    converged.refresh_from_db()
    assert converged.resume_at is not None
    assert abs(converged.resume_at - timezone.now()) < timedelta(minutes=5)

    Gateway.objects.update(resume_at=Now() + timedelta(minutes=10))
    calls = sum(sandbox.state()["calls"].values())
    for other in (offset, -offset, 0.0):
        with clock_off_by(other):
            assert sweep() == []
            converge(converged.pk)
    assert sum(sandbox.state()["calls"].values()) == calls


@pytest.mark.parametrize("offset", APART)
def test_signs_of_life_are_asked_for_as_often_as_by_one_worker(offset: float, converged: Gateway, sandbox: SandboxProcess) -> None:
    Gateway.objects.update(last_seen_at=Now() - timedelta(hours=2))
    with clock_off_by(offset):
        converge(converged.pk)

        converged.refresh_from_db()
        assert not due.heartbeat_is_due(converged, timezone.now() - timedelta(seconds=offset))
        assert sweep() == []
    assert sweep() == []


@pytest.mark.parametrize("offset", APART)
def test_comparison_after_another_worker_s_work_finds_nothing(offset: float, converged: Gateway, tier: Tier) -> None:
    buy(make_tenant(), tier)
    with clock_off_by(offset):
        converge(converged.pk)

    run = reconcile(converged.pk)

    assert run is not None
    assert (run.error, run.keys_listed, run.findings.count()) == ("", 1, 0)
    with clock_off_by(offset):
        run = reconcile(converged.pk)
    assert run is not None
    assert (run.error, run.findings.count()) == ("", 0)
