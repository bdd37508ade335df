"""Somebody else changes the gateway behind our back: it is found, kept, repaired; what is foreign is never touched."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from keys import selectors
from keys.gateway.client import GatewayClient
from keys.models import Finding, FindingKind, Gateway, GatewayKey, ReconcileRun, Room, Tier, UsagePlan
from keys.services import api_keys, gateways
from keys.sync.converge import converge, go_first, reconcile
from keys.sync.names import mark_of
from keys.sync.reconcile import reconcile_all
from keys.sync.session import speak_to
from tenants.audit import SYSTEM
from tenants.models import AuditEvent
from tests.keys.sync.conftest import remote_keys, retry_now, value_of
from tests.support.factories import buy, make_tenant, make_tier
from tests.support.sandbox import SandboxProcess


@pytest.fixture
def busy(converged: Gateway, tier: Tier, stage: object) -> Gateway:
    """A pool of two keys, three siloed keys."""
    make_tier(stage=stage, pool_size=2)
    for _ in range(3):
        buy(make_tenant(), tier)
    converge(converged.pk)
    return converged


def findings(run: ReconcileRun | None) -> list[tuple[str, str]]:
    assert run is not None
    assert run.error == ""
    return sorted((finding.kind, finding.subject) for finding in run.findings.all())


def states() -> set[str]:
    """What has become of all findings."""
    return {finding.state.value for finding in Finding.objects.all()}


def statuses(sandbox: SandboxProcess) -> set[int]:
    return {sandbox.invoke(value_of(key)).status for key in GatewayKey.objects.filter(removed_at=None)}


def stray(sandbox: SandboxProcess, name: str = "stray") -> str:
    mark = mark_of(Gateway.objects.get().pk)
    return str(sandbox.client().create_api_key(name=f"{mark}99999999-{name}", enabled=True)["id"])


def test_nothing_is_found_where_nothing_differs(busy: Gateway, sandbox: SandboxProcess) -> None:
    run = reconcile(busy.pk)

    assert findings(run) == []
    assert run is not None
    assert (run.keys_listed, run.plans_listed) == (5, 2)
    busy.refresh_from_db()
    assert (busy.observed_keys, busy.last_reconciled_at) == (5, run.started_at)


def test_lists_cost_one_call_a_page(busy: Gateway, sandbox: SandboxProcess) -> None:
    before = sandbox.state()["calls"]

    reconcile(busy.pk, dry_run=True)

    after = sandbox.state()["calls"]
    used = {name: count - before.get(name, 0) for name, count in after.items() if count != before.get(name, 0)}
    assert used == {"GetUsagePlans": 1, "GetApiKeys": 1, "GetUsagePlanKeys": 2}


def test_each_kind_of_drift_is_found_and_repaired(busy: Gateway, sandbox: SandboxProcess, tier: Tier) -> None:
    client = sandbox.client()
    plan = UsagePlan.objects.get(tier=tier)
    other = UsagePlan.objects.exclude(tier=tier).get()
    missing, disabled, moved = GatewayKey.objects.filter(usage_plan=plan).order_by("pk")
    detached = GatewayKey.objects.filter(usage_plan=other).first()
    assert detached is not None
    client.delete_api_key(apiKey=missing.remote_id)
    client.update_api_key(apiKey=disabled.remote_id, patchOperations=[{"op": "replace", "path": "/enabled", "value": "false"}])
    client.delete_usage_plan_key(usagePlanId=plan.remote_id, keyId=moved.remote_id)
    client.create_usage_plan_key(usagePlanId=other.remote_id, keyId=moved.remote_id, keyType="API_KEY")
    client.delete_usage_plan_key(usagePlanId=other.remote_id, keyId=detached.remote_id)
    client.update_usage_plan(
        usagePlanId=plan.remote_id, patchOperations=[{"op": "replace", "path": "/throttle/burstLimit", "value": "9999"}]
    )

    run = reconcile(busy.pk)

    assert findings(run) == sorted(
        [
            ("wrong_limits", "usage plan"),
            ("missing", "gateway key"),
            ("wrong_enabled", "gateway key"),
            ("detached", "gateway key"),
            ("detached", "gateway key"),
            ("wrong_plan", "gateway key"),
        ]
    )
    assert Finding.objects.get(subject="usage plan").detail.count("burst") == 2
    assert statuses(sandbox) == {200}
    assert next(each for each in sandbox.state()["plans"] if each["id"] == plan.remote_id)["throttle"]["burstLimit"] == 5
    assert not any(row.is_pending for row in [*GatewayKey.objects.all(), *UsagePlan.objects.all()])
    assert states() == {"resolved"}
    assert findings(reconcile(busy.pk)) == []


def test_key_enabled_behind_our_back_is_disabled_again(busy: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    bought = tier.api_keys.first()
    assert bought is not None
    api_keys.disable(api_key=bought, actor=SYSTEM)
    converge(busy.pk)
    key = GatewayKey.objects.get(pk=bought.gateway_key_id)
    sandbox.client().update_api_key(apiKey=key.remote_id, patchOperations=[{"op": "replace", "path": "/enabled", "value": "true"}])

    reconcile(busy.pk)

    assert remote_keys(sandbox)[key.remote_id]["enabled"] is False


def test_key_that_was_renamed_and_disabled_is_repaired_where_no_imports_are_made(
    busy: Gateway, tier: Tier, sandbox: SandboxProcess
) -> None:
    Gateway.objects.update(uses_imports=False)
    key = GatewayKey.objects.filter(usage_plan__tier=tier).first()
    assert key is not None
    edits = [{"op": "replace", "path": "/enabled", "value": "false"}, {"op": "replace", "path": "/name", "value": "theirs"}]
    sandbox.client().update_api_key(apiKey=key.remote_id, patchOperations=edits)

    for _run in range(2):  # the name comes last
        reconcile(busy.pk)

    assert not GatewayKey.objects.filter(permanent=True).exists()
    assert statuses(sandbox) == {200}
    key.refresh_from_db()
    assert (key.is_pending, remote_keys(sandbox)[key.remote_id]["name"]) == (False, key.name)
    assert states() == {"resolved"}


def test_key_that_vanishes_before_it_is_repaired_is_made_anew_one_by_one(busy: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    Gateway.objects.update(uses_imports=False)
    key = GatewayKey.objects.filter(usage_plan__tier=tier).first()
    assert key is not None
    GatewayKey.objects.filter(pk=key.pk).update(synced_revision=0)
    sandbox.client().delete_api_key(apiKey=key.remote_id)

    for _time in range(2):
        converge(busy.pk)
        retry_now()

    assert statuses(sandbox) == {200}
    key.refresh_from_db()
    assert (key.is_pending, key.remote_id in remote_keys(sandbox)) == (False, True)


def test_deleted_usage_plan_comes_back_with_its_keys(busy: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    client, plan = sandbox.client(), UsagePlan.objects.get(tier=tier)
    client.update_usage_plan(usagePlanId=plan.remote_id, patchOperations=[{"op": "remove", "path": "/apiStages", "value": "groceries:v1"}])
    client.delete_usage_plan(usagePlanId=plan.remote_id)

    run = reconcile(busy.pk)

    assert findings(run).count(("missing", "usage plan")) == 1
    assert findings(run).count(("detached", "gateway key")) == 3
    assert statuses(sandbox) == {200}


def test_dry_run_changes_nothing(busy: Gateway, sandbox: SandboxProcess) -> None:
    stray(sandbox)
    sandbox.client().delete_api_key(apiKey=GatewayKey.objects.all()[0].remote_id)
    rows, state = list(GatewayKey.objects.values()), remote_keys(sandbox)

    run = reconcile(busy.pk, dry_run=True)

    assert findings(run) == [("extra", "gateway key"), ("missing", "gateway key")]
    assert list(GatewayKey.objects.values()) == rows
    assert remote_keys(sandbox) == state


def test_findings_are_being_repaired_until_their_rows_are_in_step_again(busy: Gateway, sandbox: SandboxProcess, tier: Tier) -> None:
    key, renamed = GatewayKey.objects.filter(usage_plan__tier=tier).order_by("pk")[:2]
    sandbox.client().delete_api_key(apiKey=key.remote_id)
    change = [{"op": "replace", "path": "/name", "value": "theirs"}]
    sandbox.client().update_api_key(apiKey=renamed.remote_id, patchOperations=change)
    sandbox.client().update_usage_plan(
        usagePlanId=UsagePlan.objects.get(tier=tier).remote_id,
        patchOperations=[{"op": "replace", "path": "/throttle/burstLimit", "value": "9999"}],
    )

    with speak_to(busy.pk) as session:
        assert session is not None
        run = reconcile_all(session)
        assert findings(run) == [("missing", "gateway key"), ("stale_name", "gateway key"), ("wrong_limits", "usage plan")]
        assert states() == {"repairing"}
        # What is under repair is not compared, so that it was not found again says nothing.
        assert findings(reconcile_all(session)) == []
        assert states() == {"repairing"}
    converge(busy.pk)

    assert states() == {"resolved"}
    for finding in run.findings.all():
        assert finding.resolved_at is not None
        assert finding.resolved_at >= run.started_at
    assert statuses(sandbox) == {200}


def test_finding_whose_repair_fails_stays_open_with_the_reason(busy: Gateway, sandbox: SandboxProcess, tier: Tier) -> None:
    key = GatewayKey.objects.filter(usage_plan__tier=tier).first()
    assert key is not None
    sandbox.client().delete_api_key(apiKey=key.remote_id)
    sandbox.fault(kind="error", operation="ImportApiKeys")

    reconcile(busy.pk)
    finding = Finding.objects.get()
    key.refresh_from_db()
    assert key.last_error
    assert (finding.state, finding.trouble, finding.resolved_at) == ("open", key.last_error, None)

    reconcile(busy.pk)  # looks again, and does not take what it could not compare for repaired
    finding.refresh_from_db()
    assert finding.state == "open"

    sandbox.clear_faults()
    retry_now()
    converge(busy.pk)
    finding.refresh_from_db()
    assert (finding.state, finding.trouble) == ("resolved", "")


def test_finding_of_a_key_that_could_not_be_detached_stays_open_with_the_reason(busy: Gateway, sandbox: SandboxProcess, tier: Tier) -> None:
    own, other = UsagePlan.objects.get(tier=tier), UsagePlan.objects.exclude(tier=tier).get()
    key = own.gateway_keys.filter(removed_at=None)[0]
    client = sandbox.client()
    client.delete_usage_plan_key(usagePlanId=own.remote_id, keyId=key.remote_id)
    client.create_usage_plan_key(usagePlanId=other.remote_id, keyId=key.remote_id, keyType="API_KEY")
    sandbox.fault(kind="error", operation="DeleteUsagePlanKey")

    reconcile(busy.pk)
    finding = Finding.objects.get(kind="wrong_plan")
    assert finding.state == "open"
    assert finding.trouble
    assert Finding.objects.get(kind="detached").state == "open"

    sandbox.clear_faults()
    reconcile(busy.pk)
    assert states() == {"resolved"}
    assert statuses(sandbox) == {200}


def test_extra_key_that_could_not_be_disabled_stays_open_with_the_reason(busy: Gateway, sandbox: SandboxProcess) -> None:
    stray(sandbox)
    sandbox.fault(kind="error", operation="UpdateApiKey")
    reconcile(busy.pk)
    finding = Finding.objects.get()
    assert finding.state == "open"
    assert finding.trouble


def test_foreign_keys_and_plans_are_never_touched(busy: Gateway, sandbox: SandboxProcess) -> None:
    client = sandbox.client()
    client.create_api_key(name="their key", enabled=True)
    client.create_usage_plan(name="their plan")
    before = {key["name"]: key for key in sandbox.state()["keys"]}["their key"]

    assert findings(reconcile(busy.pk)) == [("foreign", "gateway key")]
    assert findings(reconcile(busy.pk)) == []

    assert {key["name"]: key for key in sandbox.state()["keys"]}["their key"] == before
    busy.refresh_from_db()
    assert busy.foreign_keys == 1
    assert Finding.objects.get().resolved_at is None

    client.delete_api_key(apiKey=before["id"])
    reconcile(busy.pk)
    assert Finding.objects.get().resolved_at is not None


def test_thousands_of_foreign_keys_are_counted_and_a_few_told(busy: Gateway, sandbox: SandboxProcess) -> None:
    lines = ["name,key", *(f"theirs-{number},theirs{number:040d}" for number in range(1200))]
    sandbox.client().import_api_keys(body="\n".join(lines).encode(), format="csv", failOnWarnings=True)

    run = reconcile(busy.pk)

    assert findings(run) == [("foreign", "gateway key")] * 20
    busy.refresh_from_db()
    assert busy.foreign_keys == 1200


def test_extra_key_is_disabled_then_deleted(busy: Gateway, sandbox: SandboxProcess, settings: Any) -> None:
    extra = stray(sandbox)
    assert findings(reconcile(busy.pk)) == [("extra", "gateway key")]
    assert remote_keys(sandbox)[extra]["enabled"] is False
    finding = Finding.objects.get()
    assert finding.quarantined_at is not None

    assert findings(reconcile(busy.pk)) == []
    assert extra in remote_keys(sandbox)

    settings.QUARANTINE_SECONDS = 0
    reconcile(busy.pk)
    assert extra not in remote_keys(sandbox)
    finding.refresh_from_db()
    assert finding.resolved_at is not None


def test_extra_key_in_use_is_answered_again_under_another_name_alone(busy: Gateway, sandbox: SandboxProcess, settings: Any) -> None:
    """What the handbook says of a key of somebody's that was disabled."""
    extra, client = stray(sandbox), sandbox.client()
    patches = [{"op": "replace", "path": path, "value": value} for path, value in (("/enabled", "true"), ("/name", "theirs"))]
    reconcile(busy.pk)

    client.update_api_key(apiKey=extra, patchOperations=patches[:1])
    reconcile(busy.pk)
    assert remote_keys(sandbox)[extra]["enabled"] is False

    client.update_api_key(apiKey=extra, patchOperations=patches)
    settings.QUARANTINE_SECONDS = 0
    assert findings(reconcile(busy.pk)) == [("foreign", "gateway key")]
    reconcile(busy.pk)
    assert remote_keys(sandbox)[extra]["enabled"] is True
    assert not Finding.objects.filter(quarantined_at__isnull=False, resolved_at=None).exists()


