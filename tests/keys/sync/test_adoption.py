"""Taking over usage plans and keys that somebody else made, against the sandbox, while calls with those keys go on."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from keys.gateway.client import GatewayClient
from keys.models import (
    Adoption,
    AdoptionState,
    ApiKey,
    FreeSlot,
    Gateway,
    GatewayKey,
    KeyRole,
    Priority,
    Room,
    Stage,
    Status,
    Tier,
    UsagePlan,
)
from keys.proposals import Decision, Proposal, Take, UnfitDecision, suggestions
from keys.services import adoptions, api_keys, catalog, pools
from keys.services import tenants as suspension
from keys.services.refusals import UnableToBuyKey
from keys.staff_selectors import gateway_key_with_value
from keys.sync import adoption as sync_adoption
from keys.sync import due
from keys.sync.converge import converge, go_first, reconcile
from keys.sync.names import mark_of
from keys.sync.session import speak_to
from tenants.audit import SYSTEM
from tenants.models import AuditEvent, Tenant
from tests.keys.sync.conftest import remote_keys
from tests.support.factories import buy, make_gateway, make_stage, make_tenant, make_tier
from tests.support.processes import at_once
from tests.support.sandbox import SandboxProcess
from tests.support.services import wait_until

STAGE = {"apiId": "groceries", "stage": "v1"}
SHORT = "legacy-key-20-chars!"  # as short as CreateApiKey takes, and of no form of ours
LONG = "0b2e6c1a-7f3d-4f64-9d0e-3c1f2a9b8e77"


class Account:
    """What others made in the account: plans and keys by boto3, as Terraform or the sample would."""

    def __init__(self, sandbox: SandboxProcess) -> None:
        self.client = sandbox.client()

    def plan(self, name: str, *, rate: float | None = 5.5, burst: int = 50, quota: int | None = 100_000, stages: Any = (STAGE,)) -> str:
        limits: dict[str, Any] = {} if rate is None else {"throttle": {"rateLimit": rate, "burstLimit": burst}}
        if quota is not None:
            limits["quota"] = {"limit": quota, "offset": 0, "period": "MONTH"}
        plan_id: str = self.client.create_usage_plan(name=name, apiStages=list(stages), **limits)["id"]
        return plan_id

    def key(self, name: str, plan_id: str = "", *, value: str = "", enabled: bool = True) -> str:
        made = self.client.create_api_key(name=name, value=value, enabled=enabled, description="theirs")
        if plan_id:
            self.client.create_usage_plan_key(usagePlanId=plan_id, keyId=made["id"], keyType="API_KEY")
        key_id: str = made["id"]
        return key_id

    def value(self, key_id: str) -> str:
        value: str = self.client.get_api_key(apiKey=key_id, includeValue=True)["value"]
        return value


@pytest.fixture
def account(sandbox: SandboxProcess, stage: Stage) -> Account:
    """An account whose one stage is registered, and that Tollgate made nothing in."""
    return Account(sandbox)


@contextmanager
def calls_with(sandbox: SandboxProcess, values: list[str]) -> Iterator[Counter[int]]:
    """Calls with each of these values in turn, as quick as they are answered, for as long as the block lasts; statuses counted."""
    seen: Counter[int] = Counter()
    stop = threading.Event()

    def call() -> None:
        while not stop.is_set():
            for value in values:
                seen[sandbox.invoke(value).status] += 1

    thread = threading.Thread(target=call)
    thread.start()
    try:
        wait_until(lambda: seen.total() >= len(values), what="calls")
        yield seen
        before = seen.total()
        wait_until(lambda: seen.total() >= before + 3 * len(values), what="calls after the adoption")
    finally:
        stop.set()
        thread.join()


def proposed(gateway: Gateway) -> Adoption:
    adoption = adoptions.ask(gateway=gateway, actor=SYSTEM)
    converge(gateway.pk)
    adoption.refresh_from_db()
    assert adoption.state is AdoptionState.PROPOSED, adoption.error
    return adoption


def applied(adoption: Adoption, *decisions: Decision) -> Adoption:
    adoptions.confirm(adoption=adoption, decisions=decisions, actor=SYSTEM)
    converge(adoption.gateway_id)
    adoption.refresh_from_db()
    return adoption


def siloed(plan_id: str, tier: str = "legacy", **fields: Any) -> Decision:
    return Decision(plan=plan_id, take=Take.SILOED, tier=tier, name="Legacy", **fields)


def pooled(plan_id: str, tier: str = "shared", **fields: Any) -> Decision:
    return Decision(plan=plan_id, take=Take.POOLED, tier=tier, name="Shared", **fields)


def changes(sandbox: SandboxProcess) -> dict[str, int]:
    return {operation: count for operation, count in sandbox.state()["calls"].items() if not operation.startswith("Get")}


def test_looking_changes_nothing_and_keeps_no_value(gateway: Gateway, account: Account, sandbox: SandboxProcess) -> None:
    basic = account.plan("Basic")
    first = account.key("Shop one", basic, value=LONG)
    account.key("Loose")
    before = changes(sandbox)

    adoption = proposed(gateway)

    [plan] = Proposal.read(adoption.proposal).plans
    assert (plan.id, plan.name, str(plan.rate), plan.burst, plan.quota_limit, plan.quota_period) == (
        basic,
        "Basic",
        "5.5",
        50,
        100_000,
        "MONTH",
    )
    assert plan.stages == ("groceries:v1",)
    assert [(key.id, key.name, key.enabled) for key in plan.keys] == [(first, "Shop one", True)]
    assert adoption.proposal["loose_keys"] == 1
    assert changes(sandbox) == before
    assert LONG not in str(adoption.proposal)
    assert not Tier.objects.exists()


def test_siloed_keys_become_api_keys_of_new_tenants_and_answer_all_the_while(
    gateway: Gateway, account: Account, sandbox: SandboxProcess
) -> None:
    plan = account.plan("Basic", rate=10_000, burst=5_000, quota=None)
    short, long = account.key("Shop one", plan, value=SHORT), account.key("Shop two", plan, value=LONG)
    generated = account.key("Shop three", plan)
    values = [SHORT, LONG, account.value(generated)]

    with calls_with(sandbox, values) as seen:
        adoption = proposed(gateway)
        adoptions.confirm(adoption=adoption, decisions=[siloed(plan)], actor=SYSTEM)
        converge(gateway.pk)
        reconcile(gateway.pk)

    assert set(seen) == {200}
    adoption.refresh_from_db()
    assert adoption.state is AdoptionState.APPLIED
    assert {key: adoption.report[key] for key in ("keys", "tenants", "left")} == {"keys": 3, "tenants": 3, "left": []}
    rows = ApiKey.objects.select_related("gateway_key", "tenant", "tier").order_by("name")
    assert [(row.name, row.tenant.name, row.tier.slug) for row in rows] == [
        ("Shop one", "Shop one", "legacy"),
        ("Shop three", "Shop three", "legacy"),
        ("Shop two", "Shop two", "legacy"),
    ]
    assert {row.status(timezone.now()) for row in rows} == {Status.READY}
    assert {row.gateway_key.remote_id for row in rows} == {short, long, generated}
    assert {api_keys.reveal(api_key=row, actor=SYSTEM) for row in rows} == set(values)
    assert Room.objects.get().held == 3


def test_names_become_ours_and_nothing_else_of_a_key_changes(gateway: Gateway, account: Account, sandbox: SandboxProcess) -> None:
    plan = account.plan("Basic")
    key = account.key("Shop one", plan, value=SHORT)

    applied(proposed(gateway), siloed(plan))

    held = account.client.get_api_key(apiKey=key, includeValue=True)
    row = GatewayKey.objects.get()
    assert held["name"] == row.name
    assert row.name.startswith(mark_of(gateway.pk))
    assert (held["value"], held["enabled"], held["description"]) == (SHORT, True, "theirs")
    shown = account.client.get_usage_plan(usagePlanId=plan)
    assert shown["name"] == UsagePlan.objects.get().remote_name
    assert (shown["throttle"], shown["quota"]["limit"]) == ({"rateLimit": 5.5, "burstLimit": 50}, 100_000)
    assert sandbox.state()["calls"].get("ImportApiKeys", 0) == 0


def test_after_an_adoption_everything_is_in_step(gateway: Gateway, account: Account) -> None:
    plan = account.plan("Basic")
    account.key("On", plan)
    account.key("Off", plan, enabled=False)
    applied(proposed(gateway), siloed(plan))

    run = reconcile(gateway.pk)

    assert run is not None
    assert (run.error, list(run.findings.values_list("kind", "label"))) == ("", [])
    assert not due.has_rows(gateway.pk, timezone.now())


def test_a_disabled_key_stays_disabled_until_its_tenant_enables_it(gateway: Gateway, account: Account, sandbox: SandboxProcess) -> None:
    plan = account.plan("Basic")
    key = account.key("Off", plan, enabled=False, value=LONG)
    applied(proposed(gateway), siloed(plan))
    api_key = ApiKey.objects.select_related("gateway_key", "tenant").get()
    assert (api_key.status(timezone.now()), sandbox.invoke(LONG).status) == (Status.DISABLED, 403)

    api_keys.enable(api_key=api_key, actor=SYSTEM)
    converge(gateway.pk)

    assert remote_keys(sandbox)[key]["enabled"]
    assert sandbox.invoke(LONG).status == 200
    api_key = ApiKey.objects.select_related("gateway_key", "tenant").get()
    assert api_key.status(timezone.now()) is Status.READY


def test_an_adopted_key_is_rotated_and_revoked_like_any_other(gateway: Gateway, account: Account, sandbox: SandboxProcess) -> None:
    plan = account.plan("Basic")
    account.key("Shop", plan, value=SHORT)
    applied(proposed(gateway), siloed(plan))
    api_key = ApiKey.objects.get()

    api_keys.revoke(api_key=api_key, actor=SYSTEM)
    converge(gateway.pk)

    assert sandbox.invoke(SHORT).status == 403
    assert remote_keys(sandbox) == {}
    assert Room.objects.get().held == 0


def test_staff_find_an_adopted_key_by_its_credential(gateway: Gateway, account: Account) -> None:
    plan = account.plan("Basic")
    account.key("Shop", plan, value=SHORT)
    applied(proposed(gateway), siloed(plan))

    assert gateway_key_with_value(SHORT) == GatewayKey.objects.get()


def test_tenants_are_named_by_id_or_made_and_a_name_never_leads_to_one_that_exists(gateway: Gateway, account: Account) -> None:
    plan = account.plan("Basic")
    mine, theirs, other = (account.key(name, plan) for name in ("A", "B", "C"))
    acme = make_tenant("Acme")

    applied(proposed(gateway), siloed(plan, tenant="Acme", holders={mine: [str(acme.pk)], other: ["Zeta"]}))

    owners = {row.gateway_key.remote_id: row.tenant for row in ApiKey.objects.select_related("gateway_key", "tenant")}
    assert owners[mine] == acme
    assert (owners[theirs].name, owners[theirs].pk != acme.pk) == ("Acme", True)
    assert owners[other].name == "Zeta"
    told = AuditEvent.objects.filter(action="api_key.adopted", tenant=acme)
    assert list(told.values_list("target_id", flat=True)) == [str(ApiKey.objects.get(tenant=acme).pk)]


def test_a_pool_is_taken_over_with_its_tenants_and_sells_on_evenly(gateway: Gateway, account: Account, sandbox: SandboxProcess) -> None:
    plan = account.plan("Free", rate=10_000, burst=5_000, quota=None)
    keys = [account.key(f"pool-{number}", plan) for number in range(3)]
    account.key("pool-off", plan, enabled=False)
    values = [account.value(key) for key in keys]

    with calls_with(sandbox, values) as seen:
        applied(proposed(gateway), pooled(plan, holders={keys[0]: ["Acme", "Beta"], keys[1]: ["Gamma"]}))

    assert set(seen) == {200}
    tier = Tier.objects.get()
    assert (tier.is_pooled, tier.pool.size, tier.retired_at is not None) == (True, 3, True)
    assert set(GatewayKey.objects.values_list("role", flat=True)) == {KeyRole.POOL}
    assert FreeSlot.objects.count() == 3
    tier = catalog.reopen_tier(tier=tier, actor=SYSTEM)
    bought = [buy(make_tenant(), tier) for _ in range(6)]
    loads = Counter(ApiKey.objects.values_list("gateway_key__remote_id", flat=True))
    assert loads == Counter(dict.fromkeys(keys, 3))
    assert {api_keys.reveal(api_key=ApiKey.objects.get(pk=each.pk), actor=SYSTEM) for each in bought} == set(values)
    pools.resize_pool(tier=tier, size=4, actor=SYSTEM)
    converge(gateway.pk)
    assert {sandbox.invoke(value).status for value in values} == {200}


def test_given_limits_reach_the_plan_and_a_plan_without_a_rate_needs_them(gateway: Gateway, account: Account) -> None:
    plan = account.plan("Unlimited", rate=None, quota=None)
    account.key("Shop", plan)
    adoption = proposed(gateway)

    with pytest.raises(UnfitDecision, match="rate") as refusal:
        adoptions.confirm(adoption=adoption, decisions=[siloed(plan)], actor=SYSTEM)
    assert refusal.value.field == "plans.0.throttle_rate"

    applied(adoption, siloed(plan, throttle_rate=Decimal(7), throttle_burst=9))

    shown = account.client.get_usage_plan(usagePlanId=plan)
    assert shown["throttle"] == {"rateLimit": 7.0, "burstLimit": 9}


def test_a_plan_of_an_unknown_stage_is_refused_with_the_remedy(gateway: Gateway, account: Account) -> None:
    plan = account.plan("Basic")
    account.key("Shop", plan)
    Stage.objects.all().delete()

    with pytest.raises(UnfitDecision, match="groceries:v1 are not known here"):
        adoptions.confirm(adoption=proposed(gateway), decisions=[siloed(plan)], actor=SYSTEM)


def test_an_existing_siloed_tier_gets_the_plan_of_one_more_gateway(account: Account, gateway: Gateway) -> None:
    elsewhere = make_stage(make_gateway(), rest_api_id="other")
    tier = make_tier(stage=elsewhere, slug="legacy")
    plan = account.plan("Basic", rate=1, burst=1, quota=None)
    account.key("Shop", plan)

    adoption = proposed(gateway)
    with pytest.raises(UnfitDecision, match="give these limits to say so") as refusal:
        adoptions.confirm(adoption=adoption, decisions=[siloed(plan)], actor=SYSTEM)
    assert refusal.value.field == "plans.0.tier"

    limits = {name: getattr(tier, name) for name in ("throttle_rate", "throttle_burst", "quota_limit", "quota_period")}
    applied(adoption, siloed(plan, **limits))

    assert set(tier.usage_plans.values_list("gateway", flat=True)) == {gateway.pk, elsewhere.gateway_id}
    assert ApiKey.objects.get().tier == tier
    shown = account.client.get_usage_plan(usagePlanId=plan)
    assert shown["throttle"] == {"rateLimit": float(tier.throttle_rate), "burstLimit": tier.throttle_burst}


def test_a_tier_with_a_plan_here_already_is_refused(account: Account, gateway: Gateway, stage: Stage) -> None:
    make_tier(stage=stage, slug="legacy")
    plan = account.plan("Basic")
    account.key("Shop", plan)

    with pytest.raises(UnfitDecision, match="has a usage plan on"):
        adoptions.confirm(adoption=proposed(gateway), decisions=[siloed(plan)], actor=SYSTEM)


def test_what_is_ours_is_not_proposed(account: Account, gateway: Gateway, stage: Stage) -> None:
    buy(make_tenant(), make_tier(stage=stage))
    account.plan("tollgate-basic-of-another-installation")
    account.plan("Basic")

    adoption = proposed(gateway)

    assert [plan.name for plan in Proposal.read(adoption.proposal).plans] == ["Basic"]


def test_a_plan_that_changed_meanwhile_is_not_taken_over(account: Account, gateway: Gateway) -> None:
    plan = account.plan("Basic")
    account.key("Shop", plan)
    adoption = proposed(gateway)
    account.client.update_usage_plan(usagePlanId=plan, patchOperations=[{"op": "replace", "path": "/throttle/burstLimit", "value": "1"}])

    applied(adoption, siloed(plan))

    assert adoption.state is AdoptionState.FAILED
    assert "changed at API Gateway" in adoption.error
    assert not Tier.objects.exists()
    assert not GatewayKey.objects.exists()


def test_keys_that_changed_meanwhile_are_taken_as_they_are_now_or_left(account: Account, gateway: Gateway) -> None:
    plan = account.plan("Basic")
    gone, off, kept = (account.key(name, plan) for name in ("Gone", "Off", "Kept"))
    adoption = proposed(gateway)
    account.client.delete_api_key(apiKey=gone)
    account.client.update_api_key(apiKey=off, patchOperations=[{"op": "replace", "path": "/enabled", "value": "false"}])
    account.client.update_api_key(apiKey=kept, patchOperations=[{"op": "replace", "path": "/name", "value": "Renamed"}])
    account.key("Came later", plan)

    applied(adoption, siloed(plan))

    assert [(each["id"], each["name"]) for each in adoption.report["left"]] == [(gone, "Gone")]
    assert dict(GatewayKey.objects.values_list("remote_id", "enabled")) == {off: False, kept: True}
    assert set(Tenant.objects.values_list("name", flat=True)) == {"Off", "Kept"}


def test_a_key_that_changed_its_plan_meanwhile_is_left(account: Account, gateway: Gateway) -> None:
    first, second = account.plan("First"), account.plan("Second")
    moved = account.key("Moved", first)
    account.key("Stays", second)
    adoption = proposed(gateway)
    account.client.delete_usage_plan_key(usagePlanId=first, keyId=moved)
    account.client.create_usage_plan_key(usagePlanId=second, keyId=moved, keyType="API_KEY")

    applied(adoption, siloed(first, "first"), siloed(second, "second"))

    assert [(each["id"], each["why"]) for each in adoption.report["left"]] == [(moved, "It was changed or deleted after the proposal.")]
    assert not GatewayKey.objects.filter(remote_id=moved).exists()
    run = reconcile(gateway.pk)
    assert run is not None
    assert (run.error, list(run.findings.values_list("kind", "label"))) == ("", [])
    members = account.client.get_usage_plan_keys(usagePlanId=second)["items"]
    assert moved in {member["id"] for member in members}


def test_a_value_that_is_known_here_is_left(account: Account, gateway: Gateway, stage: Stage) -> None:
    first = account.plan("First")
    account.key("Shop", first, value=LONG)
    applied(proposed(gateway), siloed(first, "first"))
    account.client.delete_api_key(apiKey=GatewayKey.objects.get().remote_id)
    second = account.plan("Second")
    twin = account.key("Twin", second, value=LONG)

    adoption = applied(proposed(gateway), siloed(second, "second"))

    assert [each["id"] for each in adoption.report["left"]] == [twin]
    assert Tier.objects.get(slug="second").usage_plans.get().gateway_keys.count() == 0


def test_only_one_adoption_is_at_work_a_gateway_and_a_withdrawn_one_makes_room(gateway: Gateway, account: Account) -> None:
    account.plan("Basic")
    adoption = proposed(gateway)
    with pytest.raises(adoptions.UnableToAdopt, match="decide about it or withdraw it"):
        adoptions.ask(gateway=gateway, actor=SYSTEM)

    adoptions.withdraw(adoption=adoption, actor=SYSTEM)

    assert proposed(gateway).pk != adoption.pk
    with pytest.raises(adoptions.UnableToAdopt, match="was withdrawn"):
        adoptions.confirm(adoption=adoption, decisions=[], actor=SYSTEM)


def test_a_withdrawal_between_yes_and_worker_takes_nothing_over(
    gateway: Gateway, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = account.plan("Basic")
    account.key("Shop", plan)
    adoption = proposed(gateway)
    look = sync_adoption._look
    adoptions.confirm(adoption=adoption, decisions=[siloed(plan)], actor=SYSTEM)

    def withdrawn_meanwhile(*args: Any) -> Any:
        adoptions.withdraw(adoption=adoption, actor=SYSTEM)
        return look(*args)

    monkeypatch.setattr(sync_adoption, "_look", withdrawn_meanwhile)
    converge(gateway.pk)

    adoption.refresh_from_db()
    assert adoption.state is AdoptionState.WITHDRAWN
    assert not Tier.objects.exists()


def test_a_gateway_in_trouble_is_asked_again(gateway: Gateway, account: Account, sandbox: SandboxProcess) -> None:
    account.plan("Basic")
    adoption = adoptions.ask(gateway=gateway, actor=SYSTEM)
    sandbox.fault(kind="error", operation="GetUsagePlanKeys", count=1)

    converge(gateway.pk)
    adoption.refresh_from_db()
    assert adoption.state is AdoptionState.LOOKING
    assert sandbox.state()["calls"]["GetUsagePlanKeys"] == 1
    converge(gateway.pk)
    assert sandbox.state()["calls"]["GetUsagePlanKeys"] == 1
    assert not due.anything(Gateway.objects.get(), timezone.now() + timedelta(seconds=50))
    assert due.anything(Gateway.objects.get(), timezone.now() + sync_adoption.LOOK_AGAIN)
    Adoption.objects.update(next_try_at=timezone.now())
    converge(gateway.pk)

    adoption.refresh_from_db()
    assert adoption.state is AdoptionState.PROPOSED


@pytest.mark.parametrize("operation", ["GetUsagePlanKeys", "GetApiKeys"])
def test_a_right_that_lacks_ends_an_adoption_with_the_remedy(
    gateway: Gateway, account: Account, sandbox: SandboxProcess, operation: str
) -> None:
    account.plan("Basic")
    adoption = adoptions.ask(gateway=gateway, actor=SYSTEM)
    sandbox.role("", deny=[operation])

    with speak_to(gateway.pk) as session:
        assert session is not None
        assert sync_adoption.work_on_adoption(session)

    adoption.refresh_from_db()
    assert adoption.state is AdoptionState.FAILED
    assert "AWS does not allow the workers apigateway:GET on" in adoption.error
    assert "tried again" not in adoption.error
    assert not due.adoptions(gateway.pk, timezone.now() + timedelta(days=1)).exists()
    sandbox.role("")
    assert proposed(gateway).pk != adoption.pk


def after_the_first_list(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do it once, between two lists of what is there."""
    left = [act]

    def followed(name: str) -> None:
        list_them = getattr(GatewayClient, name)

        def then(*args: Any) -> Any:
            found = list_them(*args)
            if left:
                left.pop()()
            return found

        monkeypatch.setattr(GatewayClient, name, then)

    for name in ("list_plans", "list_keys", "list_keys_with_values"):
        followed(name)


