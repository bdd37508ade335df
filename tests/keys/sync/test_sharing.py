"""Beside a long backlog nothing less urgent is starved, and nothing more urgent waits for it."""

from collections.abc import Callable
from typing import Any

import pytest

from keys import tasks
from keys.gateway.client import GatewayClient
from keys.models import Gateway, GatewayKey, KeyRole, Priority, Tier
from keys.services import api_keys, catalog, gateways
from keys.sync import creates, switches
from keys.sync.converge import converge
from keys.sync.lease import take
from keys.sync.sharing import EACH, FIRST, Share
from tenants.audit import SYSTEM
from tests.keys.sync.conftest import remote_keys
from tests.support.factories import buy, make_tenant
from tests.support.sandbox import SandboxProcess

Watch = Callable[..., list[str]]


def want_spares(tier: Tier, count: int) -> None:
    tier.refresh_from_db()
    offer = {name: getattr(tier, name) for name in ("name", "description", "position", "price_minor", "currency", "max_api_keys")}
    catalog.change_offer(tier=tier, spare_target=count, actor=SYSTEM, **offer)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """The operations of all calls in their order; a backlog shares from its tenth call, and each call looks for what is more urgent.

    ``operation``, ``work``: something that is done right after the first call of an operation.
    """
    monkeypatch.setattr("keys.sync.sharing.FIRST", 10)
    monkeypatch.setattr("keys.sync.session.LOOK_SECONDS", 0.0)
    call = GatewayClient._call

    def begin(operation: str = "", work: Callable[[], object] = lambda: None) -> list[str]:
        done: list[str] = []

        def watched(self: GatewayClient, name: str, *args: Any, **kwargs: Any) -> Any:
            answer = call(self, name, *args, **kwargs)
            done.append(name)
            if name == operation and done.count(name) == 1:
                work()
            return answer

        monkeypatch.setattr(GatewayClient, "_call", watched)
        return done

    return begin


@pytest.fixture
def one_by_one(converged: Gateway) -> Gateway:
    Gateway.objects.update(uses_imports=False)
    return converged


def last(done: list[str], operation: str) -> int:
    return len(done) - 1 - done[::-1].index(operation)


def test_a_tenth_of_the_calls_is_for_what_is_less_urgent() -> None:
    share = Share(["usage", "reconcile"])
    served: list[str] = []
    backlog = others = 0
    while backlog < 100 * FIRST:
        backlog += 1
        share.spent(1)
        if share.is_due:
            assert backlog >= FIRST
            served.append(next(share.turns()))
            others += 7
            share.taken(7)

    assert others * EACH == pytest.approx(backlog - FIRST, abs=7 * EACH)
    assert served[:4] == ["usage", "reconcile", "usage", "reconcile"]


def test_turn_that_found_nothing_is_not_looked_for_after_every_call() -> None:
    share = Share(["usage"])
    share.spent(FIRST)
    assert share.is_due

    share.taken(0)

    share.spent(EACH - 1)
    assert not share.is_due


@pytest.mark.parametrize("backlog", ["spares", "purchases", "revokes"])
def test_usage_is_read_and_everything_compared_beside_a_backlog(
    one_by_one: Gateway, tier: Tier, sandbox: SandboxProcess, watch: Watch, backlog: str
) -> None:
    bought = [buy(make_tenant(), tier) for _ in range(45 if backlog == "revokes" else 30)] if backlog != "spares" else []
    if backlog == "spares":
        want_spares(tier, 30)
    elif backlog == "revokes":
        converge(one_by_one.pk)
        for each in bought:
            api_keys.revoke(api_key=each, actor=SYSTEM)
    operation = "DeleteApiKey" if backlog == "revokes" else "CreateApiKey"
    Gateway.objects.update(usage_read_at=None)
    before = one_by_one.reconcile_runs.count()
    done = watch(operation, lambda: gateways.request_reconcile(gateway=one_by_one, actor=SYSTEM))

    converge(one_by_one.pk)

    assert done.index("GetUsage") < done.index("GetUsagePlans") < last(done, operation)
    assert done.count("GetUsage") == 1
    assert one_by_one.reconcile_runs.count() == before + 1
    assert not one_by_one.findings.exists()
    assert not any(key.is_pending for key in GatewayKey.objects.all())


