"""Converge against a real sandbox over HTTP: make, enable, disable, revoke, change, repeat."""

from datetime import timedelta
from decimal import Decimal

from django.utils import timezone

from keys.models import Gateway, GatewayKey, KeyRole, Priority, Status, Tier, UsagePlan
from keys.services import api_keys, catalog
from keys.sync import outcome
from keys.sync.converge import converge
from keys.sync.session import speak_to
from tenants.audit import SYSTEM
from tests.keys.sync.conftest import remote_keys, value_of
from tests.support.factories import buy, make_tenant, make_tier
from tests.support.sandbox import SandboxProcess


def test_purchase_ends_in_a_key_that_works(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    bought = buy(make_tenant(), tier)

    converge(converged.pk)

    key = GatewayKey.objects.get(pk=bought.gateway_key_id)
    assert (key.is_pending, key.last_error) == (False, "")
    assert remote_keys(sandbox)[key.remote_id]["enabled"] is True
    assert sandbox.invoke(value_of(key)).status == 200
    bought.refresh_from_db()
    assert bought.status(timezone.now()) is Status.READY


def test_many_keys_cost_few_calls(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    catalog.change_offer(tier=tier, spare_target=200, actor=SYSTEM, **_offer(tier))
    before = sandbox.state()["calls"]

    converge(converged.pk)

    after = sandbox.state()["calls"]
    used = {name: count - before.get(name, 0) for name, count in after.items() if count != before.get(name, 0)}
    assert used == {"ImportApiKeys": 1, "GetApiKeys": 1, "GetUsagePlanKeys": 1}
    assert GatewayKey.objects.filter(role=KeyRole.SPARE, in_service_at__lte=timezone.now()).count() == 200


def test_a_second_converge_changes_nothing(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    buy(make_tenant(), tier)
    converge(converged.pk)
    calls, rows = sandbox.state()["calls"], list(GatewayKey.objects.values())

    converge(converged.pk)

    assert sandbox.state()["calls"] == calls
    assert list(GatewayKey.objects.values()) == rows


def test_propagation_time_passes_before_a_key_is_in_service(converged: Gateway, tier: Tier) -> None:
    Gateway.objects.update(propagation_seconds=60)
    bought = buy(make_tenant(), tier)
    before = timezone.now()

    converge(converged.pk)

    bought.refresh_from_db()
    in_service_at = bought.gateway_key.in_service_at
    assert in_service_at is not None
    assert before + timedelta(seconds=60) <= in_service_at <= timezone.now() + timedelta(seconds=60)
    assert bought.status(timezone.now()) is Status.PREPARING


def test_disable_and_enable_reach_the_gateway(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    bought = buy(make_tenant(), tier)
    converge(converged.pk)
    key = GatewayKey.objects.get(pk=bought.gateway_key_id)

    api_keys.disable(api_key=bought, actor=SYSTEM)
    converge(converged.pk)

    assert sandbox.invoke(value_of(key)).status == 403
    key.refresh_from_db()
    assert (key.in_service_at, key.is_pending) == (None, False)

    api_keys.enable(api_key=bought, actor=SYSTEM)
    converge(converged.pk)

    assert sandbox.invoke(value_of(key)).status == 200
    key.refresh_from_db()
    assert key.is_in_service(timezone.now())


def test_revoke_removes_the_key(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    bought = buy(make_tenant(), tier)
    converge(converged.pk)
    key = GatewayKey.objects.get(pk=bought.gateway_key_id)

    api_keys.revoke(api_key=bought, actor=SYSTEM)
    converge(converged.pk)

    assert sandbox.invoke(value_of(key)).status == 403
    assert remote_keys(sandbox) == {}
    key.refresh_from_db()
    assert key.removed_at is not None


def test_revoke_of_a_key_that_was_never_sent_costs_no_call(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    bought = buy(make_tenant(), tier)
    api_keys.revoke(api_key=bought, actor=SYSTEM)
    calls = sandbox.state()["calls"]

    converge(converged.pk)

    assert sandbox.state()["calls"] == calls
    assert GatewayKey.objects.get().removed_at is not None


def test_key_disabled_before_it_was_sent_is_made_disabled(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    bought = buy(make_tenant(), tier)
    api_keys.disable(api_key=bought, actor=SYSTEM)

    converge(converged.pk)

    (remote,) = remote_keys(sandbox).values()
    assert remote["enabled"] is False
    assert GatewayKey.objects.get().is_pending is False


def test_revoke_goes_before_everything_else(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    bought = buy(make_tenant(), tier)
    converge(converged.pk)
    api_keys.revoke(api_key=bought, actor=SYSTEM)
    buy(make_tenant(), tier)
    # Nothing but the first call is let through.
    sandbox.fault(kind="error", status=503, operation=["ImportApiKeys", "GetUsagePlans", "UpdateUsagePlan"])

    converge(converged.pk)

    assert remote_keys(sandbox) == {}
    assert GatewayKey.objects.get(pk=bought.gateway_key_id).removed_at is not None


def test_purchase_does_not_wait_behind_keys_that_are_made_anew(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    Gateway.objects.update(uses_imports=False)
    for _ in range(8):
        buy(make_tenant(), tier)
    converge(converged.pk)
    lost = list(GatewayKey.objects.all())
    for key in lost:
        sandbox.client().delete_api_key(apiKey=key.remote_id)
    with speak_to(converged.pk) as session:
        assert session is not None
        outcome.missing(session, lost)

    late = buy(make_tenant(), tier)
    converge(converged.pk)

    assert {sandbox.invoke(value_of(key)).status for key in GatewayKey.objects.all()} == {200}
    in_turn = dict(GatewayKey.objects.values_list("pk", "synced_at"))
    assert in_turn.pop(late.gateway_key_id) <= min(in_turn.values())


def test_key_past_a_later_end_is_removed(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    bought = buy(make_tenant(), tier)
    converge(converged.pk)
    GatewayKey.objects.update(ends_at=timezone.now() + timedelta(hours=1), priority=Priority.REVOKE)
    converge(converged.pk)
    assert len(remote_keys(sandbox)) == 1

    GatewayKey.objects.update(ends_at=timezone.now())
    converge(converged.pk)

    assert remote_keys(sandbox) == {}
    assert GatewayKey.objects.get(pk=bought.gateway_key_id).removed_at is not None


def test_changed_limits_reach_the_usage_plan(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    catalog.change_limits(tier=tier, throttle_rate=Decimal("0.5"), throttle_burst=7, quota_limit=50, quota_period="MONTH", actor=SYSTEM)

    converge(converged.pk)

    (plan,) = sandbox.state()["plans"]
    assert plan["throttle"] == {"rateLimit": 0.5, "burstLimit": 7}
    assert (plan["quota"]["limit"], plan["quota"]["period"]) == (50, "MONTH")
    assert sandbox.state()["calls"]["UpdateUsagePlan"] == 1
    row = UsagePlan.objects.get()
    assert row.is_pending is False
    assert row.observed["rate"] == "0.5"


def test_quota_can_go_and_come_back(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    limits = {"tier": tier, "throttle_rate": Decimal(10), "throttle_burst": 5, "actor": SYSTEM}
    catalog.change_limits(quota_limit=None, quota_period="", **limits)
    converge(converged.pk)
    assert "quota" not in sandbox.state()["plans"][0]

    catalog.change_limits(quota_limit=9, quota_period="WEEK", **limits)
    converge(converged.pk)

    assert sandbox.state()["plans"][0]["quota"] == {"limit": 9, "offset": 0, "period": "WEEK"}


def test_usage_plan_that_exists_by_name_is_not_made_twice(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    UsagePlan.objects.update(remote_id="", synced_revision=0)

    converge(converged.pk)

    assert len(sandbox.state()["plans"]) == 1
    assert UsagePlan.objects.get().remote_id == sandbox.state()["plans"][0]["id"]


def test_unknown_stage_waits_for_a_person_and_says_so(gateway: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    tier.stages.update(rest_api_id="gone")

    converge(gateway.pk)

    plan = UsagePlan.objects.get()
    assert plan.permanent is True
    assert "gone" in plan.last_error
    assert "stage" in plan.last_error


def test_pool_keys_are_ready_with_their_tier(gateway: Gateway, sandbox: SandboxProcess, stage: object) -> None:
    pooled = make_tier(stage=stage, pool_size=5)

    converge(gateway.pk)

    keys = GatewayKey.objects.filter(usage_plan__tier=pooled)
    assert [sandbox.invoke(value_of(key)).status for key in keys] == [200] * 5


def test_newer_intent_stays_pending(converged: Gateway, tier: Tier, monkeypatch: object, sandbox: SandboxProcess) -> None:
    """A disable that comes while the import is on its way is not swallowed by the import's outcome."""
    bought = buy(make_tenant(), tier)
    from keys.sync import imports

    look_up = imports.look_up

    def disable_then_look(*args: object) -> object:
        if not GatewayKey.objects.get().enabled:
            return look_up(*args)
        api_keys.disable(api_key=bought, actor=SYSTEM)
        return look_up(*args)

    monkeypatch.setattr(imports, "look_up", disable_then_look)  # type: ignore[attr-defined]

    converge(converged.pk)

    (remote,) = remote_keys(sandbox).values()
    assert remote["enabled"] is False
    assert GatewayKey.objects.get().is_pending is False


def _offer(tier: Tier) -> dict[str, object]:
    return {field: getattr(tier, field) for field in ("name", "description", "position", "price_minor", "currency", "max_api_keys")}
