"""The oracle finds what it is there for: each kind of damage, done by hand to a world in which nothing is wrong."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.utils import timezone

from keys import values
from keys.models import ApiKey, Credential, FreeSlot, GatewayKey, Pool, UsageDay, UsagePlan
from keys.models.room import Room
from keys.services import api_keys, gateways
from keys.sync import converge
from keys.sync.names import mark_of
from tenants.audit import SYSTEM
from tenants.models import WebhookDelivery, WebhookEvent
from tests.faults import oracle
from tests.faults.history import History, Outcome, Purchase
from tests.faults.world import WIDE, World, listener, make_world, second_gateway
from tests.support.factories import make_tier
from tests.support.sandbox import SandboxProcess

pytestmark = [pytest.mark.faults, pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def world(sandbox: SandboxProcess, settings: Any, monkeypatch: pytest.MonkeyPatch) -> World:
    """Two pooled API keys, two siloed ones, and one siloed that was revoked."""
    settings.GATEWAY_PACING = "off"
    settings.CANARY_SECONDS = 0
    monkeypatch.setattr("keys.services.bell._ring_now", lambda gateway_id: None)
    monkeypatch.setattr("tenants.webhooks.bell._ring_now", lambda: None)
    world = make_world(sandbox)
    pooled, other, siloed, second, revoked = world.buy(world.pooled, world.pooled, world.siloed, world.siloed, world.siloed)
    world.recover()
    world.made = {"pooled": pooled, "other": other, "siloed": siloed, "second": second, "revoked": revoked}
    world.made["revoked value"] = api_keys.reveal(api_key=revoked, actor=SYSTEM)
    api_keys.revoke(api_key=revoked, actor=SYSTEM)
    world.recover()
    assert oracle.violations(world) == []
    return world


def _row(world: World, name: str = "siloed") -> GatewayKey:
    return GatewayKey.objects.select_related("usage_plan").get(pk=world.made[name].gateway_key_id)


def _deleted(world: World) -> None:
    world.sandbox.client().delete_api_key(apiKey=_row(world).remote_id)


def _disabled(world: World) -> None:
    patch = [{"op": "replace", "path": "/enabled", "value": "false"}]
    world.sandbox.client().update_api_key(apiKey=_row(world).remote_id, patchOperations=patch)


def _detached(world: World) -> None:
    row = _row(world)
    world.sandbox.client().delete_usage_plan_key(usagePlanId=row.usage_plan.remote_id, keyId=row.remote_id)


def _stray(world: World) -> None:
    world.sandbox.client().create_api_key(name=f"{mark_of(world.gateway.pk)}{uuid.uuid4().hex}", enabled=True)


def _revoked_comes_back(world: World) -> None:
    plan = UsagePlan.objects.get(tier=world.siloed)
    key = world.sandbox.client().create_api_key(name="theirs", value=world.made["revoked value"], enabled=True)
    world.sandbox.client().create_usage_plan_key(usagePlanId=plan.remote_id, keyId=key["id"], keyType="API_KEY")


def _other_limits(world: World) -> None:
    patch = [{"op": "replace", "path": "/throttle/rateLimit", "value": "7"}]
    world.sandbox.client().update_usage_plan(usagePlanId=_row(world).usage_plan.remote_id, patchOperations=patch)


def _bought_without_a_trail(world: World) -> None:
    _without_triggers("DELETE FROM tenants_auditevent WHERE action = 'api_key.bought'")


def _revoked_without_a_trail(world: World) -> None:
    _without_triggers("DELETE FROM tenants_auditevent WHERE action = 'api_key.revoked'")


def _without_triggers(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE tenants_auditevent DISABLE TRIGGER USER")
        cursor.execute(statement)
        cursor.execute("ALTER TABLE tenants_auditevent ENABLE TRIGGER USER")


def _no_credential(world: World) -> None:
    Credential.objects.filter(api_key=world.made["siloed"]).delete()


def _uneven(world: World) -> None:
    keys = list(GatewayKey.objects.filter(pool__tier=world.pooled).order_by("position"))
    FreeSlot.objects.bulk_create([FreeSlot(pool=keys[0].pool, gateway_key=keys[0], slot=1000 + number) for number in range(3)])


def _taken_is_offered(world: World) -> None:
    pooled = ApiKey.objects.get(pk=world.made["pooled"].pk)
    FreeSlot.objects.create(pool=Pool.objects.get(tier=world.pooled), gateway_key_id=pooled.gateway_key_id, slot=pooled.slot)


def _other_value(world: World) -> None:
    GatewayKey.objects.filter(pk=_row(world).pk).update(value_encrypted=values.encrypt(values.new_value()))


DAMAGES: dict[str, tuple[Callable[[World], object], str]] = {
    "a key deleted": (_deleted, "lost: row"),
    "a key disabled": (_disabled, "wants enabled"),
    "a key detached": (_detached, "wants plan"),
    "a stray key": (_stray, "orphan: API Gateway holds"),
    "a revoked credential answered": (_revoked_comes_back, "orphan: a credential"),
    "other limits": (_other_limits, "usage plan of"),
    "a value that is not there": (_other_value, "lost:"),
    "a wrong count": (lambda _world: Room.objects.update(held=F("held") + 1), "counts"),
    "a pending row": (lambda world: GatewayKey.objects.filter(pk=_row(world).pk).update(revision=F("revision") + 1), "left to do"),
    "a siloed key of nobody": (_no_credential, "orphan: siloed row"),
    "no credential": (_no_credential, "has no credential"),
    "an uneven pool": (_uneven, "uneven"),
    "a place offered twice": (_taken_is_offered, "double:"),
    "no trail of a purchase": (_bought_without_a_trail, "audited"),
    "no trail of a revocation": (_revoked_without_a_trail, "audited"),
}


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_damage_is_found(damage: str, world: World) -> None:
    act, words = DAMAGES[damage]

    act(world)

    found = [str(each) for each in oracle.violations(world)]
    assert any(words in each for each in found), found


def test_tellings_are_held_against_what_happened(world: World) -> None:
    """Three damages to what one tenant was told, one after the other."""
    metered = make_tier(stage=world.stage, **{**WIDE, "quota_limit": 10, "quota_period": "MONTH"})
    [key] = world.buy(metered, tenant=listener())
    world.recover()
    assert oracle.violations(world) == []

    WebhookDelivery.objects.all().delete()
    assert _found(world) == [f"lost: key.ready {key.pk} is told to nobody"]
    WebhookEvent.objects.all().delete()
    assert _found(world) == [f"lost: {key.name} is ready, and that was not told"]
    WebhookEvent.objects.bulk_create(
        [WebhookEvent(tenant=key.tenant, type="key.ready", subject=str(key.pk), data={}) for _time in range(2)]
    )
    assert f"double: {key.name} was told to be ready 2 times" in _found(world)
    now = timezone.now()
    UsageDay.objects.update_or_create(gateway_key_id=key.gateway_key_id, date=now.date(), defaults={"used": 8, "read_at": now})
    assert f"other: {key.name} was seen to use 8 of its quota, and 0 times 80 % were told" in _found(world)


def test_answers_to_staff_are_held_against_what_is_there(world: World) -> None:
    """What the workers may do, and whose keys are told of."""
    gateways.request_check(gateway=world.gateway, actor=SYSTEM)
    assert [each for each in _found(world) if "no worker answered" in each]
    world.recover()
    world.allow("GetUsage")
    assert _found(world) == [f"other: {world.gateway}: denied are ['GetUsage'], and [] are said to lack"]
    world.allow()

    aws = world.sandbox.client()
    stranger = aws.create_api_key(name="somebody's", enabled=True)["id"]
    converge.reconcile(world.gateway.pk)
    assert _found(world) == []
    aws.delete_api_key(apiKey=stranger)
    assert _found(world) == [f"other: somebody's gateway key {stranger} is told of, and is gone"]


def test_each_account_and_region_is_looked_at(world: World) -> None:
    """Keys of a second gateway are held against its own account-Region, and called at its own URL."""
    there = second_gateway(world)
    elsewhere = make_tier(gateways=[there], **WIDE)
    [key] = world.buy(elsewhere)
    world.recover()
    assert _found(world) == []

    region = world.sandbox.world(f"{there.account_id}:{there.region}")
    region.client().create_api_key(name=f"{mark_of(there.pk)}-stray", enabled=True)
    patch = [{"op": "replace", "path": "/enabled", "value": "false"}]
    region.client().update_api_key(apiKey=GatewayKey.objects.get(api_keys=key).remote_id, patchOperations=patch)

    assert [each.partition(" ")[0] for each in _found(world)] == ["orphan:", "other:", "lost:"]


def _found(world: World) -> list[str]:
    return [str(each) for each in oracle.violations(world)]


def test_history_is_held_against_the_rows(world: World) -> None:
    def bought(name: str, outcome: Outcome, **more: Any) -> Purchase:
        return Purchase(name=name, tenant_id=uuid.uuid4(), tier="", batch=name, outcome=outcome, **more)

    siloed, second = world.made["siloed"], world.made["second"]
    value = api_keys.reveal(api_key=siloed, actor=SYSTEM)
    fine = History()
    fine.bought(
        [bought(siloed.name, Outcome.OK, id=siloed.pk, value=value), bought("never", Outcome.FAILED), bought("who knows", Outcome.UNKNOWN)]
    )
    wrong = {
        "there is nothing": bought("acknowledged", Outcome.OK, id=uuid.uuid4(), value=value),
        "was refused, and is there": bought(second.name, Outcome.FAILED),
        "told revoked=True": bought(siloed.name, Outcome.OK, id=siloed.pk, value=value, revoked=True),
        "told disabled=True": bought(siloed.name, Outcome.OK, id=siloed.pk, value=value, disabled=True),
        "not the one that was told": bought(siloed.name, Outcome.OK, id=siloed.pk, value="another"),
        "told to be over is answered": bought(siloed.name, Outcome.OK, id=siloed.pk, value=value, ended=[value]),
    }

    assert oracle.violations(world, fine) == []
    for words, purchase in wrong.items():
        history = History()
        history.bought([purchase])
        found = [str(each) for each in oracle.violations(world, history)]
        assert any(words in each for each in found), (words, found)


def test_half_a_batch_is_found(world: World) -> None:
    history = History()
    names = (world.made["siloed"].name, "its twin")
    history.bought([Purchase(name=name, tenant_id=uuid.uuid4(), tier="", batch="one") for name in names])

    assert [str(each) for each in oracle.violations(world, history)] == ["lost: half of the batch one is there"]
