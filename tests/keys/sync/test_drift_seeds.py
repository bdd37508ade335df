"""Whatever somebody changes at API Gateway behind our back is found, nothing else is, and it is all repaired: by many seeds.

A test that fails names its seed. ``DRIFT_SEEDS=500`` tries more of them.
"""

import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from keys.models import Finding, FindingKind, Gateway, GatewayKey, ReconcileRun, Tier, UsagePlan
from keys.services import api_keys
from keys.sync.converge import converge, reconcile
from keys.sync.names import mark_of
from tenants.audit import SYSTEM
from tests.keys.sync.conftest import remote_keys, value_of
from tests.support.factories import buy, make_tenant, make_tier
from tests.support.sandbox import SandboxProcess

SEEDS = int(os.environ.get("DRIFT_SEEDS", "8"))
# What stays as it is: keys of others, and usage plans that bear our mark and may be somebody's.
STANDING = {(FindingKind.FOREIGN, "gateway key"), (FindingKind.DUPLICATE, "usage plan"), (FindingKind.FOREIGN, "usage plan")}
Found = Counter[tuple[str, str, str]]


@dataclass
class Hand:
    """Somebody with the AWS console, who changes each key and each usage plan once at most. ``expected``: what has to be found, by kind,
    subject, and the id at API Gateway (the name, of what is missing)."""

    client: Any
    dice: random.Random
    mark: str
    keys: list[GatewayKey]
    plans: list[UsagePlan]
    expected: Found = field(default_factory=Counter)
    foreign: set[str] = field(default_factory=set)
    strays: set[str] = field(default_factory=set)

    def changed(self, kind: FindingKind, subject: str, which: str) -> None:
        self.expected[kind, subject, which] += 1

    def missing(self) -> None:
        key = self.keys.pop()
        self.client.delete_api_key(apiKey=key.remote_id)
        self.changed(FindingKind.MISSING, "gateway key", key.name)

    def wrong_enabled(self) -> None:
        key = self.keys.pop()
        self._patch(key, "/enabled", "false" if key.enabled else "true")
        self.changed(FindingKind.WRONG_ENABLED, "gateway key", key.remote_id)

    def stale_name(self) -> None:
        key = self.keys.pop()
        self._patch(key, "/name", self.dice.choice([f"{self.mark}99999999-{key.remote_id}", f"renamed {key.remote_id}"]))
        self.changed(FindingKind.STALE_NAME, "gateway key", key.remote_id)

    def detached(self) -> None:
        key = self.keys.pop()
        self.client.delete_usage_plan_key(usagePlanId=key.usage_plan.remote_id, keyId=key.remote_id)
        self.changed(FindingKind.DETACHED, "gateway key", key.remote_id)

    def wrong_plan(self) -> None:
        """Moved to another plan: so it is not in its own either."""
        key = self.keys[-1]
        other = self.dice.choice([plan for plan in UsagePlan.objects.all() if plan.pk != key.usage_plan_id])
        self.detached()
        self.client.create_usage_plan_key(usagePlanId=other.remote_id, keyId=key.remote_id, keyType="API_KEY")
        self.changed(FindingKind.WRONG_PLAN, "gateway key", key.remote_id)

    def extra(self) -> None:
        number = len(self.strays)
        made = self.client.create_api_key(name=f"{self.mark}ffffffff-{number}", enabled=True)
        self.strays.add(made["id"])
        self.changed(FindingKind.EXTRA, "gateway key", made["id"])

    def duplicate(self) -> None:
        made = self.client.create_api_key(name=self.keys.pop().name, enabled=True)
        self.strays.add(made["id"])
        self.changed(FindingKind.DUPLICATE, "gateway key", made["id"])

    def foreign_key(self) -> None:
        """Another's key: without a name, or with that of another Tollgate. It may even be in a plan of ours."""
        number = len(self.foreign)
        name = self.dice.choice(["", f"their key {number}", f"tollgate-0badcafe-{number:08}-x"])
        made = self.client.create_api_key(name=name, enabled=self.dice.choice([True, False]))
        if self.dice.random() < 0.3:
            plan = UsagePlan.objects.order_by("pk")[0]
            self.client.create_usage_plan_key(usagePlanId=plan.remote_id, keyId=made["id"], keyType="API_KEY")
        self.foreign.add(made["id"])
        self.changed(FindingKind.FOREIGN, "gateway key", made["id"])

    def wrong_limits(self) -> None:
        plan = self.plans.pop()
        patch = self.dice.choice(
            [
                {"op": "replace", "path": "/throttle/burstLimit", "value": "999"},
                {"op": "replace", "path": "/throttle/rateLimit", "value": "0.5"},
                {"op": "replace", "path": "/quota/limit", "value": "3"},
                {"op": "replace", "path": "/quota/period", "value": "WEEK"},
                {"op": "remove", "path": "/throttle"},
                {"op": "remove", "path": "/quota"},
            ]
        )
        self.client.update_usage_plan(usagePlanId=plan.remote_id, patchOperations=[patch])
        self.changed(FindingKind.WRONG_LIMITS, "usage plan", plan.remote_id)

    def wrong_stage(self) -> None:
        plan = self.plans.pop()
        patch = {"op": "remove", "path": "/apiStages", "value": "groceries:v1"}
        self.client.update_usage_plan(usagePlanId=plan.remote_id, patchOperations=[patch])
        self.changed(FindingKind.WRONG_STAGE, "usage plan", plan.remote_id)

    def stale_plan_name(self) -> None:
        plan = self.plans.pop()
        patch = {"op": "replace", "path": "/name", "value": "renamed"}
        self.client.update_usage_plan(usagePlanId=plan.remote_id, patchOperations=[patch])
        self.changed(FindingKind.STALE_NAME, "usage plan", plan.remote_id)

    def duplicate_plan(self) -> None:
        made = self.client.create_usage_plan(name=self.plans.pop().remote_name)
        self.changed(FindingKind.DUPLICATE, "usage plan", made["id"])

    def extra_plan(self) -> None:
        made = self.client.create_usage_plan(name="tollgate-old")
        self.changed(FindingKind.FOREIGN, "usage plan", made["id"])

    def _patch(self, key: GatewayKey, path: str, value: str) -> None:
        self.client.update_api_key(apiKey=key.remote_id, patchOperations=[{"op": "replace", "path": path, "value": value}])


