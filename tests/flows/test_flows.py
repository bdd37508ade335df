"""From an HTTP request to what the gateway holds, and back: the portal, a real worker, the sandbox."""

from __future__ import annotations

import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from keys.models import ApiKey, Gateway, GatewayKey, KeyRole, Status, Tier
from keys.services import catalog, gateways, tenants
from keys.services.pools import replace_pool_key
from keys.tasks import sweep
from tenants.audit import SYSTEM
from tests.flows.conftest import World, no_spares
from tests.support.services import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.flow, pytest.mark.django_db(transaction=True)]


def writes(world: World) -> dict[str, int]:
    """Calls of the management API that change something, by operation."""
    calls: dict[str, int] = world.sandbox.state()["calls"]
    return {name: count for name, count in calls.items() if not name.startswith("Get")}


def status(api_key: ApiKey) -> Status:
    return ApiKey.objects.select_related("gateway_key").get(pk=api_key.pk).status(timezone.now())


def test_siloed_purchase_is_made_at_the_gateway_and_turns_ready(world_on_each_broker: World) -> None:
    world = world_on_each_broker
    no_spares("premium")

    api_key = world.buy("premium")
    wait_until(lambda: status(api_key) is Status.READY, seconds=20, what="a ready key")

    assert world.call(world.value(api_key)) == 200
    [remote] = [key for key in world.remote_keys() if key["value"] == world.value(api_key)]
    assert remote["enabled"] is True


def test_pooled_purchase_works_at_once_and_sends_nothing(world: World) -> None:
    before = writes(world)

    api_key = world.buy("basic")

    assert status(api_key) is Status.READY
    assert world.call(world.value(api_key)) == 200
    assert writes(world) == before


def test_purchase_served_by_a_spare_works_at_once(world: World) -> None:
    api_key = world.buy("premium")

    assert status(api_key) is Status.READY
    assert world.call(world.value(api_key)) == 200


def test_disable_and_enable_reach_the_gateway(world: World) -> None:
    api_key = world.buy("premium")  # its quota is not used up by asking until it is refused
    value = world.value(api_key)

    world.post(api_key, "disable")
    world.answers(value, 403)
    world.post(api_key, "enable")

    world.answers(value, 200)


def test_revoked_siloed_key_is_gone_from_the_gateway(world: World) -> None:
    api_key = world.buy("premium")
    value = world.value(api_key)

    world.post(api_key, "revoke")

    world.answers(value, 403)
    world.settle()
    assert value not in {key["value"] for key in world.remote_keys()}


def test_rotation_lets_both_credentials_work_until_the_old_one_ends(world: World) -> None:
    api_key = world.buy("premium")
    old = world.value(api_key)

    world.post(api_key, "rotate", grace=3600)
    new = world.value(api_key)
    world.answers(new, 200)
    assert (world.call(old), old != new) == (200, True)
    GatewayKey.objects.filter(ends_at__isnull=False).update(ends_at=timezone.now())  # the grace period passes
    sweep.delay()

    world.answers(old, 403)
    assert world.call(new) == 200


def test_changed_limits_reach_the_usage_plan(world: World) -> None:
    tier = Tier.objects.get(slug="premium")

    catalog.change_limits(tier=tier, throttle_rate=Decimal("0.5"), throttle_burst=2, quota_limit=7, quota_period="WEEK", actor=SYSTEM)
    world.settle()

    plans = world.sandbox.client().get_usage_plans()["items"]
    [plan] = [plan for plan in plans if "premium" in plan["name"]]
    assert plan["throttle"] == {"burstLimit": 2, "rateLimit": 0.5}
    assert (plan["quota"]["limit"], plan["quota"]["period"]) == (7, "WEEK")


def test_all_heals_after_the_gateway_forgot_everything(world: World) -> None:
    keys = [world.buy(slug) for slug in ("test", "free", "basic", "premium")]
    values = [world.value(key) for key in keys]
    world.settle()

    world.sandbox.forget()
    assert [world.call(value) for value in values] == [403] * 4
    Gateway.objects.update(last_seen_at=timezone.now() - timedelta(hours=1))  # the next sign of life is due
    sweep.delay()

    for value in values:
        world.answers(value, 200)
    assert [world.value(key) for key in keys] == values


def test_purchases_while_the_gateway_is_down_are_made_when_it_is_back(world: World) -> None:
    no_spares("premium")
    world.sandbox.fault(kind="error", operation="*", count=3)

    api_key = world.buy("premium")
    assert status(api_key) is Status.PREPARING
    world.rest()  # who was answered the error has written down when to try again
    world.sandbox.clear_faults()
    gateways.try_again(gateway=api_key.gateway_key.gateway, actor=SYSTEM)

    wait_until(lambda: status(api_key) is Status.READY, seconds=30, what="a ready key")


def test_double_click_buys_once(world: World) -> None:
    token = uuid.uuid4()

    first, second = world.buy("premium", token=token), world.buy("premium", token=token)

    assert first.pk == second.pk
    assert ApiKey.objects.count() == 1


def test_replaced_pool_key_cuts_off_who_knew_the_old_value(world: World) -> None:
    former, loyal = world.buy("free", name="Former"), world.buy("free", name="Loyal")
    old = world.value(former)
    world.post(former, "revoke")
    assert world.call(old) == 200  # a shared value cannot be cut off for one

    replace_pool_key(gateway_key=loyal.gateway_key, grace=timedelta(0), actor=SYSTEM)

    world.answers(old, 403)
    loyal.refresh_from_db()
    world.answers(world.value(loyal), 200)
    assert GatewayKey.objects.filter(role=KeyRole.POOL, usage_plan__tier__slug="free", ends_at=None).count() == 1


def test_suspended_tenant_is_refused_at_the_gateway_until_it_is_resumed(world: World) -> None:
    own, by_hand, shared = world.buy("premium"), world.buy("premium"), world.buy("basic")
    values = [world.value(each) for each in (own, by_hand, shared)]
    world.post(by_hand, "disable")
    world.answers(values[1], 403)
    acme = own.tenant

    tenants.suspend(tenant=acme, reason="Unpaid", actor=SYSTEM)
    world.answers(values[0], 403)
    assert world.call(values[2]) == 200  # shared with others: said so, and not cut off
    gateways.request_reconcile(gateway=Gateway.objects.get(), actor=SYSTEM)
    world.settle()
    assert [world.call(value) for value in values] == [403, 403, 200]

    tenants.resume(tenant=acme, actor=SYSTEM)
    world.answers(values[0], 200)
    world.settle()
    assert [world.call(value) for value in values] == [200, 403, 200]
