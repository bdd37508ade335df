"""Scenarios of crash points: what tenants and staff do with API keys."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from unittest import mock

from keys.models import ApiKey, Gateway, GatewayKey, Tier
from keys.services import adoptions, api_keys, bulk, pools, purchases
from keys.services import tenants as suspension
from keys.services.purchases import Item
from tenants.audit import SYSTEM
from tenants.models import Tenant
from tests.faults.proxy import Proxy
from tests.faults.world import WIDE, World, attach, decisions_on, detach, foreign_plan, listener, proposed, refusals_are_no_matter
from tests.support.factories import make_tenant, make_tier

# --- Buying


def prepare_buy(world: World) -> None:
    tenant = make_tenant(uuid.uuid4().hex)
    items = [Item(tier=tier, name=uuid.uuid4().hex) for tier in (world.pooled, world.siloed, world.spared) for _twice in range(2)]
    world.made = {"tenant": tenant, "items": items, "names": [each.name for each in items]}


def buy(world: World) -> None:
    first, *others = world.made["items"]
    token = first.purchase_token
    purchases.buy(tenant=world.made["tenant"], tier=first.tier, name=first.name, actor=SYSTEM, purchase_token=token)
    purchases.buy_many(tenant=world.made["tenant"], items=others[:2], actor=SYSTEM)
    purchases.buy_and_reveal(tenant=world.made["tenant"], items=others[2:], actor=SYSTEM)
    world.work()


def buy_one_by_one(world: World) -> None:
    """On an account that refuses imports, where others' keys have got into the way."""
    Gateway.objects.update(uses_imports=False)
    buy(world)
    key = GatewayKey.objects.filter(api_keys__name=world.made["names"][-3]).get()
    world.sandbox.fault(kind="reset", work=True, operation="CreateApiKey", count=1)
    world.sandbox.fault(kind="reset", work=True, operation="CreateUsagePlanKey", count=1)
    world.buy(world.siloed, world.siloed)
    world.work()
    world.again()
    detach(world, key)
    attach(world, key, world.pooled)
    GatewayKey.objects.filter(pk=key.pk).update(synced_revision=0)
    world.work()


def prepare_bulk(world: World) -> None:
    world.made = {"tenants": [make_tenant(uuid.uuid4().hex).pk for _one in range(5)]}


def bulk_place(world: World) -> None:
    rows = Tenant.objects.filter(pk__in=world.made["tenants"]).order_by("pk")
    for _chunk in bulk.place_tenants(tier=world.pooled, tenants=rows, name="placed", actor=SYSTEM, chunk=2):
        pass


# --- Keys that were bought


def prepare_keys(world: World) -> None:
    world.made = {"keys": world.buy(world.siloed, world.siloed, world.pooled)}
    world.recover()


def rotate(world: World) -> None:
    one, other, _pooled = world.made["keys"]
    with refusals_are_no_matter():
        api_keys.rotate(api_key=one, grace=timedelta(0), actor=SYSTEM)
    with refusals_are_no_matter():
        api_keys.rotate_and_reveal(api_key=other, grace=timedelta(0), actor=SYSTEM)
    world.work()


def revoke(world: World) -> None:
    for each in world.made["keys"]:
        api_keys.revoke(api_key=each, actor=SYSTEM)
    world.work()


def revoke_unseen(world: World) -> None:
    """Keys whose creation had no answer: nobody knows their ids."""
    bought = world.buy(world.siloed)
    world.sandbox.fault(kind="reset", work=True, operation="ImportApiKeys", count=1)
    world.sandbox.fault(kind="reset", operation="GetApiKeys", count=1)
    world.work()
    world.sandbox.clear_faults()
    for each in bought:
        api_keys.revoke(api_key=each, actor=SYSTEM)
    world.again()
    world.work()


def switch(world: World) -> None:
    one, other, _pooled = world.made["keys"]
    api_keys.rename(api_key=one, name=uuid.uuid4().hex, description="", actor=SYSTEM)
    for change in (api_keys.disable, api_keys.enable, api_keys.disable):
        change(api_key=one, actor=SYSTEM)
        world.work()
    # Disabled, and made anew, while nothing can be imported: it is cut off at least.
    world.sandbox.fault(kind="error", status=400, code="BadRequestException", operation="ImportApiKeys", count=3)
    api_keys.disable(api_key=other, actor=SYSTEM)
    GatewayKey.objects.filter(api_keys=other).update(synced_revision=0)
    world.work()
    world.sandbox.clear_faults()
    GatewayKey.objects.filter(permanent=True).update(permanent=False, next_try_at=None)
    world.work()