KEY_CHANGES: list[Callable[[Hand], None]] = [
    Hand.missing, Hand.wrong_enabled, Hand.stale_name, Hand.detached, Hand.wrong_plan, Hand.extra, Hand.duplicate, Hand.foreign_key,
]  # fmt: skip
PLAN_CHANGES: list[Callable[[Hand], None]] = [
    Hand.wrong_limits, Hand.wrong_stage, Hand.stale_plan_name, Hand.duplicate_plan, Hand.extra_plan,
]  # fmt: skip


@pytest.fixture
def busy(converged: Gateway, tier: Tier, stage: object) -> Gateway:
    """Three tiers beside the first: two siloed ones with spares and one with a pool; keys in use, and two that are disabled."""
    make_tier(stage=stage, pool_size=6)
    make_tier(stage=stage, spare_target=8)
    make_tier(stage=stage, spare_target=8)
    bought = [buy(make_tenant(), tier) for _ in range(8)]
    for each in bought[:2]:
        api_keys.disable(api_key=each, actor=SYSTEM)
    converge(converged.pk)
    return converged


def found(run: ReconcileRun | None) -> Found:
    assert run is not None
    assert run.error == ""
    return Counter((each.kind, each.subject, each.remote_id or each.label) for each in run.findings.all())


def meddle(sandbox: SandboxProcess, gateway: Gateway, seed: int) -> Hand:
    """Some changes of every kind, by turns; each kind once at least over two seeds."""
    dice = random.Random(seed)
    keys = list(GatewayKey.objects.select_related("usage_plan").order_by("pk"))
    plans = list(UsagePlan.objects.order_by("pk"))
    dice.shuffle(keys)
    dice.shuffle(plans)
    hand = Hand(sandbox.client(), dice, mark_of(gateway.pk), keys, plans)
    for change in KEY_CHANGES:
        for _ in range(dice.randint(1, 2)):
            change(hand)
    for change in [PLAN_CHANGES[(seed + turn) % len(PLAN_CHANGES)] for turn in range(3)]:
        change(hand)
    return hand


