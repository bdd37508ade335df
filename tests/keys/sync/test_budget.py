"""The rates of an account are spent on what matters most, and counted: against a sandbox that enforces them."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from keys.gateway.client import GatewayClient
from keys.models import ApiKey, CallCount, Gateway, GatewayKey, KeyRole, Tier, UsagePlan
from keys.queues import backlogs_of
from keys.services import api_keys, catalog, gateways, tenants
from keys.sync.breaker import THROTTLED_THRESHOLD
from keys.sync.converge import converge
from keys.sync.lease import take
from keys.sync.session import MOST_TRIES, speak_to
from tenants.audit import SYSTEM
from tests.keys.sync.conftest import remote_keys, retry_now, value_of
from tests.support.factories import buy, make_tenant, make_tier
from tests.support.sandbox import SandboxProcess
from tests.support.services import Broker, WorkerProcess, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _aws_limits(settings: Any, sandbox: SandboxProcess) -> None:
    settings.GATEWAY_PACING = "aws"
    sandbox.settings(aws_limits=True)


def want_spares(tier: Tier, count: int) -> None:
    offer = {name: getattr(tier, name) for name in ("name", "description", "position", "price_minor", "currency", "max_api_keys")}
    catalog.change_offer(tier=tier, spare_target=count, actor=SYSTEM, **offer)


def calls_of(sandbox: SandboxProcess, work: Callable[[], object]) -> Counter[str]:
    """The calls that something takes, by operation."""
    before = Counter(sandbox.state()["calls"])
    work()
    return Counter(sandbox.state()["calls"]) - before


@pytest.fixture
def when_called(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], object]], list[str]]:
    """Do something, once, right after the first call of an operation; the operations of all calls, in their order."""
    monkeypatch.setattr("keys.sync.session.LOOK_SECONDS", 0.0)
    call = GatewayClient._call

    def prepare(operation: str, work: Callable[[], object]) -> list[str]:
        done: list[str] = []

        def watched(self: GatewayClient, name: str, *args: Any, **kwargs: Any) -> Any:
            answer = call(self, name, *args, **kwargs)
            done.append(name)
            if done.count(operation) == 1 and name == operation:
                work()
            return answer

        monkeypatch.setattr(GatewayClient, "_call", watched)
        return done

    return prepare


# --- Few calls, and as many as were foretold


def test_calls_for_a_backlog_are_as_many_as_the_estimate_says(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    for _ in range(30):
        buy(make_tenant(), tier)
    converge(converged.pk)
    want_spares(tier, 1400)
    make_tier(stage=tier.stages.get(), pool_size=40)
    for bought in ApiKey.objects.all()[:4]:
        api_keys.revoke(api_key=bought, actor=SYSTEM)
    foretold = backlogs_of([converged], timezone.now())[converged.pk]

    used = calls_of(sandbox, lambda: converge(converged.pk))

    assert foretold.queue.keys == 1400 + 40 + 4
    assert sandbox.state()["throttled"] == {}
    assert GatewayKey.objects.filter(removed_at=None, in_service_at=None).count() == 0
    # The estimate takes batches for full ones, and each look-up for one of all usage plans that wait.
    assert 0.6 <= foretold.calls / sum(used.values()) <= 1.4
    assert foretold.text == "1,444 keys, 1 usage plan, about 5 s"
    assert not backlogs_of([converged], timezone.now())[converged.pk].queue


def test_spares_that_find_no_room_do_not_wait(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    Gateway.objects.update(capacity=3)
    want_spares(tier, 20)
    assert backlogs_of([converged], timezone.now())[converged.pk].queue.keys == 20

    converge(converged.pk)

    assert len(remote_keys(sandbox)) == 3
    assert backlogs_of([converged], timezone.now())[converged.pk].text == "Nothing waits."


def test_many_keys_are_switched_by_imports(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    Tier.objects.update(max_api_keys=1000)
    tier.refresh_from_db()
    tenant = make_tenant()
    for _ in range(60):
        buy(tenant, tier)
    converge(converged.pk)

    tenants.suspend(tenant=tenant, reason="unpaid", actor=SYSTEM)
    off = calls_of(sandbox, lambda: converge(converged.pk))
    assert {key["enabled"] for key in remote_keys(sandbox).values()} == {False}

    tenants.resume(tenant=tenant, actor=SYSTEM)
    on = calls_of(sandbox, lambda: converge(converged.pk))

    assert off == on == {"ImportApiKeys": 1, "GetApiKeys": 1, "GetUsagePlanKeys": 1}
    assert {key["enabled"] for key in remote_keys(sandbox).values()} == {True}
    assert not any(key.is_pending for key in GatewayKey.objects.all())
    assert len(remote_keys(sandbox)) == 60


def test_switch_that_an_import_cannot_carry_is_made_by_itself(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    Tier.objects.update(max_api_keys=1000)
    tier.refresh_from_db()
    tenant = make_tenant()
    for _ in range(15):
        buy(tenant, tier)
    converge(converged.pk)
    GatewayKey.objects.filter(pk=GatewayKey.objects.order_by("pk")[7].pk).update(value_encrypted="nonsense")
    tenants.suspend(tenant=tenant, reason="unpaid", actor=SYSTEM)

    converge(converged.pk)
    retry_now()
    converge(converged.pk)

    assert {key["enabled"] for key in remote_keys(sandbox).values()} == {False}
    assert not any(key.is_pending for key in GatewayKey.objects.all())


def test_where_many_are_revoked_all_are_cut_off_before_the_first_is_removed(
    converged: Gateway, tier: Tier, sandbox: SandboxProcess, when_called: Callable[[str, Callable[[], object]], list[str]]
) -> None:
    bought = [buy(make_tenant(), tier) for _ in range(12)]
    converge(converged.pk)
    for each in bought:
        api_keys.revoke(api_key=each, actor=SYSTEM)
    left: list[int] = []
    when_called("ImportApiKeys", lambda: left.append(sum(key["enabled"] for key in remote_keys(sandbox).values())))

    converge(converged.pk)

    assert left == [0]
    assert remote_keys(sandbox) == {}
    assert GatewayKey.objects.filter(removed_at=None).count() == 0


# --- Where an account refuses imports


@pytest.fixture
def one_by_one(converged: Gateway) -> Gateway:
    Gateway.objects.update(uses_imports=False)
    return converged


def test_without_imports_keys_are_made_one_by_one(one_by_one: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    bought = [buy(make_tenant(), tier) for _ in range(7)]

    used = calls_of(sandbox, lambda: converge(one_by_one.pk))

    assert used == {"CreateApiKey": 7, "CreateUsagePlanKey": 7}
    assert sandbox.state()["throttled"] == {}
    keys = GatewayKey.objects.filter(pk__in=[each.gateway_key_id for each in bought])
    assert [sandbox.invoke(value_of(key)).status for key in keys] == [200] * 7
    assert {key.remote_id for key in keys} == set(remote_keys(sandbox))
    assert not any(key.is_pending for key in keys)


@pytest.mark.parametrize("operation", ["CreateApiKey", "CreateUsagePlanKey"])
@pytest.mark.parametrize("kind", ["timeout", "reset"])
def test_without_imports_a_lost_answer_makes_no_second_key(
    one_by_one: Gateway, tier: Tier, sandbox: SandboxProcess, operation: str, kind: str
) -> None:
    bought = buy(make_tenant(), tier)
    sandbox.fault(kind=kind, operation=operation, count=1)

    converge(one_by_one.pk)
    retry_now()
    converge(one_by_one.pk)

    (remote,) = remote_keys(sandbox).values()
    key = GatewayKey.objects.get(pk=bought.gateway_key_id)
    assert (key.is_pending, key.last_error, key.remote_id) == (False, "", remote["id"])
    assert sandbox.invoke(value_of(key)).status == 200


def test_without_imports_a_key_that_turns_up_late_is_taken_for_ours(
    one_by_one: Gateway, tier: Tier, sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look-up after a lost answer does not show it yet; making it again is refused as a duplicate."""
    bought = buy(make_tenant(), tier)
    sandbox.fault(kind="timeout", operation="CreateApiKey", count=1)
    converge(one_by_one.pk)
    retry_now()
    look_up, seen = GatewayClient.list_keys, []

    def shows_nothing_at_first(self: GatewayClient, name_prefix: str = "") -> Any:
        seen.append(name_prefix)
        return [] if len(seen) == 1 else look_up(self, name_prefix)

    monkeypatch.setattr(GatewayClient, "list_keys", shows_nothing_at_first)

    converge(one_by_one.pk)

    assert len(remote_keys(sandbox)) == 1
    assert sandbox.invoke(value_of(GatewayKey.objects.get(pk=bought.gateway_key_id))).status == 200


