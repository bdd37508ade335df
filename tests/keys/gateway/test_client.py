"""The client against a real sandbox: types in and out, paging, and no credential where it does not belong."""

import csv
import io
import signal
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from structlog.testing import capture_logs

from keys import values
from keys.gateway.access import Access
from keys.gateway.client import GatewayClient, _csv
from keys.gateway.errors import GatewayError, Kind, NotFound, Permanent, TryLater
from keys.gateway.patches import plan_patches
from keys.gateway.types import ImportRow, PlanSpec
from tests.support.sandbox import SandboxProcess

SPEC = PlanSpec(name="tollgate-test", rate=Decimal("2.5"), burst=7, quota_limit=20, quota_period="DAY", stages=frozenset({"groceries:v1"}))

HERE = Access(account_id="0" * 12, region="us-east-1")


class Notebook:
    """A guard that lets everything pass and writes it down."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.errors: list[GatewayError | None] = []

    def before(self, operation: str) -> None:
        self.calls.append(operation)

    def still(self) -> None:
        pass

    def after(self, operation: str, error: GatewayError | None) -> None:
        self.errors.append(error)


@pytest.fixture(autouse=True)
def _short_time_out(settings: Any, new_clients: None) -> None:
    settings.GATEWAY_TIMEOUT_SECONDS = 1


@pytest.fixture
def guard() -> Notebook:
    return Notebook()


@pytest.fixture
def client(sandbox: SandboxProcess, guard: Notebook) -> GatewayClient:
    return GatewayClient(HERE, guard)


def rows(plan_id: str, count: int, batch: str = "tollgate-00000000-") -> list[ImportRow]:
    return [ImportRow(f"{batch}{number:04}", values.new_value(), enabled=True, plan_id=plan_id) for number in range(count)]


def test_plan_goes_and_comes_back_equal(client: GatewayClient) -> None:
    made = client.create_plan(SPEC)

    assert made.spec == SPEC
    assert client.list_plans() == [made]
    assert client.get_plan(made.id) == made


def test_plan_without_limits_has_none(client: GatewayClient) -> None:
    spec = replace(SPEC, rate=None, burst=None, quota_limit=None, quota_period="", stages=frozenset())

    assert client.create_plan(spec).spec == spec


@pytest.mark.parametrize(
    "desired",
    [
        replace(SPEC, rate=Decimal("0.5"), burst=1),
        replace(SPEC, quota_limit=None, quota_period=""),
        replace(SPEC, rate=None, burst=None),
        replace(SPEC, stages=frozenset()),
        replace(SPEC, name="tollgate-other", quota_period="MONTH", quota_limit=9),
    ],
)
def test_patches_make_the_plan_equal_and_back(client: GatewayClient, desired: PlanSpec) -> None:
    made = client.create_plan(SPEC)

    assert client.update_plan(made.id, plan_patches(SPEC, desired)).spec == desired
    assert client.update_plan(made.id, plan_patches(desired, SPEC)).spec == SPEC


def test_import_makes_enabled_members_at_once(client: GatewayClient, sandbox: SandboxProcess) -> None:
    plan = client.create_plan(SPEC)
    (row,) = rows(plan.id, 1)

    client.import_keys([row])

    (key,) = client.list_keys()
    assert (key.name, key.enabled) == (row.name, True)
    assert [member.id for member in client.list_plan_members(plan.id)] == [key.id]
    assert sandbox.invoke(row.value).status == 200


def test_lists_are_read_page_by_page(client: GatewayClient, guard: Notebook) -> None:
    plan = client.create_plan(SPEC)
    client.import_keys(rows(plan.id, 1001))
    guard.calls.clear()

    assert len({key.id for key in client.list_keys()}) == 1001
    assert guard.calls == ["GetApiKeys"] * 3
    assert len(client.list_plan_members(plan.id)) == 1001
    assert guard.calls[3:] == ["GetUsagePlanKeys"] * 3


def test_name_prefix_finds_one_batch(client: GatewayClient) -> None:
    plan = client.create_plan(SPEC)
    client.import_keys([*rows(plan.id, 2), *rows(plan.id, 3, "tollgate-11111111-")])

    assert len(client.list_keys("tollgate-11111111-")) == 3
    assert len(client.list_plan_members(plan.id, "tollgate-00000000-")) == 2


def test_switch_detach_attach_delete(client: GatewayClient, sandbox: SandboxProcess) -> None:
    plan = client.create_plan(SPEC)
    (row,) = rows(plan.id, 1)
    client.import_keys([row])
    (key,) = client.list_keys()

    client.update_key_enabled(key.id, enabled=False)
    assert client.get_key(key.id).enabled is False
    client.update_key_enabled(key.id, enabled=True)
    assert (client.detach(plan.id, key.id), client.detach(plan.id, key.id)) == (True, False)
    client.attach(plan.id, key.id)
    assert sandbox.invoke(row.value).status == 200
    assert [found.id for found in client.list_plans(key_id=key.id)] == [plan.id]
    assert (client.delete_key(key.id), client.delete_key(key.id)) == (True, False)
    with pytest.raises(NotFound):
        client.get_key(key.id)


def test_usage_is_told_a_day_and_key(client: GatewayClient, sandbox: SandboxProcess) -> None:
    plan = client.create_plan(SPEC)
    (row,) = rows(plan.id, 1)
    client.import_keys([row])
    for _ in range(3):
        assert sandbox.invoke(row.value).status == 200
    today = datetime.now(UTC).date()

    (usage,) = client.get_usage(plan.id, today - timedelta(days=1), today)

    assert usage.key_id == client.list_keys()[0].id
    assert usage.days == ((today - timedelta(days=1), 0, 20), (today, 3, 17))


def test_failure_is_sorted_and_told_to_the_guard(client: GatewayClient, guard: Notebook, sandbox: SandboxProcess) -> None:
    sandbox.fault(kind="throttle", count=1)

    with pytest.raises(TryLater) as raised:
        client.list_plans()

    assert raised.value.kind is Kind.THROTTLED
    assert guard.errors == [raised.value]
    assert sandbox.state()["calls"] == {"GetUsagePlans": 1}


@pytest.mark.parametrize(("fault", "kind"), [("timeout", Kind.UNKNOWN), ("reset", Kind.UNKNOWN), ("conflict", Kind.CONFLICT)])
def test_lost_answers_are_not_taken_for_failures(client: GatewayClient, sandbox: SandboxProcess, fault: str, kind: Kind) -> None:
    sandbox.fault(kind=fault, count=1)

    with pytest.raises(TryLater) as raised:
        client.create_plan(SPEC)

    assert raised.value.kind is kind


def test_nobody_there(guard: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_API_GATEWAY", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")

    with pytest.raises(TryLater) as raised:
        GatewayClient(HERE, guard).list_plans()

    assert raised.value.kind is Kind.CONNECTION


def test_guard_that_forbids_keeps_the_call_from_being_sent(client: GatewayClient, guard: Notebook, sandbox: SandboxProcess) -> None:
    guard.before = lambda operation: (_ for _ in ()).throw(RuntimeError(operation))  # type: ignore[method-assign]

    with pytest.raises(RuntimeError):
        client.list_keys()

    assert sandbox.state()["calls"] == {}


def test_call_that_was_broken_off_is_not_taken_for_an_answer(client: GatewayClient, guard: Notebook, sandbox: SandboxProcess) -> None:
    """As by somebody at the keyboard, or by a worker that is shut down."""
    client.list_plans()
    sandbox.fault(kind="latency", operation="GetUsagePlans", seconds=0.9)
    main = threading.main_thread().ident
    assert main is not None
    later = threading.Timer(0.2, signal.pthread_kill, (main, signal.SIGUSR1))
    guard.still = later.start  # type: ignore[method-assign]
    usual = signal.signal(signal.SIGUSR1, signal.default_int_handler)  # SIGINT itself may be ignored, as in a shell's background job

    with capture_logs() as logged, pytest.raises(KeyboardInterrupt):
        client.list_plans()

    later.join()
    signal.signal(signal.SIGUSR1, usual)
    assert [entry["outcome"] for entry in logged] == ["interrupted"]
    assert guard.errors == [None]  # of the first call


def test_log_and_words_hold_no_credential(client: GatewayClient) -> None:
    plan = client.create_plan(SPEC)
    good, bad = rows(plan.id, 2)
    bad = replace(bad, plan_id="nosuch")

    with capture_logs() as logged, pytest.raises(Permanent) as raised:
        client.import_keys([good, bad])

    everything = f"{logged} {raised.value} {good!r} {bad!r}"
    assert good.value not in everything
    assert bad.value not in everything
    assert [entry["event"] for entry in logged] == ["gateway.call"]
    assert logged[0]["keys"] == 2


def test_csv_quotes_everything() -> None:
    row = ImportRow('a "name", with\nall', "value", enabled=False, plan_id="p1,p2")

    header, line = csv.reader(io.StringIO(_csv([row]).decode()))

    assert dict(zip(header, line, strict=True)) == {
        "Name": row.name,
        "Key": "value",
        "Description": "",
        "Enabled": "FALSE",
        "UsagePlanIds": "p1,p2",
    }


def test_answer_without_what_is_always_there_is_a_broken_one(client: GatewayClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GatewayClient, "_call", lambda *args, **kwargs: {})

    with pytest.raises(TryLater):
        client.get_key("any")
