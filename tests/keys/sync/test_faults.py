"""Converge while things go wrong: answers lost after the work was done, 429, 5xx, conflicts, bad rows, a full account."""

from datetime import timedelta

import pytest
from django.utils import timezone

from keys import values
from keys.models import Gateway, GatewayKey, Tier, UsagePlan
from keys.services import api_keys, catalog, gateways
from keys.sync.breaker import LONGEST_PAUSE_SECONDS, THRESHOLD
from keys.sync.converge import converge
from keys.sync.sweep import sweep
from tenants.audit import SYSTEM
from tests.keys.sync.conftest import remote_keys, retry_now, value_of
from tests.support.factories import buy, make_tenant, make_tier
from tests.support.sandbox import SandboxProcess

pytestmark = pytest.mark.django_db(transaction=True)


def calls(sandbox: SandboxProcess, operation: str) -> int:
    return int(sandbox.state()["calls"].get(operation, 0))


def test_import_whose_answer_was_lost_is_found_and_not_repeated(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    buy(make_tenant(), tier)
    sandbox.fault(kind="timeout", operation="ImportApiKeys", count=1)
    converge(converged.pk)
    key = GatewayKey.objects.get()
    assert (key.is_pending, key.attempts, key.remote_id) == (True, 1, "")
    assert "not known whether" in key.last_error

    retry_now()
    converge(converged.pk)

    key.refresh_from_db()
    assert (key.is_pending, key.attempts, key.last_error) == (False, 0, "")
    assert list(remote_keys(sandbox)) == [key.remote_id]
    assert calls(sandbox, "ImportApiKeys") == 1


def test_import_that_was_dropped_unworked_is_repeated(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    buy(make_tenant(), tier)
    sandbox.fault(kind="reset", operation="ImportApiKeys", count=1)
    converge(converged.pk)

    retry_now()
    converge(converged.pk)

    key = GatewayKey.objects.get()
    assert key.is_pending is False
    assert sandbox.invoke(value_of(key)).status == 200


def test_usage_plan_whose_answer_was_lost_is_made_once(gateway: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    sandbox.fault(kind="timeout", operation="CreateUsagePlan", count=1)
    converge(gateway.pk)
    assert UsagePlan.objects.get().remote_id == ""

    retry_now()
    converge(gateway.pk)

    assert len(sandbox.state()["plans"]) == 1
    assert UsagePlan.objects.get().is_pending is False


def test_delete_whose_answer_was_lost_is_done(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    bought = buy(make_tenant(), tier)
    converge(converged.pk)
    api_keys.revoke(api_key=bought, actor=SYSTEM)
    sandbox.fault(kind="timeout", operation="DeleteApiKey", count=1)
    converge(converged.pk)
    assert GatewayKey.objects.get().removed_at is None

    retry_now()
    converge(converged.pk)

    assert GatewayKey.objects.get().removed_at is not None


def test_revoke_after_a_lost_import_leaves_no_key_behind(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    bought = buy(make_tenant(), tier)
    sandbox.fault(kind="timeout", operation="ImportApiKeys", count=1)
    converge(converged.pk)
    assert len(remote_keys(sandbox)) == 1

    api_keys.revoke(api_key=bought, actor=SYSTEM)
    converge(converged.pk)

    assert remote_keys(sandbox) == {}
    assert GatewayKey.objects.get().removed_at is not None


def test_disable_after_a_lost_import_disables(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    bought = buy(make_tenant(), tier)
    sandbox.fault(kind="timeout", operation="ImportApiKeys", count=1)
    converge(converged.pk)

    api_keys.disable(api_key=bought, actor=SYSTEM)
    converge(converged.pk)

    (remote,) = remote_keys(sandbox).values()
    assert remote["enabled"] is False
    assert GatewayKey.objects.get().is_pending is False


@pytest.mark.parametrize("fault", [{"kind": "throttle"}, {"kind": "error", "status": 503}, {"kind": "conflict"}])
def test_passing_trouble_costs_time_and_no_work(converged: Gateway, tier: Tier, sandbox: SandboxProcess, fault: dict[str, object]) -> None:
    buy(make_tenant(), tier)
    sandbox.fault(operation="ImportApiKeys", count=1, **fault)
    converge(converged.pk)
    key = GatewayKey.objects.get()
    assert (key.attempts, key.permanent) == (1, False)
    assert key.next_try_at is not None

    retry_now()
    converge(converged.pk)

    key.refresh_from_db()
    assert (key.is_pending, key.last_error) == (False, "")


def test_gateway_that_keeps_failing_is_left_alone_then_asked_once(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    for _ in range(THRESHOLD + 2):
        buy(make_tenant(), tier, name="Key")
        converge(converged.pk)
    for bought in list(tier.api_keys.all()):
        api_keys.revoke(api_key=bought, actor=SYSTEM)
    sandbox.fault(kind="error", status=500)
    before = sum(sandbox.state()["calls"].values())

    converge(converged.pk)

    assert sum(sandbox.state()["calls"].values()) - before == THRESHOLD
    converged.refresh_from_db()
    assert converged.failures == THRESHOLD
    assert converged.resume_at is not None
    assert converged.last_error
    assert converged.lease_owner == ""

    # A bell during the pause is no reason to ask again.
    converge(converged.pk)
    assert sum(sandbox.state()["calls"].values()) - before == THRESHOLD

    retry_now()
    converge(converged.pk)
    assert sum(sandbox.state()["calls"].values()) - before == THRESHOLD + 1

    sandbox.clear_faults()
    retry_now()
    converge(converged.pk)
    converged.refresh_from_db()
    assert (converged.failures, converged.resume_at, converged.last_error) == (0, None, "")
    assert remote_keys(sandbox) == {}


def test_one_bad_row_does_not_block_the_others(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    for _ in range(7):
        buy(make_tenant(), tier)
    bad = GatewayKey.objects.order_by("pk")[3]
    GatewayKey.objects.filter(pk=bad.pk).update(value_encrypted=values.encrypt("too-short"))

    converge(converged.pk)

    bad.refresh_from_db()
    assert bad.permanent is True
    assert "at least" in bad.last_error
    assert GatewayKey.objects.exclude(pk=bad.pk).filter(in_service_at__isnull=False).count() == 6
    assert len(remote_keys(sandbox)) == 6


def test_value_that_cannot_be_read_does_not_block_the_others(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    for _ in range(2):
        buy(make_tenant(), tier)
    bad = GatewayKey.objects.order_by("pk")[0]
    GatewayKey.objects.filter(pk=bad.pk).update(value_encrypted="nonsense")

    converge(converged.pk)

    bad.refresh_from_db()
    assert "ENCRYPTION_KEYS" in bad.last_error
    assert len(remote_keys(sandbox)) == 1


def test_full_account_takes_what_fits_and_says_why_the_rest_waits(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    for _ in range(5):
        buy(make_tenant(), tier)
    sandbox.settings(key_cap=3)

    converge(converged.pk)

    assert len(remote_keys(sandbox)) == 3
    waiting = [key for key in GatewayKey.objects.all() if key.is_pending]
    assert [(key.permanent, "no room" in key.last_error) for key in waiting] == [(False, True)] * 2

    sandbox.settings(key_cap=10)
    retry_now()
    converge(converged.pk)
    assert len(remote_keys(sandbox)) == 5


def test_key_in_a_wrong_plan_is_taken_out_of_it_first(converged: Gateway, tier: Tier, sandbox: SandboxProcess, stage: object) -> None:
    bought = buy(make_tenant(), tier)
    other = make_tier(stage=stage)
    converge(converged.pk)
    key = GatewayKey.objects.get(pk=bought.gateway_key_id)
    wrong = UsagePlan.objects.get(tier=other)
    client = sandbox.client()
    client.delete_usage_plan_key(usagePlanId=key.usage_plan.remote_id, keyId=key.remote_id)
    client.create_usage_plan_key(usagePlanId=wrong.remote_id, keyId=key.remote_id, keyType="API_KEY")
    GatewayKey.objects.update(synced_revision=0, in_service_at=None)

    converge(converged.pk)

    key.refresh_from_db()
    assert key.last_error == ""
    assert remote_keys(sandbox)[key.remote_id]["plans"] == [key.usage_plan.remote_id]


def test_staff_can_have_permanent_failures_tried_again(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    buy(make_tenant(), tier)
    sandbox.fault(kind="error", status=400, code="BadRequestException", message="No", operation="ImportApiKeys", count=1)
    converge(converged.pk)
    assert GatewayKey.objects.get().permanent is True

    gateways.try_again(gateway=converged, actor=SYSTEM)
    converge(converged.pk)

    assert GatewayKey.objects.get().is_pending is False
    assert len(remote_keys(sandbox)) == 1


def test_lists_in_short_pages_are_read_to_their_end(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    catalog.change_offer(
        tier=tier,
        spare_target=7,
        actor=SYSTEM,
        **{field: getattr(tier, field) for field in ("name", "description", "position", "price_minor", "currency", "max_api_keys")},
    )
    sandbox.fault(kind="truncate", size=2)

    converge(converged.pk)

    assert GatewayKey.objects.filter(in_service_at__isnull=False).count() == 7


def test_credentials_that_aws_refuses_hold_up_the_gateway_and_no_row_for_good(
    converged: Gateway, tier: Tier, sandbox: SandboxProcess
) -> None:
    buy(make_tenant(), tier)
    sandbox.fault(kind="error", status=403, code="UnrecognizedClientException", message="The security token is invalid.", count=1)
    converge(converged.pk)
    converged.refresh_from_db()
    assert "credentials" in converged.last_error
    assert GatewayKey.objects.get().permanent is False

    retry_now()
    converge(converged.pk)

    assert GatewayKey.objects.get().is_pending is False


def test_key_that_cannot_be_repaired_is_cut_off_at_least(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    bought = buy(make_tenant(), tier)
    converge(converged.pk)
    GatewayKey.objects.update(synced_revision=0)
    sandbox.fault(kind="error", status=400, code="BadRequestException", operation="ImportApiKeys")
    api_keys.disable(api_key=bought, actor=SYSTEM)

    converge(converged.pk)

    (remote,) = remote_keys(sandbox).values()
    assert remote["enabled"] is False
    assert GatewayKey.objects.get().permanent is True


def test_pause_is_short_for_trouble_of_the_gateway(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    buy(make_tenant(), tier)
    GatewayKey.objects.update(attempts=50)
    sandbox.fault(kind="error", status=503, operation="ImportApiKeys", count=1)

    converge(converged.pk)

    key = GatewayKey.objects.get()
    assert key.next_try_at is not None
    assert key.next_try_at <= timezone.now() + timedelta(seconds=LONGEST_PAUSE_SECONDS)


def test_staff_who_ask_get_one_try_during_the_pause(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    bought = [buy(make_tenant(), tier) for _ in range(THRESHOLD)]
    converge(converged.pk)
    for each in bought:
        api_keys.revoke(api_key=each, actor=SYSTEM)
    sandbox.fault(kind="error", status=500)
    converge(converged.pk)
    assert sweep() == []
    before = sum(sandbox.state()["calls"].values())

    gateways.request_reconcile(gateway=converged, actor=SYSTEM)
    assert sweep() == [converged.pk]
    GatewayKey.objects.update(next_try_at=None)
    converge(converged.pk)
    converge(converged.pk)

    assert sum(sandbox.state()["calls"].values()) - before == 1

    sandbox.clear_faults()
    gateways.request_reconcile(gateway=converged, actor=SYSTEM)
    GatewayKey.objects.update(next_try_at=None)
    converge(converged.pk)

    assert remote_keys(sandbox) == {}


def test_revoked_key_that_may_not_be_deleted_is_disabled_at_least(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    """A role without the reaper's policy: what was revoked is refused, and deleted once that is mended."""
    api_key = buy(make_tenant(), tier)
    converge(converged.pk)
    key = GatewayKey.objects.get(pk=api_key.gateway_key_id)
    value = value_of(key)
    assert sandbox.invoke(value).status == 200
    denied = {"status": 403, "code": "AccessDeniedException", "message": "User is not authorized to perform: apigateway:DELETE"}
    sandbox.fault(kind="error", operation="DeleteApiKey", **denied)

    api_keys.revoke(api_key=api_key, actor=SYSTEM)
    converge(converged.pk)

    assert sandbox.invoke(value).status == 403
    key.refresh_from_db()
    assert key.removed_at is None
    assert key.last_error

    sandbox.clear_faults()
    retry_now()
    converge(converged.pk)
    key.refresh_from_db()
    assert key.removed_at is not None
    assert key.remote_id not in remote_keys(sandbox)