def test_without_imports_a_key_is_taken_out_of_a_plan_in_the_way(
    one_by_one: Gateway, tier: Tier, sandbox: SandboxProcess, stage: object
) -> None:
    bought, other = buy(make_tenant(), tier), make_tier(stage=stage)
    converge(one_by_one.pk)
    key = GatewayKey.objects.get(pk=bought.gateway_key_id)
    client, wrong = sandbox.client(), UsagePlan.objects.get(tier=other)
    client.delete_usage_plan_key(usagePlanId=key.usage_plan.remote_id, keyId=key.remote_id)
    client.create_usage_plan_key(usagePlanId=wrong.remote_id, keyId=key.remote_id, keyType="API_KEY")
    GatewayKey.objects.update(synced_revision=0, in_service_at=None)

    converge(one_by_one.pk)

    assert remote_keys(sandbox)[key.remote_id]["plans"] == [key.usage_plan.remote_id]
    assert GatewayKey.objects.get().last_error == ""


def test_without_imports_a_bad_value_holds_up_no_other(one_by_one: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    rows = [buy(make_tenant(), tier) for _ in range(3)]
    GatewayKey.objects.filter(pk=rows[1].gateway_key_id).update(value_encrypted="nonsense")

    converge(one_by_one.pk)

    assert len(remote_keys(sandbox)) == 2
    assert GatewayKey.objects.get(permanent=True).pk == rows[1].gateway_key_id


# --- What people wait for goes first


@pytest.mark.parametrize(
    ("during", "operation"),
    [("reconcile", "GetApiKeys"), ("usage", "GetUsage"), ("creations", "CreateApiKey")],
    ids=["reconcile", "usage", "creations"],
)
def test_revoke_goes_out_between_two_calls_of_what_can_wait(
    converged: Gateway,
    tier: Tier,
    sandbox: SandboxProcess,
    when_called: Callable[[str, Callable[[], object]], list[str]],
    during: str,
    operation: str,
) -> None:
    bought = buy(make_tenant(), tier)
    want_spares(tier, 5)
    converge(converged.pk)
    sandbox.fault(kind="truncate", size=2, operation=["GetApiKeys", "GetUsage"])
    done = when_called(operation, lambda: api_keys.revoke(api_key=bought, actor=SYSTEM))

    if during == "reconcile":
        gateways.request_reconcile(gateway=converged, actor=SYSTEM)
    elif during == "usage":
        Gateway.objects.update(usage_read_at=None)
    else:
        Gateway.objects.update(uses_imports=False)
        want_spares(tier, 9)
    converge(converged.pk)

    assert done.index("DeleteApiKey") == done.index(operation) + 1
    assert operation in done[done.index("DeleteApiKey") :]
    assert GatewayKey.objects.get(pk=bought.gateway_key_id).removed_at is not None
    assert not converged.findings.exists()
    assert sandbox.state()["throttled"] == {}


def test_purchase_goes_out_between_two_pages_of_a_reconcile(
    converged: Gateway, tier: Tier, sandbox: SandboxProcess, when_called: Callable[[str, Callable[[], object]], list[str]]
) -> None:
    want_spares(tier, 5)
    converge(converged.pk)
    Tier.objects.update(spare_target=0)
    sandbox.fault(kind="truncate", size=2, operation="GetUsagePlanKeys")
    GatewayKey.objects.update(role=KeyRole.SILO)
    done = when_called("GetUsagePlanKeys", lambda: buy(make_tenant(), tier))

    gateways.request_reconcile(gateway=converged, actor=SYSTEM)
    converge(converged.pk)

    assert done.index("ImportApiKeys") == done.index("GetUsagePlanKeys") + 1
    assert [run.error for run in converged.reconcile_runs.all() if run.error] == []
    assert GatewayKey.objects.filter(in_service_at__isnull=False).count() == 6
    assert not converged.findings.exists()


def test_what_is_under_way_is_not_interrupted_by_itself(
    converged: Gateway, tier: Tier, sandbox: SandboxProcess, when_called: Callable[[str, Callable[[], object]], list[str]]
) -> None:
    """A key that is revoked while it is being made: removed after it was made, and nothing of it is left."""
    bought = buy(make_tenant(), tier)
    when_called("ImportApiKeys", lambda: api_keys.revoke(api_key=bought, actor=SYSTEM))

    converge(converged.pk)

    assert remote_keys(sandbox) == {}
    assert GatewayKey.objects.get().removed_at is not None


# --- Under answers of 429


def test_429_costs_pace_and_no_attempt(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    buy(make_tenant(), tier)
    sandbox.fault(kind="throttle", operation="ImportApiKeys", count=2)

    converge(converged.pk)

    key = GatewayKey.objects.get()
    assert (key.is_pending, key.attempts, key.last_error) == (False, 0, "")
    converged.refresh_from_db()
    assert 0.25 < converged.pace < 0.5
    assert (converged.failures, converged.last_error) == (0, "")
    row = CallCount.objects.get(operation="ImportApiKeys")
    assert (row.calls, row.throttled, row.failed) == (3, 2, 0)


def test_next_holder_goes_on_at_the_pace_that_was_left(converged: Gateway, sandbox: SandboxProcess) -> None:
    Gateway.objects.update(pace=0.3)

    with speak_to(converged.pk) as session:
        assert session is not None
        assert 0.3 <= session.pacer.pace < 0.35
        while session.pacer.pace < 1.0:
            session.client.list_plans()

    converged.refresh_from_db()
    assert converged.pace == 1.0


def test_gateway_that_answers_nothing_but_429_is_left_alone(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    bought = [buy(make_tenant(), tier) for _ in range(3)]
    converge(converged.pk)
    for each in bought:
        api_keys.revoke(api_key=each, actor=SYSTEM)
    sandbox.fault(kind="throttle")

    used = calls_of(sandbox, lambda: converge(converged.pk))

    assert used == {"DeleteApiKey": THROTTLED_THRESHOLD}
    converged.refresh_from_db()
    assert converged.resume_at is not None
    assert backlogs_of([converged], timezone.now())[converged.pk].text == "3 keys, not before API Gateway answers again"


def test_storm_of_429_is_asked_about_by_heartbeats_three_times_a_minute(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    buy(make_tenant(), tier)
    sandbox.fault(kind="throttle")
    assert calls_of(sandbox, lambda: converge(converged.pk)) == {
        "ImportApiKeys": MOST_TRIES,
        "GetUsagePlans": THROTTLED_THRESHOLD - MOST_TRIES,
    }

    for _ in range(3):
        assert seconds_left_alone(converged) > 20
        assert calls_of(sandbox, lambda: converge(converged.pk)) == {}
        Gateway.objects.update(resume_at=Now())  # the pause is over
        GatewayKey.objects.update(next_try_at=None)
        assert calls_of(sandbox, lambda: converge(converged.pk)) == {"GetUsagePlans": 1}

    sandbox.clear_faults()
    Gateway.objects.update(resume_at=Now())
    converge(converged.pk)
    assert GatewayKey.objects.get().is_in_service(timezone.now())
    converged.refresh_from_db()
    assert (converged.failures, converged.resume_at, converged.last_error) == (0, None, "")


def test_five_429_in_a_row_open_no_circuit(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    """An account at its rates answers some calls so: a heartbeat says that it answers, and work goes on."""
    buy(make_tenant(), tier)
    sandbox.fault(kind="throttle", count=THROTTLED_THRESHOLD - 1)

    used = calls_of(sandbox, lambda: converge(converged.pk))

    assert (used["ImportApiKeys"], used["GetUsagePlans"]) == (MOST_TRIES, THROTTLED_THRESHOLD - MOST_TRIES)
    converged.refresh_from_db()
    assert (converged.failures, converged.resume_at) == (0, None)
    GatewayKey.objects.update(next_try_at=None)
    converge(converged.pk)
    assert GatewayKey.objects.get().is_in_service(timezone.now())


def seconds_left_alone(gateway: Gateway) -> float:
    """Since it failed last."""
    gateway.refresh_from_db()
    assert gateway.resume_at is not None
    assert gateway.last_error_at is not None
    return (gateway.resume_at - gateway.last_error_at).total_seconds()


# --- From one holder to the next


def test_change_of_a_plan_is_noted_before_it_is_sent(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    """A holder that is killed, or gets no answer, leaves nothing but that note."""
    sandbox.fault(kind="timeout", operation="UpdateUsagePlan", count=1)
    catalog.change_limits(tier=tier, throttle_rate=Decimal(10), throttle_burst=9, quota_limit=2000, quota_period="DAY", actor=SYSTEM)
    converge(converged.pk)

    Gateway.objects.update(lease_owner="killed", lease_expires_at=Now() - timedelta(seconds=1))
    lease = take(converged.pk)

    assert lease is not None
    assert lease.leftover.plan_idle_seconds is not None
    assert lease.leftover.plan_idle_seconds < 20


def test_killed_holder_leaves_no_saved_calls(converged: Gateway) -> None:
    converged.refresh_from_db()
    assert converged.calls_saved > 0

    take(converged.pk)

    converged.refresh_from_db()
    assert converged.calls_saved == 0


def test_calls_are_counted_a_gateway_and_operation(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    for _ in range(3):
        buy(make_tenant(), tier)
        converge(converged.pk)
    sandbox.fault(kind="error", status=503, operation="GetApiKeys", count=1)
    buy(make_tenant(), tier)
    converge(converged.pk)

    counted = {row.operation: row.calls for row in CallCount.objects.filter(gateway=converged)}
    assert counted == sandbox.state()["calls"]
    assert CallCount.objects.get(operation="GetApiKeys").failed == 1


# --- Real workers


def paced(broker: Broker, start: Callable[..., WorkerProcess], monkeypatch: pytest.MonkeyPatch, **environment: str) -> WorkerProcess:
    from keys.services import bell
    from keys.tasks import converge as task

    monkeypatch.setattr(bell, "_ring_now", lambda gateway_id: task.delay(gateway_id=str(gateway_id)))
    quiet = {"HEARTBEAT_SECONDS": "3600", "USAGE_SECONDS": "86400", "CANARY_SECONDS": "0"}
    return start(broker, GATEWAY_PACING="aws", **quiet, **environment)


@pytest.mark.slow
@pytest.mark.postgres
def test_revoke_overtakes_a_backlog_of_creations(
    one_by_one: Gateway,
    tier: Tier,
    sandbox: SandboxProcess,
    file_broker: Broker,
    celery_worker_process: Callable[..., WorkerProcess],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bought = buy(make_tenant(), tier)
    converge(one_by_one.pk)
    value = value_of(GatewayKey.objects.get(pk=bought.gateway_key_id))
    paced(file_broker, celery_worker_process, monkeypatch)
    want_spares(tier, 500)
    wait_until(lambda: len(remote_keys(sandbox)) > 5, seconds=20, what="spares")

    api_keys.revoke(api_key=bought, actor=SYSTEM)
    wait_until(lambda: sandbox.invoke(value).status == 403, seconds=12, what="a revoked key that is refused")

    assert len(remote_keys(sandbox)) < 100  # 500 spares at 5 a second are far from done
    assert sandbox.state()["throttled"] == {}
    Tier.objects.update(spare_target=0)
    GatewayKey.objects.filter(remote_id="").update(removed_at=timezone.now())


@pytest.mark.slow
@pytest.mark.postgres
def test_gateway_that_hangs_holds_up_no_other(
    converged: Gateway,
    tier: Tier,
    sandbox: SandboxProcess,
    file_broker: Broker,
    celery_worker_process: Callable[..., WorkerProcess],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tests.support.factories import make_gateway, make_stage

    other = make_gateway()
    theirs = make_tier(stage=make_stage(other))
    bought = buy(make_tenant(), theirs)
    converge(other.pk)
    value = value_of(GatewayKey.objects.get(pk=bought.gateway_key_id))
    assert sandbox.invoke(value).status == 200
    paced(file_broker, celery_worker_process, monkeypatch, GATEWAY_TIMEOUT_SECONDS="20")
    # A worker that has begun to work: the first call of a process makes a client for it.
    buy(make_tenant(), tier)
    wait_until(lambda: len(remote_keys(sandbox)) == 2, seconds=20, what="a key that is made")
    sandbox.fault(kind="timeout", work=False, operation="ImportApiKeys")
    for _ in range(5):
        buy(make_tenant(), tier)
    wait_until(lambda: sandbox.state()["calls"]["ImportApiKeys"] == 3, seconds=10, what="a call that hangs")

    api_keys.revoke(api_key=bought, actor=SYSTEM)
    wait_until(lambda: sandbox.invoke(value).status == 403, seconds=10, what="a revoked key that is refused")

    assert Gateway.objects.get(pk=converged.pk).lease_owner  # the call still hangs
    sandbox.clear_faults()
