"""With AWS's limits switched on in the sandbox: nothing is sent faster than they allow."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone

from keys.models import Gateway, GatewayKey, Tier, UsagePlan
from keys.services import catalog
from keys.sync.converge import converge
from keys.sync.pacer import UPDATE_SECONDS
from tenants.audit import SYSTEM
from tests.keys.sync.conftest import retry_now
from tests.support.factories import make_gateway, make_stage, make_tier
from tests.support.sandbox import SandboxProcess, World


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
    Gateway.objects.update(plan_sent_at=timezone.now() - timedelta(seconds=UPDATE_SECONDS))
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


@pytest.fixture
def three_accounts(accounts: SandboxProcess, transactional_db: None) -> list[tuple[Gateway, World]]:
    """Gateways in three accounts, each with a role, a stage and AWS's limits of its own."""
    found = []
    for account in ("111111111111", "222222222222", "333333333333"):
        world = accounts.world(f"{account}:us-east-1")
        world.settings(aws_limits=True)
        gateway = make_gateway(account_id=account, role_arn=f"arn:aws:iam::{account}:role/tollgate")
        make_stage(gateway, rest_api_id=f"api-{account}-us-east-1")
        found.append((gateway, world))
    return found


def let_pass(sandbox: SandboxProcess, seconds: float) -> None:
    """Time, at the gateways and for the workers."""
    sandbox.clock(advance=seconds)
    Gateway.objects.update(plan_sent_at=F("plan_sent_at") - timedelta(seconds=seconds))
    UsagePlan.objects.update(next_try_at=F("next_try_at") - timedelta(seconds=seconds))


def test_new_limits_of_four_tiers_on_three_accounts_are_twelve_calls_never_two_within_20_seconds(
    accounts: SandboxProcess, three_accounts: list[tuple[Gateway, World]]
) -> None:
    tiers = [make_tier(gateways=[gateway for gateway, _world in three_accounts]) for _ in range(4)]
    for gateway, _world in three_accounts:
        converge(gateway.pk)
    for tier in tiers:
        change(tier, 9)

    for turn in range(4):
        for gateway, world in three_accounts:
            converge(gateway.pk)
            assert len(world.moments("UpdateUsagePlan")) == turn + 1
        let_pass(accounts, UPDATE_SECONDS - 10)
        if turn == 0:
            retry_now()  # woken too early, they wait
            for gateway, world in three_accounts:
                converge(gateway.pk)
                assert len(world.moments("UpdateUsagePlan")) == 1
        let_pass(accounts, 10)

    for _gateway, world in three_accounts:
        moments = world.moments("UpdateUsagePlan")
        assert len(moments) == 4
        assert all(later - earlier >= 20 for earlier, later in pairwise(moments))
        state = world.state()
        assert state["throttled"] == {}
        assert [plan["throttle"]["burstLimit"] for plan in state["plans"]] == [9] * 4
    assert not UsagePlan.objects.filter(synced_revision__lt=F("revision")).exists()


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
