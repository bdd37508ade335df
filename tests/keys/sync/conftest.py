"""A gateway in the sandbox, with a stage and tiers, and a converge that is not paced."""

from typing import Any

import pytest

from keys import values
from keys.models import Gateway, GatewayKey, Stage, Tier, UsagePlan
from keys.sync.converge import converge
from tests.support.factories import make_gateway, make_stage, make_tier
from tests.support.sandbox import SandboxProcess


@pytest.fixture(autouse=True)
def _quiet(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pacing, no bells, and no clock that comes due in the middle of a test."""
    settings.GATEWAY_PACING = "off"
    settings.GATEWAY_TIMEOUT_SECONDS = 3
    settings.HEARTBEAT_SECONDS = settings.RECONCILE_SECONDS = settings.USAGE_SECONDS = 3600
    monkeypatch.setattr("keys.services.bell._ring_now", lambda gateway_id: None)


@pytest.fixture
def gateway(transactional_db: None) -> Gateway:
    return make_gateway()


@pytest.fixture
def stage(gateway: Gateway, sandbox: SandboxProcess) -> Stage:
    return make_stage(gateway, invoke_url=sandbox.invoke_url(""))


@pytest.fixture
def tier(stage: Stage) -> Tier:
    """Siloed, 10/s, burst 5, 2,000 a day."""
    return make_tier(stage=stage)


@pytest.fixture
def converged(gateway: Gateway, tier: Tier, sandbox: SandboxProcess) -> Gateway:
    """The gateway after its first converge: the tier's usage plan exists. Calls are counted from here."""
    converge(gateway.pk)
    gateway.refresh_from_db()
    assert gateway.last_reconciled_at is not None
    return gateway


def value_of(key: GatewayKey) -> str:
    return values.decrypt(key.value_encrypted)


def remote_keys(sandbox: SandboxProcess) -> dict[str, Any]:
    """What the sandbox holds, by id."""
    return {key["id"]: key for key in sandbox.state()["keys"]}


def retry_now() -> None:
    """Let what was put off be tried at once, as if its time had come."""
    GatewayKey.objects.update(next_try_at=None)
    UsagePlan.objects.update(next_try_at=None)
    Gateway.objects.update(resume_at=None)
