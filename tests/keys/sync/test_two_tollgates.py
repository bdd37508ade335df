"""Two Tollgates in one account and Region: neither takes what is the other's for its own, nor is disturbed by it."""

from typing import Any

import pytest

from keys.gateway.client import GatewayClient
from keys.models import Finding, Gateway, GatewayKey, ReconcileRun, UsagePlan
from keys.sync.converge import converge, reconcile
from tests.keys.sync.conftest import remote_keys
from tests.support.factories import buy, make_gateway, make_stage, make_tenant, make_tier
from tests.support.sandbox import SandboxProcess


@pytest.fixture
def ours(converged: Gateway, tier: Any) -> Gateway:
    """A usage plan with two keys."""
    buy(make_tenant(), tier)
    buy(make_tenant(), tier)
    converge(converged.pk)
    return converged


@pytest.fixture
def theirs(ours: Gateway, sandbox: SandboxProcess) -> Gateway:
    """The other Tollgate's row of the same account, as the sandbox has one account alone: two usage plans with a key each."""
    gateway = make_gateway()
    stage = make_stage(gateway, rest_api_id="groceries", invoke_url=sandbox.invoke_url(""))
    for _plan in range(2):
        buy(make_tenant(), make_tier(stage=stage))
    converge(gateway.pk)
    assert UsagePlan.objects.filter(gateway=gateway, synced_revision=1).count() == 2
    return gateway


def told(run: ReconcileRun | None) -> list[tuple[str, str]]:
    assert run is not None
    assert (run.error, run.stopped) == ("", "")
    return sorted((finding.kind, finding.subject) for finding in run.findings.all())


def test_the_others_usage_plans_are_told_of_once_and_are_no_drift(ours: Gateway, theirs: Gateway, sandbox: SandboxProcess) -> None:
    Finding.objects.all().delete()
    before = (remote_keys(sandbox), sandbox.state()["plans"])

    assert told(reconcile(ours.pk)) == [("foreign", "gateway key")] * 2 + [("foreign", "usage plan")] * 2
    assert told(reconcile(ours.pk)) == []

    assert (remote_keys(sandbox), sandbox.state()["plans"]) == before
    plans = Finding.objects.filter(subject="usage plan")
    assert set(plans.values_list("remote_id", flat=True)) == set(theirs.usage_plans.values_list("remote_id", flat=True))
    for finding in plans:
        assert "another Tollgate's in this account" in finding.action
        assert finding.resolved_at is None
    assert not Finding.objects.exclude(kind="foreign").exists()
    ours.refresh_from_db()
    assert ours.foreign_keys == 2


def test_the_finding_of_an_others_usage_plan_is_over_once_that_is_gone(ours: Gateway, sandbox: SandboxProcess) -> None:
    plan = sandbox.client().create_usage_plan(name="tollgate-theirs")["id"]
    reconcile(ours.pk)
    reconcile(ours.pk, dry_run=True)
    sandbox.client().delete_usage_plan(usagePlanId=plan)

    reconcile(ours.pk)

    assert Finding.objects.filter(remote_id=plan).count() == 2
    assert not Finding.objects.filter(resolved_at=None).exists()


def test_a_second_usage_plan_of_a_name_of_ours_is_told_of_once(ours: Gateway, sandbox: SandboxProcess) -> None:
    sandbox.client().create_usage_plan(name=UsagePlan.objects.get().remote_name)

    assert told(reconcile(ours.pk)) == [("duplicate", "usage plan")]
    assert told(reconcile(ours.pk)) == []


def test_keys_that_the_other_makes_while_we_list_are_no_sign_of_a_list_that_lies(
    ours: Gateway, theirs: Gateway, sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    list_members = GatewayClient.list_plan_members
    made = []

    def meanwhile(self: GatewayClient, *arguments: Any) -> Any:
        if not made:
            made.append(buy(make_tenant(), theirs.usage_plans.all()[0].tier))
            converge(theirs.pk)
        return list_members(self, *arguments)

    monkeypatch.setattr(GatewayClient, "list_plan_members", meanwhile)

    told(reconcile(ours.pk))

    assert GatewayKey.objects.get(pk=made[0].gateway_key_id).in_service_at is not None


def test_a_key_of_ours_in_an_others_usage_plan_is_taken_out_of_it(ours: Gateway, theirs: Gateway, sandbox: SandboxProcess) -> None:
    key = ours.gateway_keys.filter(role="silo")[0]
    plan = theirs.usage_plans.all()[0]
    client = sandbox.client()
    client.delete_usage_plan_key(usagePlanId=key.usage_plan.remote_id, keyId=key.remote_id)
    client.create_usage_plan_key(usagePlanId=plan.remote_id, keyId=key.remote_id, keyType="API_KEY")

    reconcile(ours.pk)

    assert remote_keys(sandbox)[key.remote_id]["plans"] == [key.usage_plan.remote_id]
