"""The walkthrough and the pooling guide of AWS's own sample, and its defects shown absent."""

from __future__ import annotations

from collections import Counter

import pytest
from django.test import Client

from keys import words
from keys.models import ApiKey, FreeSlot, GatewayKey, KeyRole, Tier
from tenants.models import Tenant, User
from tests.flows.conftest import World
from tests.support.factories import buy
from tests.support.services import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.flow, pytest.mark.django_db(transaction=True)]


def remote_plan(world: World, slug: str) -> dict[str, object]:
    [plan] = [plan for plan in world.sandbox.client().get_usage_plans()["items"] if f"-{slug}-" in plan["name"]]
    return dict(plan)


def test_twenty_a_day_give_twenty_answers_and_then_limit_exceeded(world: World) -> None:
    value = world.value(world.buy("test"))
    world.sandbox.clock(freeze="2026-04-15T12:00:00Z")  # far from midnight, when the quota starts anew

    statuses = []
    for _ in range(20):
        statuses.append(world.call(value))
        world.sandbox.clock(advance=1)
    refused = world.sandbox.invoke(value)

    assert statuses == [200] * 20
    assert (refused.status, refused.json()) == (429, {"message": "Limit Exceeded"})
    assert refused.headers["x-amzn-ErrorType"] == "LimitExceededException"


def test_two_free_keys_carry_the_same_value(world: World) -> None:
    assert world.value(world.buy("free")) == world.value(world.buy("free"))


def test_ten_basic_keys_spread_over_five(world: World) -> None:
    tier = Tier.objects.get(slug="basic")

    keys = [buy(Tenant.objects.create(name=f"Tenant {number}"), tier) for number in range(10)]

    assert sorted(Counter(key.gateway_key_id for key in keys).values()) == [2, 2, 2, 2, 2]


def test_ten_premium_keys_make_ten(world: World) -> None:
    keys = [world.buy("premium", name=f"Key {number}") for number in range(10)]
    world.settle()

    held = {key["value"] for key in world.remote_keys()}
    assert len({world.value(key) for key in keys} & held) == 10


# The sample's defects ------------------------------------------------------------------------------------------------------------


def test_price_page_tier_and_provisioned_plan_agree(world: World) -> None:
    page = Client().get("/tiers/").content.decode()

    for tier in Tier.objects.all():
        plan = remote_plan(world, tier.slug)
        assert plan["throttle"] == {"rateLimit": float(tier.throttle_rate), "burstLimit": tier.throttle_burst}
        assert plan["quota"] == {"limit": tier.quota_limit, "offset": 0, "period": tier.quota_period}
        assert words.number_of(tier.quota_limit) in page
        assert words.rate_text(tier) in page


def test_another_tenant_cannot_delete_a_key(world: World, charlie: User) -> None:
    api_key = world.buy("premium")
    value = world.value(api_key)
    stranger = Client()
    stranger.force_login(charlie, backend="allauth.account.auth_backends.AuthenticationBackend")

    assert stranger.post(f"/keys/{api_key.pk}/revoke/").status_code == 404
    assert world.call(value) == 200
    assert ApiKey.objects.get(pk=api_key.pk).revoked_at is None


def test_revoking_answers_only_after_the_intent_is_stored(world: World) -> None:
    api_key = world.buy("premium")

    world.post(api_key, "revoke")

    assert ApiKey.objects.get(pk=api_key.pk).revoked_at is not None
    assert GatewayKey.objects.get(pk=api_key.gateway_key_id).ends_at is not None


def test_disabling_is_felt_at_the_gateway(world: World) -> None:
    api_key = world.buy("premium")
    value = world.value(api_key)

    world.post(api_key, "disable")

    world.answers(value, 403)


def test_gateway_that_refuses_leaves_no_key_that_nobody_sees(world: World) -> None:
    api_key = world.buy("premium")
    value = world.value(api_key)
    world.sandbox.fault(kind="error", operation="DeleteApiKey", count=2)

    world.post(api_key, "revoke")
    wait_until(lambda: world.sandbox.state()["calls"].get("DeleteApiKey", 0) >= 1, seconds=20, what="a first try")
    world.rest()

    row = GatewayKey.objects.get(pk=api_key.gateway_key_id)
    assert row.removed_at is None
    world.sandbox.clear_faults()
    GatewayKey.objects.filter(pk=row.pk).update(next_try_at=None)
    from keys.tasks import sweep  # the bell of the first try has been answered

    sweep.delay()
    world.answers(value, 403)


def test_revoking_a_pooled_key_leaves_the_pool_for_others(world: World) -> None:
    first = world.buy("free")
    world.post(first, "revoke")

    second = world.buy("free")

    assert world.call(world.value(second)) == 200
    assert GatewayKey.objects.filter(role=KeyRole.POOL, usage_plan__tier__slug="free", ends_at=None).count() == 1
    assert not FreeSlot.objects.exists()


def test_list_of_many_keys_is_paged_and_complete(world: World) -> None:
    tenant = Tenant.objects.get(name="Acme")
    Tier.objects.filter(slug="basic").update(max_api_keys=100)
    tier = Tier.objects.get(slug="basic")
    names = {buy(tenant, tier, name=f"Key-{number:03d}").name for number in range(60)}

    pages = "".join(world.client.get(f"/keys/?page={page}").content.decode() for page in (1, 2, 3))

    assert all(name in pages for name in names)


def test_credential_stands_in_no_page_until_it_is_revealed(world: World) -> None:
    api_key = world.buy("premium")
    value = world.value(api_key)

    pages = [world.client.get(path).content.decode() for path in ("/keys/", f"/keys/{api_key.pk}/", f"/console/?key={api_key.pk}")]

    assert not any(value in page for page in pages)
