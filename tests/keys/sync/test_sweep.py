"""The sweep finds what a lost bell left, and costs little when there is nothing."""

from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from django.core.management import CommandError, call_command
from django.db.models.functions import Now
from django.utils import timezone

from keys import tasks
from keys.models import Gateway, GatewayKey, Tier
from keys.services import api_keys
from keys.sync.converge import converge
from keys.sync.lease import take
from keys.sync.sweep import sweep
from tenants.audit import SYSTEM
from tests.keys.sync.conftest import remote_keys
from tests.support.factories import buy, make_tenant
from tests.support.sandbox import SandboxProcess


@pytest.fixture
def quiet(converged: Gateway) -> Gateway:
    """A gateway with nothing to do."""
    assert sweep() == []
    return converged


def test_new_row_is_found(quiet: Gateway, tier: Tier) -> None:
    buy(make_tenant(), tier)

    assert sweep() == [quiet.pk]


def test_row_that_is_put_off_is_not(quiet: Gateway, tier: Tier) -> None:
    buy(make_tenant(), tier)
    GatewayKey.objects.update(next_try_at=timezone.now() + timedelta(hours=1))

    assert sweep() == []


def test_row_that_waits_for_a_person_is_not(quiet: Gateway, tier: Tier) -> None:
    buy(make_tenant(), tier)
    GatewayKey.objects.update(permanent=True)

    assert sweep() == []


def test_key_that_reached_its_end_is_found_whatever_failed_before(quiet: Gateway, tier: Tier) -> None:
    buy(make_tenant(), tier)
    GatewayKey.objects.update(permanent=True, ends_at=Now())

    assert sweep() == [quiet.pk]


@pytest.mark.parametrize("setting", ["HEARTBEAT_SECONDS", "USAGE_SECONDS", "RECONCILE_SECONDS"])
def test_clocks_are_kept(quiet: Gateway, settings: Any, setting: str) -> None:
    setattr(settings, setting, 0)

    assert sweep() == [quiet.pk]


def test_gateway_with_a_holder_is_left_to_it(quiet: Gateway, tier: Tier) -> None:
    buy(make_tenant(), tier)
    lease = take(quiet.pk)
    assert lease is not None

    assert sweep() == []
    lease.release()
    assert sweep() == [quiet.pk]


def test_gateway_left_alone_after_failures_is_not_rung_for(quiet: Gateway, tier: Tier) -> None:
    buy(make_tenant(), tier)
    Gateway.objects.update(resume_at=timezone.now() + timedelta(minutes=1))

    assert sweep() == []


def test_nothing_to_do_costs_few_queries(quiet: Gateway, django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(15):
        sweep()


def test_tasks_have_the_names_that_messages_carry(
    quiet: Gateway, tier: Tier, sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    buy(make_tenant(), tier)
    rung = Mock()
    monkeypatch.setattr(tasks.converge, "apply_async", rung)

    tasks.sweep(unknown="from a newer version")

    assert (tasks.converge.name, tasks.sweep.name) == ("keys.converge", "keys.sweep")
    assert rung.call_args.kwargs["kwargs"] == {"gateway_id": str(quiet.pk)}
    tasks.converge(**rung.call_args.kwargs["kwargs"], unknown="from a newer version")
    assert len(remote_keys(sandbox)) == 1


def test_converge_of_an_unknown_gateway_is_nothing(quiet: Gateway, sandbox: SandboxProcess) -> None:
    calls = sandbox.state()["calls"]

    converge(Gateway().pk)

    assert sandbox.state()["calls"] == calls


def test_converge_command_works_and_tells(quiet: Gateway, tier: Tier, capsys: pytest.CaptureFixture[str]) -> None:
    buy(make_tenant(), tier)

    call_command("converge")

    assert f"{quiet.name}: 0 pending" in capsys.readouterr().out


def test_converge_command_fails_when_something_is_left(quiet: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    buy(make_tenant(), tier)
    sandbox.fault(kind="throttle")

    with pytest.raises(CommandError, match="Not everything"):
        call_command("converge", quiet.name)


def test_converge_command_waits_until_all_is_done(quiet: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    buy(make_tenant(), tier)
    sandbox.fault(kind="throttle", count=1)

    call_command("converge", "--wait", "30")

    assert len(remote_keys(sandbox)) == 1


def test_commands_name_the_gateways_there_are(quiet: Gateway) -> None:
    with pytest.raises(CommandError, match=quiet.name):
        call_command("reconcile", "nowhere")


def test_reconcile_command_shows_what_it_found(
    quiet: Gateway, tier: Tier, sandbox: SandboxProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    bought = buy(make_tenant(), tier)
    converge(quiet.pk)
    sandbox.client().delete_api_key(apiKey=GatewayKey.objects.get().remote_id)

    call_command("reconcile", "--dry-run")
    assert remote_keys(sandbox) == {}
    call_command("reconcile")

    out = capsys.readouterr().out
    assert "1 usage plan, 0 keys, 4 calls, 1 finding" in out
    assert "Missing at the gateway" in out
    assert len(remote_keys(sandbox)) == 1
    api_keys.revoke(api_key=bought, actor=SYSTEM)


def test_reconcile_command_fails_when_the_gateway_is_held(quiet: Gateway) -> None:
    assert take(quiet.pk) is not None

    with pytest.raises(CommandError, match="Not done"):
        call_command("reconcile")