def suspend(world: World) -> None:
    tenant = world.made["keys"][0].tenant
    suspension.suspend(tenant=tenant, reason="unpaid", actor=SYSTEM)
    world.work()
    suspension.resume(tenant=tenant, actor=SYSTEM)
    world.work()


def prepare_own(world: World) -> None:
    """Siloed API keys whose values are known."""
    keys = world.buy(world.siloed, world.siloed)
    world.recover()
    world.made = {"keys": keys, "values": [api_keys.reveal(api_key=each, actor=SYSTEM) for each in keys]}


def prepare_taken_over(world: World) -> None:
    """More API keys than are removed one by one; half of them have values that no import takes, as others made them."""
    values = [uuid.uuid4().hex[:length] for length in (24, 32) for _key in range(7)]
    plan_id = foreign_plan(world, *values)
    adoption = proposed(world)
    assert adoption is not None
    adoptions.confirm(adoption=adoption, decisions=decisions_on(adoption, [plan_id]), actor=SYSTEM)
    world.recover()
    world.made = {"keys": list(ApiKey.objects.filter(tier__usage_plans__remote_id=plan_id)), "values": values}
    assert len(world.made["keys"]) == len(values)


def revoke_many(world: World) -> None:
    """So many that all of them are cut off before the first is deleted."""
    for each in world.made["keys"]:
        api_keys.revoke(api_key=each, actor=SYSTEM)
    world.work()
    assert {world.sandbox.invoke(value).status for value in world.made["values"]} == {403}


def found_later(world: World) -> None:
    """Keys whose creation had no answer, that the list does not show yet, and that are there all the same; one is disabled meanwhile."""
    Gateway.objects.update(uses_imports=False)
    _kept, off = world.buy(world.siloed, world.siloed)
    world.sandbox.fault(kind="reset", work=True, operation="CreateApiKey", count=2)
    world.work()
    world.sandbox.clear_faults()
    api_keys.disable(api_key=off, actor=SYSTEM)
    world.again()
    with _hidden_once(world):
        world.work()


@contextmanager
def _hidden_once(world: World) -> Iterator[None]:
    """The next list of keys is empty."""
    left = [json.dumps({"item": []}).encode()]
    with Proxy() as proxy, mock.patch.dict(os.environ, AWS_ENDPOINT_URL_API_GATEWAY=proxy.url):
        proxy.stand_before(world)
        proxy.mangle("/apikeys$", lambda body: left.pop() if left else body)
        yield


# --- Tenants who are told


def prepare_told(world: World) -> None:
    """A tenant with a webhook, who has used four fifths of a quota."""
    metered = Tier.objects.filter(slug="metered").first()
    if metered is None:
        metered = make_tier(stage=world.stage, slug="metered", **{**WIDE, "quota_limit": 100, "quota_period": "MONTH"})
        world.recover()
    tenant = listener()
    used, rotated, revoked, moved = world.buy(metered, world.siloed, world.siloed, world.pooled, tenant=tenant)
    world.recover()
    value = api_keys.reveal(api_key=used, actor=SYSTEM)
    assert {world.sandbox.invoke(value).status for _call in range(80)} == {200}
    late = Item(tier=world.siloed, name=uuid.uuid4().hex)
    world.made = {"tenant": tenant, "rotated": rotated, "revoked": revoked, "moved": moved, "late": late, "names": [late.name]}


def tell(world: World) -> None:
    """Everything that a tenant is told of: a key that gets ready, is rotated, moved, disabled, revoked, and much used."""
    made = world.made
    late = made["late"]
    purchases.buy(tenant=made["tenant"], tier=late.tier, name=late.name, actor=SYSTEM, purchase_token=late.purchase_token)
    world.work()
    with refusals_are_no_matter():
        api_keys.rotate(api_key=made["rotated"], grace=timedelta(hours=1), actor=SYSTEM)
    world.work()
    standing_on = GatewayKey.objects.get(api_keys=made["moved"])
    pools.replace_pool_key(gateway_key=standing_on, grace=timedelta(hours=1), actor=SYSTEM)
    with refusals_are_no_matter():
        api_keys.disable(api_key=made["revoked"], actor=SYSTEM)
    api_keys.revoke(api_key=made["revoked"], actor=SYSTEM)
    Gateway.objects.update(usage_read_at=None)
    world.work()