def test_spare_gets_its_share_of_the_calls_that_purchases_take(
    one_by_one: Gateway, tier: Tier, sandbox: SandboxProcess, watch: Watch
) -> None:
    """Not one purchase more: a share that went to the backlog itself would be none."""
    for _ in range(40):
        buy(make_tenant(), tier)
    want_spares(tier, 3)
    watch()
    confirmed: list[tuple[str, int]] = []
    create = creates.create_keys

    def noted(session: Any, rows: Any) -> None:
        create(session, rows)
        confirmed.extend((row.role, GatewayKey.objects.filter(role=KeyRole.SILO, remote_id="").count()) for row in rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(creates, "create_keys", noted)
        converge(one_by_one.pk)

    purchases_left = [left for role, left in confirmed if role == KeyRole.SPARE]
    assert len(purchases_left) == 3
    assert all(left > 0 for left in purchases_left)
    assert len(remote_keys(sandbox)) == 43


@pytest.mark.parametrize("backlog", ["spares", "purchases"])
def test_revoke_goes_before_what_has_its_share(
    one_by_one: Gateway, tier: Tier, sandbox: SandboxProcess, watch: Watch, backlog: str
) -> None:
    leaked = buy(make_tenant(), tier)
    converge(one_by_one.pk)
    if backlog == "spares":
        want_spares(tier, 30)
    else:
        for _ in range(30):
            buy(make_tenant(), tier)
    sandbox.fault(kind="truncate", size=2, operation="GetApiKeys")
    gateways.request_reconcile(gateway=one_by_one, actor=SYSTEM)
    done = watch("GetApiKeys", lambda: api_keys.revoke(api_key=leaked, actor=SYSTEM))

    converge(one_by_one.pk)

    assert done.index("DeleteApiKey") == done.index("GetApiKeys") + 1
    assert done[done.index("DeleteApiKey") + 1] == "GetApiKeys"
    assert done.index("GetApiKeys") < last(done, "CreateApiKey")


def test_many_revokes_go_on_between_the_calls_of_what_has_its_share(
    one_by_one: Gateway, tier: Tier, sandbox: SandboxProcess, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    bought = [buy(make_tenant(), tier) for _ in range(40)]
    converge(one_by_one.pk)
    for each in bought:
        api_keys.revoke(api_key=each, actor=SYSTEM)
    sandbox.fault(kind="truncate", size=10, operation="GetApiKeys")
    gateways.request_reconcile(gateway=one_by_one, actor=SYSTEM)
    done = watch()

    converge(one_by_one.pk)

    start = done.index("GetUsagePlans")
    others = [at for at, name in enumerate(done) if at >= start and name != "DeleteApiKey" and at < last(done, "DeleteApiKey")]
    assert len(others) >= 2
    assert all(done[at + 1 : at + 1 + switches.BATCH].count("DeleteApiKey") == switches.BATCH for at in others[:2])
    assert remote_keys(sandbox) == {}


def test_keys_that_are_cut_off_already_are_removed_behind_purchases(
    converged: Gateway, tier: Tier, sandbox: SandboxProcess, watch: Watch
) -> None:
    bought = [buy(make_tenant(), tier) for _ in range(25)]
    converge(converged.pk)
    for each in bought:
        api_keys.revoke(api_key=each, actor=SYSTEM)
    done = watch("DeleteApiKey", lambda: buy(make_tenant(), tier))

    converge(converged.pk)

    assert done.index("ImportApiKeys", done.index("DeleteApiKey")) == done.index("DeleteApiKey") + 1
    assert done.count("DeleteApiKey") == 25
    assert len(remote_keys(sandbox)) == 1
    assert set(GatewayKey.objects.exclude(removed_at=None).values_list("priority", flat=True)) == {Priority.SPARE}


def test_spares_are_written_no_further_ahead_than_they_are_sent(
    one_by_one: Gateway, tier: Tier, sandbox: SandboxProcess, watch: Watch
) -> None:
    wanted = 2 * creates.AHEAD + 5
    rows: list[int] = []
    want_spares(tier, wanted)
    watch("CreateApiKey", lambda: rows.append(GatewayKey.objects.filter(role=KeyRole.SPARE).count()))

    converge(one_by_one.pk)

    assert rows == [creates.AHEAD]
    assert len(remote_keys(sandbox)) == GatewayKey.objects.filter(in_service_at__isnull=False).count() == wanted


def test_what_takes_longer_than_a_turn_goes_on_in_a_message_of_its_own(
    one_by_one: Gateway, tier: Tier, sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keys.sync.session.TURN_SECONDS", 0)
    sent: list[str] = []
    monkeypatch.setattr(tasks.converge, "delay", lambda *, gateway_id: sent.append(gateway_id))
    for _ in range(12):
        buy(make_tenant(), tier)

    tasks.converge(gateway_id=str(one_by_one.pk))
    assert 0 < len(remote_keys(sandbox)) < 12
    while len(sent) < 50 and len(remote_keys(sandbox)) < 12:
        tasks.converge(gateway_id=sent[-1])

    assert len(remote_keys(sandbox)) == 12
    assert set(sent) == {str(one_by_one.pk)}


def test_worker_without_the_lease_asks_nobody_to_go_on(converged: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keys.sync.session.TURN_SECONDS", 0)
    assert take(converged.pk) is not None

    assert converge(converged.pk) is False