def test_extra_key_that_somebody_deleted_is_over(busy: Gateway, sandbox: SandboxProcess) -> None:
    extra = stray(sandbox)
    reconcile(busy.pk)
    sandbox.client().delete_api_key(apiKey=extra)

    reconcile(busy.pk)

    assert Finding.objects.get().resolved_at is not None


def test_too_many_extra_keys_are_left_alone(busy: Gateway, sandbox: SandboxProcess) -> None:
    extras = [stray(sandbox, f"{number}") for number in range(6)]

    run = reconcile(busy.pk)

    assert findings(run) == [("extra", "gateway key")] * 6
    assert run is not None
    assert "6 keys would have been disabled" in run.stopped
    assert all(remote_keys(sandbox)[extra]["enabled"] for extra in extras)
    assert not Finding.objects.filter(quarantined_at__isnull=False).exists()

    reconcile(busy.pk, most_deletions=6)
    assert not any(remote_keys(sandbox)[extra]["enabled"] for extra in extras)


def test_too_many_deletions_are_refused(busy: Gateway, sandbox: SandboxProcess, settings: Any) -> None:
    settings.QUARANTINE_SECONDS = 0
    extras = {stray(sandbox, f"{number}") for number in range(6)}
    reconcile(busy.pk, most_deletions=6)

    reconcile(busy.pk)
    assert extras <= remote_keys(sandbox).keys()

    reconcile(busy.pk, most_deletions=6)
    assert not extras & remote_keys(sandbox).keys()


