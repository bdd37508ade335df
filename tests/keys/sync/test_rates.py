"""With AWS's limits switched on in the sandbox: nothing is sent faster than they allow."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from keys.models import Gateway, GatewayKey, Tier, UsagePlan
from keys.services import catalog
from keys.sync.converge import converge
from keys.sync.plans import UPDATE_SECONDS
from tenants.audit import SYSTEM
from tests.keys.sync.conftest import retry_now
from tests.support.factories import make_tier
from tests.support.sandbox import SandboxProcess


@pytest.fixture(autouse=True)
def _aws_limits(settings: Any, sandbox: SandboxProcess) -> Iterator[None]:
    settings.GATEWAY_PACING = "aws"
    sandbox.settings(aws_limits=True)
    yield
    assert sandbox.state()["throttled"] == {}


def change(tier: Tier, burst: int) -> None:
    catalog.change_limits(tier=tier, throttle_rate=Decimal(10), throttle_burst=burst, quota_limit=2000, quota_period="DAY", actor=SYSTEM)


def updates(sandbox: SandboxProcess) -> int:
    return int(sandbox.state()["calls"].get("UpdateUsagePlan", 0))


def test_usage_plans_take_turns_and_hold_nothing_up(
    converged: Gateway, tier: Tier, stage: object, sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [make_tier(stage=stage) for _ in range(2)]
    converge(converged.pk)
    # As long ago as a rate knows.
    UsagePlan.objects.update(synced_at=timezone.now() - timedelta(seconds=UPDATE_SECONDS))
    for each in (tier, *others):
        change(each, 9)
    make_tier(stage=stage, pool_size=2)

    converge(converged.pk)

    assert updates(sandbox) == 1
    waiting = UsagePlan.objects.filter(next_try_at__isnull=False).order_by("next_try_at")
    turns = [(plan.next_try_at - timezone.now()).total_seconds() for plan in waiting if plan.next_try_at]
    assert [round(turn / UPDATE_SECONDS) for turn in turns] == [1, 2]
    assert not any(key.is_pending for key in GatewayKey.objects.all())

    # Woken too early, they wait again.
    retry_now()
    converge(converged.pk)
    assert updates(sandbox) == 1


@pytest.mark.slow
def test_many_removals_keep_to_five_a_second(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    offer = {field: getattr(tier, field) for field in ("name", "description", "position", "price_minor", "currency", "max_api_keys")}
    catalog.change_offer(tier=tier, spare_target=12, actor=SYSTEM, **offer)
    converge(converged.pk)
    started = timezone.now()

    catalog.retire_tier(tier=tier, actor=SYSTEM)
    converge(converged.pk)

    assert sandbox.state()["calls"]["DeleteApiKey"] == 12
    assert (timezone.now() - started).total_seconds() >= (12 - 5) / 5


@pytest.mark.slow
def test_holders_that_follow_each_other_share_one_burst(converged: Gateway, sandbox: SandboxProcess, settings: Any) -> None:
    settings.HEARTBEAT_SECONDS = 0

    for _ in range(50):
        Gateway.objects.update(last_seen_at=None)
        converge(converged.pk)

    assert sandbox.state()["throttled"] == {}
