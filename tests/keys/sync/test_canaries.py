"""Canaries: one in each usage plan that is in use, called as a tenant would call it."""

import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone

from keys.models import Gateway, GatewayKey, KeyRole, Room, Tier, UsagePlan
from keys.services import api_keys, catalog
from keys.staff_selectors import usage_of_tiers
from keys.sync import dataplane, due
from keys.sync.canaries import call_canaries, seconds_between
from keys.sync.converge import converge
from tenants.audit import SYSTEM
from tests.keys.sync.conftest import value_of
from tests.support.factories import buy, make_stage, make_tenant, make_tier
from tests.support.processes import at_once
from tests.support.sandbox import SandboxProcess


@pytest.fixture(autouse=True)
def _canaries(settings: Any) -> None:
    settings.CANARY_SECONDS = 300


@pytest.fixture
def plan(gateway: Gateway, tier: Tier) -> UsagePlan:
    """A plan in use, with its canary in service."""
    buy(make_tenant(), tier)
    converge(gateway.pk)
    return UsagePlan.objects.get()


def canary() -> GatewayKey:
    return GatewayKey.objects.get(role=KeyRole.CANARY)


def wait_over() -> None:
    UsagePlan.objects.update(canary_checked_at=timezone.now() - timedelta(days=1))


def test_a_plan_in_use_gets_one_canary_and_one_without_keys_none(gateway: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    make_tier(stage=tier.stages.get())
    buy(make_tenant(), tier)

    converge(gateway.pk)

    assert canary().usage_plan.tier == tier
    assert sandbox.invoke(value_of(canary())).status == 200
    assert Room.objects.get().held == 2
    assert not due.has_rows(gateway.pk, timezone.now())


def test_a_canary_ends_with_the_last_key_of_its_plan(gateway: Gateway, plan: UsagePlan, sandbox: SandboxProcess) -> None:
    api_keys.revoke(api_key=plan.tier.api_keys.get(), actor=SYSTEM)

    converge(gateway.pk)

    assert sandbox.state()["keys"] == []
    assert Room.objects.get().held == 0


def test_canaries_that_are_switched_off_end(gateway: Gateway, plan: UsagePlan, settings: Any) -> None:
    settings.CANARY_SECONDS = 0

    converge(gateway.pk)

    assert canary().removed_at is not None


def test_no_canary_is_made_where_there_is_no_room(gateway: Gateway, tier: Tier) -> None:
    Gateway.objects.update(capacity=1)
    buy(make_tenant(), tier)

    converge(gateway.pk)

    assert not GatewayKey.objects.filter(role=KeyRole.CANARY).exists()
    assert not due.has_rows(gateway.pk, timezone.now())


def test_a_canary_that_is_answered_is_no_alarm(plan: UsagePlan) -> None:
    assert call_canaries() == 1

    plan.refresh_from_db()
    assert (plan.canary_status, plan.canary_failures, plan.canary_error) == (200, 0, "")
    assert call_canaries() == 0


def test_a_canary_that_is_refused_is_an_alarm_until_it_is_answered_again(
    plan: UsagePlan, sandbox: SandboxProcess, caplog: pytest.LogCaptureFixture
) -> None:
    client = sandbox.client()
    value = value_of(canary())
    client.delete_usage_plan_key(usagePlanId=plan.remote_id, keyId=canary().remote_id)
    call_canaries()
    wait_over()
    call_canaries()

    plan.refresh_from_db()
    assert (plan.canary_status, plan.canary_failures) == (403, 2)
    assert plan.canary_error == f"{sandbox.invoke_url()} answered 403 ForbiddenException."
    assert "canary.failed" in caplog.text
    client.create_usage_plan_key(usagePlanId=plan.remote_id, keyId=canary().remote_id, keyType="API_KEY")
    wait_over()
    call_canaries()

    plan.refresh_from_db()
    assert (plan.canary_status, plan.canary_failures, plan.canary_error) == (200, 0, "")
    assert "canary.recovered" in caplog.text
    assert value not in caplog.text


def test_a_single_failure_is_tried_again_before_it_counts(plan: UsagePlan, sandbox: SandboxProcess) -> None:
    sandbox.fault(kind="error", operation="Invoke", count=1)

    call_canaries()

    plan.refresh_from_db()
    assert (plan.canary_status, plan.canary_failures) == (200, 0)


def test_a_stage_where_nobody_answers_is_an_alarm(plan: UsagePlan) -> None:
    plan.tier.stages.update(invoke_url="http://127.0.0.1:9")

    call_canaries()

    plan.refresh_from_db()
    assert (plan.canary_status, plan.canary_failures) == (None, 1)
    assert plan.canary_error == "http://127.0.0.1:9/api: nobody answers there."


def test_what_canaries_called_is_no_use_of_their_tier(gateway: Gateway, plan: UsagePlan, settings: Any) -> None:
    call_canaries()
    settings.USAGE_SECONDS = 0
    converge(gateway.pk)
    today = timezone.now().date()

    assert canary().usage_days.get().used == 1
    assert usage_of_tiers(today, today)[plan.tier_id].requests == 0


@pytest.mark.parametrize(
    ("quota", "period", "stages", "failing", "seconds"),
    [
        pytest.param(None, "", 9, False, 300, id="no quota"),
        pytest.param(None, "", 9, True, 30, id="failing"),
        pytest.param(2_000, "DAY", 1, False, 300, id="quota large enough"),
        pytest.param(100, "DAY", 1, True, 3_456, id="a small quota is not used up"),
        pytest.param(100, "DAY", 0, False, 3_456, id="no stage"),
        pytest.param(100, "DAY", 5, False, 17_280, id="nor by calls of many stages"),
        pytest.param(1, "MONTH", 1, False, 10_368_000, id="quota of one"),
    ],
)
def test_a_canary_spares_its_own_quota(quota: int | None, period: str, stages: int, failing: bool, seconds: float) -> None:
    tier = Tier(throttle_rate=Decimal(10), quota_limit=quota, quota_period=period)
    assert seconds_between(tier, stages=stages, failing=failing) == seconds


def test_a_canary_is_not_called_sooner_than_its_throttle_lets_it() -> None:
    slow = Tier(throttle_rate=Decimal("0.02"), quota_limit=None)
    assert [seconds_between(slow, stages=1, failing=failing) for failing in (True, False)] == [50, 300]


def test_calls_of_one_canary_are_no_faster_than_its_throttle(plan: UsagePlan, sandbox: SandboxProcess) -> None:
    """With a burst of one: those of its stages, and the second try of one that failed."""
    catalog.change_limits(tier=plan.tier, throttle_rate=Decimal(2), throttle_burst=1, quota_limit=None, quota_period="", actor=SYSTEM)
    converge(plan.gateway_id)
    url = plan.tier.stages.get().invoke_url
    plan.tier.stages.add(make_stage(plan.gateway, name="other", invoke_url=url))
    for faults in (0, 1):
        sandbox.fault(kind="error", operation="Invoke", count=faults)
        wait_over()

        assert call_canaries() == 1

        plan.refresh_from_db()
        assert (plan.canary_status, plan.canary_failures, plan.canary_error) == (200, 0, "")


def test_stages_for_which_the_throttle_leaves_no_time_are_called_in_another_check(
    plan: UsagePlan, sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keys.sync.canaries.CHECK_SECONDS", 0.05)
    Tier.objects.update(throttle_rate=Decimal(10))
    stages = [plan.tier.stages.get(), make_stage(plan.gateway, name="gone", invoke_url="http://127.0.0.1:9")]
    plan.tier.stages.set(stages)
    for _check in range(40):
        wait_over()
        call_canaries()
        plan.refresh_from_db()
        if plan.canary_failures:
            break

    assert plan.canary_failures == 1
    wait_over()
    call_canaries()  # the one that failed is called first
    plan.refresh_from_db()
    assert plan.canary_failures == 2
    plan.tier.stages.set(stages[:1])
    wait_over()
    call_canaries()
    plan.refresh_from_db()
    assert (plan.canary_status, plan.canary_failures) == (200, 0)


def test_a_canary_of_five_stages_does_not_use_up_its_quota(plan: UsagePlan, sandbox: SandboxProcess) -> None:
    """A day of calls at the shortest pauses leaves half of the quota, however many stages a check calls."""
    Tier.objects.update(quota_limit=20, quota_period="DAY")
    url = plan.tier.stages.get().invoke_url
    for number in range(4):
        plan.tier.stages.add(make_stage(plan.gateway, name=f"other-{number}", invoke_url=url))
    day, pause = timedelta(days=1), timedelta(minutes=15)
    checks = 0
    for _tick in range(day // pause):
        checks += call_canaries()
        UsagePlan.objects.update(canary_checked_at=F("canary_checked_at") - pause)

    assert checks == 1
    plan.refresh_from_db()
    assert (plan.canary_status, plan.canary_failures) == (200, 0)


def test_an_alarm_ends_with_its_canary(gateway: Gateway, plan: UsagePlan) -> None:
    plan.tier.stages.update(invoke_url="http://127.0.0.1:9")
    call_canaries()
    assert UsagePlan.objects.get().canary_failures == 1
    api_keys.revoke(api_key=plan.tier.api_keys.get(), actor=SYSTEM)

    converge(gateway.pk)

    plan.refresh_from_db()
    assert (plan.canary_checked_at, plan.canary_status, plan.canary_failures, plan.canary_error) == (None, None, 0, "")


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_of_workers_that_come_at_once_one_calls(plan: UsagePlan, sandbox: SandboxProcess) -> None:
    called = at_once(lambda _number: call_canaries(), 8)

    assert sum(called) == 1


# --- The call itself


@pytest.fixture
def dripping() -> Iterator[str]:
    """A server that sends an answer's head byte by byte, never to its end."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def drip() -> None:
        connection, _address = listener.accept()
        with connection:
            connection.settimeout(1)
            try:
                while not stop.wait(0.05):
                    connection.sendall(b"H")
            except OSError:
                return

    thread = threading.Thread(target=drip)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/api"
    stop.set()
    thread.join()
    listener.close()


def test_a_call_ends_in_time_however_slowly_it_is_answered(dripping: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataplane, "TOTAL_SECONDS", 0.5)
    started = time.monotonic()

    answer = dataplane.call(dripping, "secret")

    assert time.monotonic() - started < 3
    assert answer.status is None
    assert "did not answer within" in answer.error


def test_a_redirect_is_no_200_and_not_followed(sandbox: SandboxProcess) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def redirect() -> None:
        connection, _address = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(f"HTTP/1.1 302 Found\r\nLocation: {sandbox.url}/api\r\nContent-Length: 0\r\n\r\n".encode())

    thread = threading.Thread(target=redirect)
    thread.start()
    answer = dataplane.call(f"http://127.0.0.1:{listener.getsockname()[1]}/api", "secret")
    thread.join()
    listener.close()

    assert answer.status == 302
    assert sandbox.state()["calls"] == {}