def test_usage_plan_with_our_mark_that_no_row_knows_is_told_and_left_alone(busy: Gateway, sandbox: SandboxProcess) -> None:
    sandbox.client().create_usage_plan(name="tollgate-old")

    assert findings(reconcile(busy.pk)) == [("foreign", "usage plan")]

    assert len(sandbox.state()["plans"]) == 3


@pytest.mark.parametrize("method", ["list_keys", "list_plans"])
def test_short_list_is_refused_and_changes_nothing(
    busy: Gateway, sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    extra = stray(sandbox)
    whole = getattr(GatewayClient, method)
    monkeypatch.setattr(GatewayClient, method, lambda self, *args, **kwargs: whole(self, *args, **kwargs)[:-1])
    rows = list(GatewayKey.objects.values())

    run = reconcile(busy.pk)

    assert run is not None
    assert "not whole" in run.error
    assert list(GatewayKey.objects.values()) == rows
    assert remote_keys(sandbox)[extra]["enabled"] is True
    assert Finding.objects.count() == 0


def test_failed_call_is_kept_as_the_runs_error(busy: Gateway, sandbox: SandboxProcess) -> None:
    sandbox.fault(kind="error", status=503, operation="GetUsagePlanKeys", count=1)

    run = reconcile(busy.pk)

    assert run is not None
    assert "503" in run.error
    assert run.ended_at is not None


def test_row_that_is_being_worked_on_is_no_drift(busy: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    buy(make_tenant(), tier)
    sandbox.fault(kind="timeout", operation="ImportApiKeys", count=1)
    converge(busy.pk)

    assert findings(reconcile(busy.pk, dry_run=True)) == []


def test_staff_can_ask_for_it(busy: Gateway, sandbox: SandboxProcess) -> None:
    runs = ReconcileRun.objects.count()
    gateways.request_reconcile(gateway=busy, actor=SYSTEM)

    converge(busy.pk)
    converge(busy.pk)

    assert ReconcileRun.objects.count() == runs + 1
    assert ReconcileRun.objects.latest("started_at").findings.count() == 0


def test_every_hour(busy: Gateway, settings: Any) -> None:
    runs = ReconcileRun.objects.count()
    converge(busy.pk)
    assert ReconcileRun.objects.count() == runs

    settings.RECONCILE_SECONDS = 0
    converge(busy.pk)

    assert ReconcileRun.objects.count() == runs + 1


def test_held_lease_means_no_run(busy: Gateway) -> None:
    from keys.sync.lease import take

    assert take(busy.pk) is not None

    assert reconcile(busy.pk) is None


def test_removed_key_that_came_back_is_extra(busy: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    bought = tier.api_keys.first()
    assert bought is not None
    key = GatewayKey.objects.get(pk=bought.gateway_key_id)
    api_keys.revoke(api_key=bought, actor=SYSTEM)
    converge(busy.pk)
    again = sandbox.client().create_api_key(name=key.name, value=value_of(key), enabled=True)["id"]

    reconcile(busy.pk)

    assert remote_keys(sandbox)[again]["enabled"] is False
    assert Finding.objects.get().kind == FindingKind.EXTRA


def test_keys_of_another_tollgate_in_the_account_are_left_alone(busy: Gateway, sandbox: SandboxProcess) -> None:
    theirs = str(sandbox.client().create_api_key(name="tollgate-0badcafe-99999999-theirs", enabled=True)["id"])

    assert findings(reconcile(busy.pk)) == [("foreign", "gateway key")]

    assert remote_keys(sandbox)[theirs]["enabled"]


def test_old_row_that_is_repaired_has_not_waited_since_it_was_made(busy: Gateway, sandbox: SandboxProcess) -> None:
    now = timezone.now()
    GatewayKey.objects.update(changed_at=now - timedelta(days=90))
    UsagePlan.objects.update(changed_at=now - timedelta(days=90))
    sandbox.forget()

    with speak_to(busy.pk) as session:
        assert session is not None
        reconcile_all(session)

    waiting_since = selectors.oldest_pending_at()
    assert waiting_since is not None
    assert waiting_since >= now


def test_finding_of_a_run_that_only_looked_is_over_with_the_next_one_that_repairs(busy: Gateway, sandbox: SandboxProcess) -> None:
    sandbox.client().delete_api_key(apiKey=next(iter(remote_keys(sandbox))))
    first = reconcile(busy.pk, dry_run=True)
    assert first is not None
    assert states() == {"open"}

    second = reconcile(busy.pk)

    assert second is not None
    assert [finding.resolved_at for finding in first.findings.all()] == [second.started_at]


def test_tenant_is_told_in_its_history(busy: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    first, second = tier.api_keys.select_related("gateway_key").order_by("pk")[:2]
    sandbox.client().delete_api_key(apiKey=first.gateway_key.remote_id)

    reconcile(busy.pk)

    event = AuditEvent.objects.get(action="api_key.repaired")
    assert (event.target_id, event.tenant_id, event.data) == (str(first.pk), first.tenant_id, {"found": "missing"})
    assert second.pk != first.pk


def test_key_that_was_renamed_gets_a_name_of_ours_and_is_answered_all_the_time(busy: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    key = GatewayKey.objects.filter(usage_plan__tier=tier)[0]
    sandbox.client().update_api_key(apiKey=key.remote_id, patchOperations=[{"op": "replace", "path": "/name", "value": "mine"}])

    run = reconcile(busy.pk)

    assert findings(run) == [("stale_name", "gateway key")]
    assert run is not None
    assert (run.findings.get().before, run.findings.get().after) == ("mine", key.name)
    key.refresh_from_db()
    assert remote_keys(sandbox)[key.remote_id]["name"] == key.name
    assert key.name.startswith(mark_of(busy.pk))
    assert key.is_in_service(timezone.now())


def test_duplicate_of_a_key_of_ours_is_quarantined(busy: Gateway, sandbox: SandboxProcess) -> None:
    key = GatewayKey.objects.all()[0]
    twin = str(sandbox.client().create_api_key(name=key.name, enabled=True)["id"])

    assert findings(reconcile(busy.pk)) == [("duplicate", "gateway key")]

    assert remote_keys(sandbox)[twin]["enabled"] is False
    assert remote_keys(sandbox)[key.remote_id]["enabled"] is True


def test_what_happens_while_it_lists_is_no_drift(
    busy: Gateway, tier: Tier, sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A purchase, a disabling and a revoke go out between two pages: urgent work does not wait for a list."""
    disabled, revoked = tier.api_keys.order_by("pk")[:2]
    list_members = GatewayClient.list_plan_members
    done: list[bool] = []

    def meanwhile(self: GatewayClient, *arguments: Any) -> Any:
        if not done:
            done.append(True)
            buy(make_tenant(), tier)
            api_keys.disable(api_key=disabled, actor=SYSTEM)
            api_keys.revoke(api_key=revoked, actor=SYSTEM)
            go_first(session)
        return list_members(self, *arguments)

    monkeypatch.setattr(GatewayClient, "list_plan_members", meanwhile)
    with speak_to(busy.pk) as session:
        assert session is not None
        run = reconcile_all(session)

    assert findings(run) == []
    assert not [row for row in GatewayKey.objects.all() if row.is_pending]


def test_wrong_count_of_held_keys_is_put_right(busy: Gateway, sandbox: SandboxProcess) -> None:
    Room.objects.update(held=77)

    reconcile(busy.pk)

    assert Room.objects.get().held == GatewayKey.objects.filter(removed_at=None).count() == 5
