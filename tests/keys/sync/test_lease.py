"""One holder at a time, whatever happens to it."""

import threading
from datetime import timedelta

import pytest
from django.db import connection, connections
from django.db.models.functions import Now
from django.utils import timezone

from keys.gateway.errors import Kind, TryLater
from keys.models import Gateway, GatewayKey, Tier
from keys.services import api_keys
from keys.sync import due
from keys.sync.converge import converge
from keys.sync.lease import LeaseLost, lease_seconds, take
from keys.sync.session import refuse_in_transaction, speak_to
from tenants.audit import SYSTEM
from tests.keys.sync.conftest import remote_keys
from tests.support.factories import buy, make_tenant
from tests.support.sandbox import SandboxProcess

pytestmark = pytest.mark.django_db(transaction=True)


class Clock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def expire() -> None:
    """What the database sees once the holder's term is over."""
    Gateway.objects.update(lease_expires_at=Now() - timedelta(seconds=1))


def test_second_taker_leaves(gateway: Gateway) -> None:
    first = take(gateway.pk)

    assert first is not None
    assert take(gateway.pk) is None
    first.release()
    assert take(gateway.pk) is not None


def test_unknown_gateway_has_no_lease(gateway: Gateway) -> None:
    gateway.delete()

    assert take(gateway.pk) is None


def test_lease_of_a_dead_holder_runs_out(gateway: Gateway) -> None:
    take(gateway.pk)
    expire()

    assert take(gateway.pk) is not None


def test_expiry_is_the_databases_time_not_ours(gateway: Gateway) -> None:
    lease = take(gateway.pk)
    gateway.refresh_from_db()

    assert lease is not None
    assert gateway.lease_expires_at is not None
    left = (gateway.lease_expires_at - timezone.now()).total_seconds()
    assert lease_seconds() - 5 < left <= lease_seconds() + 1


def test_lease_is_renewed_when_it_would_not_outlive_a_call(gateway: Gateway) -> None:
    clock = Clock()
    lease = take(gateway.pk, clock)
    assert lease is not None
    Gateway.objects.update(lease_expires_at=Now() + timedelta(seconds=3))
    clock.now += lease_seconds() - 3

    lease.outlives(10)

    gateway.refresh_from_db()
    assert gateway.lease_expires_at is not None
    assert gateway.lease_expires_at > timezone.now() + timedelta(seconds=10)


def test_holder_that_wakes_up_too_late_lost_it_even_if_nobody_took_it(gateway: Gateway) -> None:
    clock = Clock()
    lease = take(gateway.pk, clock)
    assert lease is not None
    clock.now += lease_seconds() + 1

    with pytest.raises(LeaseLost):
        lease.outlives(1)


def test_holder_whose_lease_was_taken_writes_no_outcome(gateway: Gateway) -> None:
    lease = take(gateway.pk)
    expire()
    other = take(gateway.pk)
    assert lease is not None
    assert other is not None

    with pytest.raises(LeaseLost), lease.writing():
        Gateway.objects.update(name="written")

    gateway.refresh_from_db()
    assert gateway.name != "written"
    lease.release()
    gateway.refresh_from_db()
    assert gateway.lease_owner == other.owner


def test_paused_holder_sends_nothing(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    buy(make_tenant(), tier)
    calls = sandbox.state()["calls"]
    with speak_to(converged.pk) as paused:
        assert paused is not None
        paused.lease._deadline -= lease_seconds() + 1
        expire()
        converge(converged.pk)
        after = sandbox.state()["calls"]
        paused.client.list_keys()  # ends the block

    assert after != calls
    assert sandbox.state()["calls"] == after
    assert len(remote_keys(sandbox)) == 1


def test_next_holder_learns_how_long_nobody_called(gateway: Gateway) -> None:
    first = take(gateway.pk)
    assert first is not None
    assert first.leftover.idle_seconds is None
    first.release()

    second = take(gateway.pk)

    assert second is not None
    assert second.leftover.idle_seconds is not None
    assert second.leftover.idle_seconds < 30


def test_network_inside_a_transaction_is_refused(gateway: Gateway) -> None:
    from django.db import transaction

    refuse_in_transaction()
    with transaction.atomic(), pytest.raises(RuntimeError):
        refuse_in_transaction()


@pytest.mark.django_db
def test_transaction_of_a_test_case_is_let_pass() -> None:
    refuse_in_transaction()


def test_row_that_comes_before_the_release_is_not_forgotten(
    converged: Gateway, tier: Tier, sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It arrives after the holder's last look; its own bell finds the lease taken and leaves."""
    from keys.sync import lease

    release = lease.Lease.release
    bought = []

    def buy_then_release(self: lease.Lease, **left: float) -> None:
        if not bought:
            bought.append(buy(make_tenant(), tier))
            converge(converged.pk)
            assert due.has_rows(converged.pk, timezone.now())
        release(self, **left)

    monkeypatch.setattr(lease.Lease, "release", buy_then_release)

    converge(converged.pk)

    assert len(remote_keys(sandbox)) == 1


@pytest.mark.postgres
@pytest.mark.skipif(connection.vendor != "postgresql", reason="threads need a database that several can write to")
def test_of_many_converges_at_once_one_speaks(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    for _ in range(20):
        buy(make_tenant(), tier)
    sandbox.settings(latency=0.05)
    barrier = threading.Barrier(6)
    before = sandbox.state()["calls"]

    def work() -> None:
        try:
            barrier.wait(10)
            converge(converged.pk)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    after = sandbox.state()["calls"]
    assert {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)} == {
        "ImportApiKeys": 1,
        "GetApiKeys": 1,
        "GetUsagePlanKeys": 1,
    }
    assert not any(key.is_pending for key in GatewayKey.objects.all())


def test_failed_call_inside_the_block_releases_the_lease(converged: Gateway, sandbox: SandboxProcess) -> None:
    sandbox.fault(kind="throttle", count=1)

    def ask() -> None:
        with speak_to(converged.pk) as session:
            assert session is not None
            session.client.list_plans()

    with pytest.raises(TryLater) as raised:
        ask()

    assert raised.value.kind is Kind.THROTTLED
    converged.refresh_from_db()
    assert converged.lease_owner == ""


def test_turn_ends_before_a_task_would_be_broken_off(
    converged: Gateway, tier: Tier, sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left is found by the next sweep."""
    monkeypatch.setattr("keys.sync.session.TURN_SECONDS", 0)
    revoked = buy(make_tenant(), tier)
    converge(converged.pk)
    api_keys.revoke(api_key=revoked, actor=SYSTEM)
    buy(make_tenant(), tier)

    converge(converged.pk)

    assert remote_keys(sandbox) == {}
    assert due.has_rows(converged.pk, timezone.now())
    converge(converged.pk)
    assert len(remote_keys(sandbox)) == 1