def test_a_key_that_others_make_meanwhile_is_no_hole_in_the_list(
    gateway: Gateway, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = account.plan("Basic")
    account.key("Shop", plan)
    adoption = proposed(gateway)
    later = adoptions.confirm(adoption=adoption, decisions=[siloed(plan)], actor=SYSTEM)
    after_the_first_list(monkeypatch, lambda: account.key("Came now", plan))

    with speak_to(gateway.pk) as session:
        assert session is not None
        assert sync_adoption.work_on_adoption(session)

    later.refresh_from_db()
    assert (later.state, later.report["keys"]) == (AdoptionState.APPLIED, 1)


def test_a_key_of_others_that_goes_meanwhile_is_looked_for_again(
    gateway: Gateway, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = account.plan("Basic")
    gone = account.key("Gone", plan)
    adoptions.ask(gateway=gateway, actor=SYSTEM)
    members = GatewayClient.list_plan_members

    def then_gone(*args: Any) -> Any:
        found = members(*args)
        account.client.delete_api_key(apiKey=gone)
        return found

    with monkeypatch.context() as patch, speak_to(gateway.pk) as session:
        assert session is not None
        patch.setattr(GatewayClient, "list_plan_members", then_gone)
        assert not sync_adoption.work_on_adoption(session)

    assert Adoption.objects.get().state is AdoptionState.LOOKING


def test_a_revoke_goes_before_the_pages_of_a_look(
    gateway: Gateway, account: Account, tier: Tier, sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.key("Shop", account.plan("Basic"))
    leaked = buy(make_tenant(), tier)
    converge(gateway.pk)
    value = api_keys.reveal(api_key=leaked, actor=SYSTEM)
    assert sandbox.invoke(value).status == 200
    monkeypatch.setattr("keys.sync.session.LOOK_SECONDS", 0.0)
    after_the_first_list(monkeypatch, lambda: api_keys.revoke(api_key=leaked, actor=SYSTEM))

    call_command("adopt_gateway", gateway.name)

    assert sandbox.invoke(value).status == 403
    assert GatewayKey.objects.get().removed_at is not None


def test_a_key_of_ours_that_goes_between_the_pages_is_no_hole_in_the_list(
    gateway: Gateway, account: Account, tier: Tier, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.key("Shop", account.plan("Basic"))
    leaked = buy(make_tenant(), tier)
    converge(gateway.pk)
    monkeypatch.setattr("keys.sync.session.LOOK_SECONDS", 0.0)
    members = GatewayClient.list_plan_members

    def then_revoked(*args: Any) -> Any:
        found = members(*args)
        api_keys.revoke(api_key=leaked, actor=SYSTEM)
        return found

    monkeypatch.setattr(GatewayClient, "list_plan_members", then_revoked)

    proposal = sync_adoption.look_at(gateway.pk, go_first)

    assert GatewayKey.objects.get().removed_at is not None
    assert proposal is not None
    assert [plan.name for plan in proposal.plans] == ["Basic"]


def test_foreign_keys_become_ours_in_the_count_of_room(gateway: Gateway, account: Account) -> None:
    plan = account.plan("Basic")
    for number in range(3):
        account.key(f"Shop {number}", plan)
    account.key("Loose")
    Gateway.objects.update(foreign_keys=4)

    applied(proposed(gateway), siloed(plan))

    gateway.refresh_from_db()
    assert (gateway.foreign_keys, gateway.room.held) == (1, 3)


def test_an_unnamed_key_that_vanishes_is_made_again_with_its_value(gateway: Gateway, account: Account, sandbox: SandboxProcess) -> None:
    plan = account.plan("Basic")
    key = account.key("Shop", plan, value=LONG)
    adoption = proposed(gateway)
    sandbox.fault(kind="throttle", operation="UpdateApiKey", count=1)
    applied(adoption, siloed(plan))
    assert GatewayKey.objects.get().name == ""
    account.client.delete_api_key(apiKey=key)
    GatewayKey.objects.update(next_try_at=None)

    converge(gateway.pk)

    assert sandbox.invoke(LONG).status == 200
    assert GatewayKey.objects.get().name.startswith(mark_of(gateway.pk))


def test_a_value_too_short_for_imports_is_repaired_one_by_one(gateway: Gateway, account: Account, sandbox: SandboxProcess) -> None:
    plan = account.plan("Basic")
    gone, off = account.key("Gone", plan, value=SHORT), account.key("Off", plan, value=SHORT[::-1])
    applied(proposed(gateway), siloed(plan))
    account.client.delete_api_key(apiKey=gone)
    account.client.update_api_key(apiKey=off, patchOperations=[{"op": "replace", "path": "/enabled", "value": "false"}])

    reconcile(gateway.pk)

    assert [sandbox.invoke(value).status for value in (SHORT, SHORT[::-1])] == [200, 200]
    assert not GatewayKey.objects.filter(permanent=True).exists()
    assert {api_key.status(timezone.now()) for api_key in ApiKey.objects.select_related("gateway_key", "tenant")} == {Status.READY}
    assert dict(GatewayKey.objects.values_list("remote_id", "name")) == {each["id"]: each["name"] for each in sandbox.state()["keys"]}
    assert not due.has_rows(gateway.pk, timezone.now())
    run = reconcile(gateway.pk)
    assert run is not None
    assert not run.findings.exists()


def test_a_short_value_that_shall_be_off_is_tried_for_ever(gateway: Gateway, account: Account, sandbox: SandboxProcess) -> None:
    """Among so many that they are switched by an import."""
    plan = account.plan("Basic")
    for number in range(11):
        account.key(f"Shop {number}", plan, value=f"legacy-key-number-{number:02d}")
    applied(proposed(gateway), siloed(plan, tenant="Acme"))
    sandbox.fault(kind="error", status=400, code="BadRequestException", operation="UpdateApiKey")

    suspension.suspend(tenant=Tenant.objects.get(), reason="Unpaid", actor=SYSTEM)
    converge(gateway.pk)

    assert GatewayKey.objects.filter(attempts__gt=0).exists()
    assert not GatewayKey.objects.filter(permanent=True).exists()


def test_an_adopted_key_without_our_name_is_mended_one_by_one(gateway: Gateway, account: Account, sandbox: SandboxProcess) -> None:
    """Where no imports are made. It gets its name by the call that is there for that."""
    plan = account.plan("Basic")
    key = account.key("Shop", plan, value=LONG)
    applied(proposed(gateway), siloed(plan))
    Gateway.objects.update(uses_imports=False)
    GatewayKey.objects.update(name="", synced_revision=0, priority=Priority.PURCHASE)
    off = [{"op": "replace", "path": "/enabled", "value": "false"}, {"op": "replace", "path": "/name", "value": "theirs"}]
    account.client.update_api_key(apiKey=key, patchOperations=off)

    converge(gateway.pk)

    row = GatewayKey.objects.get()
    assert (row.is_pending, row.permanent, sandbox.invoke(LONG).status) == (False, False, 200)
    assert row.name == remote_keys(sandbox)[key]["name"] != ""


def test_many_short_values_are_suspended_and_revoked(gateway: Gateway, account: Account, sandbox: SandboxProcess) -> None:
    plan = account.plan("Basic", rate=10_000, burst=5_000, quota=None)
    values = [f"legacy-key-number-{number:02d}" for number in range(13)]
    for value in values:
        account.key(value, plan, value=value)
    applied(proposed(gateway), siloed(plan, tenant="Acme"))
    acme = Tenant.objects.get()

    suspension.suspend(tenant=acme, reason="Unpaid", actor=SYSTEM)
    converge(gateway.pk)
    assert {sandbox.invoke(value).status for value in values} == {403}
    assert not GatewayKey.objects.filter(permanent=True).exists()
    suspension.resume(tenant=acme, actor=SYSTEM)
    converge(gateway.pk)
    assert {sandbox.invoke(value).status for value in values} == {200}
    assert not GatewayKey.objects.filter(permanent=True).exists()
    run = reconcile(gateway.pk)
    assert run is not None
    assert not run.findings.exists()
    for api_key in ApiKey.objects.all():
        api_keys.revoke(api_key=api_key, actor=SYSTEM)
    converge(gateway.pk)

    assert {sandbox.invoke(value).status for value in values} == {403}
    assert remote_keys(sandbox) == {}


def test_suggestions_name_each_tier_once() -> None:
    kept = {"name": "My Plan!", "rate": "1", "burst": 1, "quota_limit": None, "quota_period": "", "stages": [], "keys": []}
    proposal = Proposal.read({"plans": [{**kept, "id": "a"}, {**kept, "id": "b"}], "loose_keys": 0})

    assert [each.tier for each in suggestions(proposal, {"my-plan"})] == ["my-plan-2", "my-plan-3"]


# --- The command


def test_the_command_only_looks_without_a_yes(
    gateway: Gateway, account: Account, sandbox: SandboxProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("adopt_gateway", gateway.name)
    assert "there is nothing to take over" in capsys.readouterr().out
    plan = account.plan("Basic")
    account.plan("Nobody's")
    account.key("Shop", plan, value=LONG)
    before = changes(sandbox)

    call_command("adopt_gateway", gateway.name)

    told = capsys.readouterr().out
    assert "becomes the new siloed tier basic with 1 key." in told
    assert "has no keys: it is left as it is." in told
    assert "In all: 1 key is taken over. 1 new tier, closed to buyers at first. 1 new tenant, one a key." in told
    assert "Nothing was changed. With --yes this is done." in told
    assert LONG not in told
    assert changes(sandbox) == before
    assert not Adoption.objects.exists()
    assert not Tier.objects.exists()


def test_the_command_takes_over_what_its_file_says(
    gateway: Gateway, account: Account, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = account.plan("Basic"), account.plan("Shared")
    account.key("Shop", first)
    account.key("Pool", second)
    file = tmp_path / "decisions.json"
    call_command("adopt_gateway", gateway.name, pool=["Shared"], tenant="Acme", write_decisions=file)

    call_command("adopt_gateway", gateway.name, decisions=file, yes=True)

    assert "Keys taken over: 2 keys of 2 usage plans; made: 1 tenant." in capsys.readouterr().out
    assert {tier.slug: tier.is_pooled for tier in Tier.objects.all()} == {"basic": False, "shared": True}
    assert Tenant.objects.get().name == "Acme"


def test_the_command_withdraws_what_it_asked_for_when_the_decisions_do_not_fit(gateway: Gateway, account: Account) -> None:
    plan = account.plan("Basic", rate=None)
    account.key("Shop", plan)

    with pytest.raises(CommandError, match=r"no rate above 0.*Nothing was taken over"):
        call_command("adopt_gateway", gateway.name, yes=True)

    assert Adoption.objects.get().state is AdoptionState.WITHDRAWN


def test_the_command_leaves_all_and_says_so(gateway: Gateway, account: Account) -> None:
    account.plan("Basic")

    with pytest.raises(CommandError, match="choose what becomes of one usage plan"):
        call_command("adopt_gateway", gateway.name, yes=True, leave=["Basic"])


def imported(account: Account, plan_id: str, count: int) -> None:
    """Keys of others in a plan, named customer 0 and so on."""
    lines = [f"customer {number},legacy-value-of-key-number-{number:010d},TRUE,{plan_id}" for number in range(count)]
    account.client.import_api_keys(body="\n".join(["Name,Key,Enabled,UsagePlanIds", *lines]).encode(), format="csv", failOnWarnings=True)


def test_the_command_makes_many_tenants_only_when_their_number_is_said(
    gateway: Gateway, account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    imported(account, account.plan("Basic"), 51)

    call_command("adopt_gateway", gateway.name)
    told = capsys.readouterr().out
    assert "51 new tenants, one a key." in told
    assert "With --yes --new-tenants 51 this is done." in told
    for number in (None, 50):
        with pytest.raises(CommandError, match=r"--new-tenants: This makes 51 new tenants.*Nothing was taken over"):
            call_command("adopt_gateway", gateway.name, yes=True, new_tenants=number)
    assert not Tenant.objects.exists()

    call_command("adopt_gateway", gateway.name, yes=True, new_tenants=51)

    assert Tenant.objects.count() == 51


def test_the_command_gives_keys_to_the_tenants_of_a_file(
    gateway: Gateway, account: Account, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    imported(account, account.plan("Basic"), 60)
    there = make_tenant("Acme")
    file = tmp_path / "tenants.csv"
    call_command("adopt_gateway", gateway.name, write_tenants=file)
    header, *lines = file.read_text().splitlines()
    assert (header, len(lines)) == ("key,tenant,name", 60)
    named = [line.replace(",,", f",{there.pk if number < 20 else 'Beta Ltd'},") for number, line in enumerate(lines)]
    file.write_text("\n".join([header, *named]))

    call_command("adopt_gateway", gateway.name, tenants=file, yes=True)

    assert "60 keys are taken over. 1 new tier, closed to buyers at first. 1 new tenant. 1 tenant that exists gets keys." in (
        capsys.readouterr().out
    )
    assert ApiKey.objects.filter(tenant=there).count() == 20
    assert ApiKey.objects.filter(tenant__name="Beta Ltd").count() == 40
    assert Tenant.objects.count() == 2


def test_the_command_names_the_lines_of_a_file_that_are_to_be_mended(
    gateway: Gateway, account: Account, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    imported(account, account.plan("Basic"), 2)
    there, gone = make_tenant("Acme"), "00000000-0000-4000-8000-000000000000"
    file = tmp_path / "tenants.csv"
    file.write_text(f"key,tenant\ncustomer 0,Acme\ncustomer 1,{gone}\n")

    with pytest.raises(CommandError, match="--tenants: mend the file"):
        call_command("adopt_gateway", gateway.name, tenants=file)

    told = capsys.readouterr().err
    assert f"line 2: a tenant named “Acme” exists. Write its id, {there.pk}, if it is meant" in told
    assert f"line 3: there is no tenant with the id {gone}." in told


# --- Cost and races


def test_looking_and_taking_cost_a_call_a_page_and_none_a_key(gateway: Gateway, account: Account, sandbox: SandboxProcess) -> None:
    plan = account.plan("Basic")
    lines = [f"customer {number},legacy-value-of-key-number-{number:010d},TRUE,{plan}" for number in range(510)]
    account.client.import_api_keys(body="\n".join(["Name,Key,Enabled,UsagePlanIds", *lines]).encode(), format="csv", failOnWarnings=True)
    adoption = proposed(gateway)
    adoptions.confirm(adoption=adoption, decisions=[siloed(plan)], new_tenants=510, actor=SYSTEM)
    before = sandbox.state()["calls"]

    with speak_to(gateway.pk) as session:
        assert session is not None
        assert sync_adoption.work_on_adoption(session)

    calls = {name: count - before.get(name, 0) for name, count in sandbox.state()["calls"].items() if count != before.get(name, 0)}
    assert calls == {"GetApiKeys": 2, "GetUsagePlans": 1, "GetUsagePlanKeys": 2}
    assert ApiKey.objects.count() == 510


@pytest.mark.postgres
def test_of_people_who_decide_at_once_one_is_heard(gateway: Gateway, account: Account) -> None:
    plan = account.plan("Basic")
    account.key("Shop", plan)
    adoption = proposed(gateway)

    def decide(number: int) -> str:
        try:
            adoptions.confirm(adoption=adoption, decisions=[siloed(plan, f"tier-{number}")], actor=SYSTEM)
        except adoptions.UnableToAdopt:
            return "refused"
        return "heard"

    assert Counter(at_once(decide, 6)) == {"heard": 1, "refused": 5}


@pytest.mark.postgres
def test_of_people_who_ask_at_once_one_gets_an_adoption(gateway: Gateway) -> None:
    def ask(_number: int) -> str:
        try:
            adoptions.ask(gateway=gateway, actor=SYSTEM)
        except adoptions.UnableToAdopt:
            return "refused"
        return "asked"

    assert Counter(at_once(ask, 6)) == {"asked": 1, "refused": 5}
    assert Adoption.objects.count() == 1


@pytest.mark.postgres
def test_room_is_exact_while_others_buy_during_an_adoption(gateway: Gateway, account: Account, tier: Tier) -> None:
    plan = account.plan("Basic")
    for number in range(5):
        account.key(f"Shop {number}", plan)
    Gateway.objects.update(capacity=12, foreign_keys=5)
    adoption = proposed(gateway)
    adoptions.confirm(adoption=adoption, decisions=[siloed(plan)], actor=SYSTEM)
    tenants = [make_tenant() for _ in range(10)]

    def work(number: int) -> str:
        if number == 0:
            converge(gateway.pk)
            return "adopted"
        try:
            buy(tenants[number], tier)
        except UnableToBuyKey:
            return "refused"
        return "bought"

    done = Counter(at_once(work, 10))

    gateway.refresh_from_db()
    rows = GatewayKey.objects.filter(gateway=gateway, removed_at=None).count()
    assert done == {"adopted": 1, "bought": 7, "refused": 2}
    assert (gateway.room.held, rows, gateway.foreign_keys) == (12, 12, 0)