def shape(sandbox: SandboxProcess, but: set[str]) -> list[tuple[Any, ...]]:
    """Everything that the gateway holds of ours, as it should be: to be compared before and after."""
    rows = {key.remote_id: key.pk for key in GatewayKey.objects.exclude(remote_id="")}
    keys = [(rows.get(key["id"]), key["enabled"], key["plans"]) for key in sandbox.state()["keys"] if key["id"] not in but]
    return sorted(keys, key=str)


def plans_of(sandbox: SandboxProcess) -> dict[str, Any]:
    known = set(UsagePlan.objects.values_list("remote_id", flat=True))
    names = ("name", "throttle", "quota", "apiStages")
    return {plan["id"]: {name: plan.get(name) for name in names} for plan in sandbox.state()["plans"] if plan["id"] in known}


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_change_is_found_and_undone(busy: Gateway, sandbox: SandboxProcess, seed: int) -> None:
    keys_before, plans_before = shape(sandbox, set()), plans_of(sandbox)
    hand = meddle(sandbox, busy, seed)
    theirs = {key_id: key for key_id, key in remote_keys(sandbox).items() if key_id in hand.foreign}

    assert found(reconcile(busy.pk, dry_run=True)) == hand.expected
    applied = reconcile(busy.pk, most_deletions=20)

    assert found(applied) == hand.expected
    assert shape(sandbox, hand.foreign | hand.strays) == keys_before
    assert plans_of(sandbox) == plans_before
    held = remote_keys(sandbox)
    assert {held[key_id]["enabled"] for key_id in hand.strays} == {False}
    assert {key_id: held[key_id] for key_id in hand.foreign} == theirs
    named = {key.remote_id: key.name for key in GatewayKey.objects.all()}
    assert {key_id: held[key_id]["name"] for key_id in named} == named
    assert not any(row.is_pending for row in [*GatewayKey.objects.all(), *UsagePlan.objects.all()])
    busy.refresh_from_db()
    assert busy.foreign_keys == len(hand.foreign | hand.strays)


@pytest.mark.parametrize("seed", range(2))
def test_after_the_repair_nothing_is_found_but_what_is_left_alone(busy: Gateway, sandbox: SandboxProcess, settings: Any, seed: int) -> None:
    hand = meddle(sandbox, busy, seed)
    reconcile(busy.pk, most_deletions=20)

    again = found(reconcile(busy.pk))

    assert {(kind, subject) for kind, subject, _which in again} <= STANDING
    settings.QUARANTINE_SECONDS = 0
    reconcile(busy.pk, most_deletions=20)
    assert not hand.strays & remote_keys(sandbox).keys()
    assert hand.foreign <= remote_keys(sandbox).keys()
    assert Finding.objects.filter(resolved_at=None).exclude(kind=FindingKind.FOREIGN).exclude(subject="usage plan").count() == 0


def test_nothing_is_found_while_the_gateway_answers_as_before(busy: Gateway, sandbox: SandboxProcess) -> None:
    answers = {key.pk: sandbox.invoke(value_of(key)).status for key in GatewayKey.objects.all()}

    assert found(reconcile(busy.pk)) == Counter()

    assert {key.pk: sandbox.invoke(value_of(key)).status for key in GatewayKey.objects.all()} == answers
