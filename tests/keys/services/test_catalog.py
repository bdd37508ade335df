from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from keys import selectors
from keys.models import ApiKey, Gateway, GatewayKey, KeyRole, Pool, Room, Tier, UsagePlan
from keys.services import catalog, gateways, pools
from tenants.audit import SYSTEM
from tenants.models import AuditEvent
from tests.support.factories import bring_into_service, buy, keep_spares, make_gateway, make_stage, make_tenant, make_tier

pytestmark = pytest.mark.django_db

LIMITS = {"throttle_rate": Decimal(20), "throttle_burst": 10, "quota_limit": 500, "quota_period": "WEEK"}


def test_new_pooled_tier_gets_a_plan_and_its_pool_keys() -> None:
    tier = make_tier(pool_size=3)

    assert UsagePlan.objects.filter(tier=tier).count() == 1
    assert list(GatewayKey.objects.order_by("position").values_list("role", "position")) == [("pool", 0), ("pool", 1), ("pool", 2)]


def test_new_siloed_tier_gets_its_spares() -> None:
    make_tier(spare_target=2)
    keep_spares()

    assert GatewayKey.objects.filter(role=KeyRole.SPARE).count() == 2


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"throttle_rate": Decimal(0)}, "throttle_rate"),
        ({"throttle_burst": 0}, "throttle_burst"),
        ({"quota_limit": None}, "quota_period"),
        ({"currency": "dollars"}, "currency"),
        ({"slug": "No spaces"}, "slug"),
        ({"pool_size": 2, "spare_target": 1}, "spare_target"),
    ],
)
def test_bad_tier_is_refused_naming_the_field(fields: dict[str, object], words: str) -> None:
    with pytest.raises(catalog.UnableToChangeTier, match=words):
        make_tier(**fields)

    assert not Tier.objects.exists()


def test_second_tier_of_a_slug_is_refused() -> None:
    make_tier(slug="same")

    with pytest.raises(catalog.UnableToChangeTier, match="slug"):
        make_tier(slug="same")


def test_changed_limits_make_every_plan_pending() -> None:
    tier = make_tier()
    catalog.serve_stages(tier=tier, stages=[make_stage(make_gateway()), *tier.stages.all()], actor=SYSTEM)
    bring_into_service()

    catalog.change_limits(tier=tier, actor=SYSTEM, **LIMITS)

    assert [plan.is_pending for plan in UsagePlan.objects.all()] == [True, True]
    event = AuditEvent.objects.get(action="tier.limits_changed")
    assert (event.data["before"]["quota_limit"], event.data["after"]["quota_limit"]) == (2000, 500)


def test_same_limits_again_send_nothing() -> None:
    tier = make_tier()
    catalog.change_limits(tier=tier, actor=SYSTEM, **LIMITS)
    bring_into_service()

    catalog.change_limits(tier=tier, actor=SYSTEM, **LIMITS)

    assert not UsagePlan.objects.get().is_pending


def test_higher_spare_target_makes_spares() -> None:
    tier = make_tier(spare_target=1)
    offer = {field: getattr(tier, field) for field in catalog.OFFER}

    catalog.change_offer(tier=tier, actor=SYSTEM, **{**offer, "spare_target": 4})
    keep_spares()

    assert GatewayKey.objects.filter(role=KeyRole.SPARE, ends_at=None).count() == 4


def test_lower_spare_target_ends_spares() -> None:
    tier = make_tier(spare_target=4)
    bring_into_service()
    offer = {field: getattr(tier, field) for field in catalog.OFFER}

    catalog.change_offer(tier=tier, actor=SYSTEM, **{**offer, "spare_target": 1})
    keep_spares()

    assert GatewayKey.objects.filter(role=KeyRole.SPARE, ends_at=None).count() == 1
    assert GatewayKey.objects.filter(role=KeyRole.SPARE, ends_at__lte=timezone.now()).count() == 3


def test_retired_tier_loses_its_spares_and_keeps_its_keys() -> None:
    tier = make_tier(spare_target=1)
    bring_into_service()
    sold = buy(make_tenant(), tier)

    catalog.retire_tier(tier=tier, actor=SYSTEM)
    keep_spares()

    assert set(GatewayKey.objects.filter(ends_at=None).values_list("pk", flat=True)) == {sold.gateway_key_id}
    assert selectors.tiers_for_sale() == []


def test_reopened_tier_is_for_sale_with_spares() -> None:
    tier = make_tier(spare_target=1)
    catalog.retire_tier(tier=tier, actor=SYSTEM)

    catalog.reopen_tier(tier=tier, actor=SYSTEM)
    keep_spares()

    assert selectors.tiers_for_sale() == [tier]
    assert GatewayKey.objects.filter(role=KeyRole.SPARE, ends_at=None).count() == 1


def test_gateway_with_keys_of_tenants_stays_served() -> None:
    tier = make_tier()
    buy(make_tenant(), tier)

    with pytest.raises(catalog.UnableToChangeTier, match="still holds keys"):
        catalog.serve_stages(tier=tier, stages=[make_stage(make_gateway())], actor=SYSTEM)


def test_gateway_that_is_left_out_keeps_no_spares() -> None:
    tier = make_tier(spare_target=2)
    bring_into_service()
    before = set(GatewayKey.objects.values_list("pk", flat=True))

    catalog.serve_stages(tier=tier, stages=[make_stage(make_gateway())], actor=SYSTEM)
    keep_spares()

    kept = GatewayKey.objects.filter(ends_at=None)
    assert kept.count() == 2
    assert before.isdisjoint(kept.values_list("pk", flat=True))


@pytest.mark.parametrize(("field", "value"), [("account_id", "12"), ("region", "Frankfurt")])
def test_bad_gateway_is_refused_naming_the_field(field: str, value: str) -> None:
    with pytest.raises(gateways.UnableToChangeGateway, match=field):
        make_gateway(**{field: value})


def test_stage_is_registered_without_a_last_slash() -> None:
    assert make_stage(invoke_url="https://a.example/v1/").test_url == "https://a.example/v1/api"


def test_try_again_wakes_rows_that_wait_for_a_person() -> None:
    make_tier(spare_target=1)
    keep_spares()
    GatewayKey.objects.update(permanent=True, last_error="The key was refused.")
    key = GatewayKey.objects.select_related("gateway").get()

    gateways.try_again(gateway=key.gateway, actor=SYSTEM)

    assert GatewayKey.objects.due(timezone.now()).count() == 1


def test_trying_again_costs_as_much_for_many_rows_as_for_few(
    django_assert_max_num_queries: Any, django_capture_on_commit_callbacks: Any
) -> None:
    make_tier(spare_target=40)
    keep_spares()
    for rows in (GatewayKey.objects, UsagePlan.objects):
        rows.update(permanent=True, last_error="It was refused.")

    with django_assert_max_num_queries(8), django_capture_on_commit_callbacks() as bells:
        gateways.try_again(gateway=Gateway.objects.get(), actor=SYSTEM)

    assert GatewayKey.objects.due(timezone.now()).count() == 40
    assert not UsagePlan.objects.filter(permanent=True).exists()
    assert len(bells) == 1


def test_database_refuses_two_live_api_keys_on_one_siloed_gateway_key() -> None:
    key = buy(make_tenant(), make_tier())

    with pytest.raises(IntegrityError), transaction.atomic():
        ApiKey.objects.create(tenant=make_tenant(), tier=key.tier, gateway_key=key.gateway_key, name="Twin")


def test_gateway_that_the_tier_no_longer_serves_gets_no_new_keys() -> None:
    stage, left_out = make_stage(), make_stage(make_gateway(capacity=20_000), rest_api_id="other")
    tier = make_tier(stage=stage)
    catalog.serve_stages(tier=tier, stages=[stage, left_out], actor=SYSTEM)
    catalog.serve_stages(tier=tier, stages=[stage], actor=SYSTEM)

    api_key = buy(make_tenant(), tier)

    assert api_key.gateway_key.gateway_id == stage.gateway_id
    assert selectors.endpoint_of(api_key) == stage


def test_spares_fill_no_more_than_the_room_that_is_left() -> None:
    tier = make_tier(stage=make_stage(make_gateway(capacity=3)), spare_target=5)
    keep_spares()

    assert GatewayKey.objects.filter(usage_plan__tier=tier, role=KeyRole.SPARE).count() == 3


def test_limits_offer_and_stages_change_together_or_not_at_all() -> None:
    tier = make_tier(slug="test", spare_target=0)
    other = make_stage(make_gateway())

    catalog.change_tier(tier=tier, changes={"throttle_burst": 50, "price_minor": 500}, stages=[*tier.stages.all(), other], actor=SYSTEM)

    tier.refresh_from_db()
    assert (tier.throttle_burst, tier.price_minor, tier.throttle_rate) == (50, 500, 10)
    assert tier.usage_plans.count() == 2

    with pytest.raises(catalog.UnableToChangeTier, match="quota_limit and quota_period"):
        catalog.change_tier(tier=tier, changes={"price_minor": 900, "quota_period": ""}, stages=[other], actor=SYSTEM)

    tier.refresh_from_db()
    assert (tier.price_minor, tier.quota_period, tier.stages.count()) == (500, "DAY", 2)


def test_change_of_a_tier_can_be_refused_by_what_it_is_now() -> None:
    tier = make_tier(price_minor=100)

    def refuse(now: Tier) -> None:
        raise LookupError(now.price_minor)

    catalog.change_offer(tier=tier, actor=SYSTEM, **{**{field: getattr(tier, field) for field in catalog.OFFER}, "price_minor": 200})
    with pytest.raises(LookupError, match="200"):
        catalog.change_tier(tier=tier, changes={"price_minor": 300}, check=refuse, actor=SYSTEM)
    tier.refresh_from_db()
    assert tier.price_minor == 200


def test_pool_that_grows_after_a_gateway_was_added_levels_out_over_both() -> None:
    old, new = make_stage(), make_stage(make_gateway())
    tier = make_tier(stage=old, pool_size=4)
    catalog.serve_stages(tier=tier, stages=[old, new], actor=SYSTEM)

    pools.resize_pool(tier=tier, size=8, actor=SYSTEM)

    places = GatewayKey.objects.filter(pool__tier=tier, ends_at=None).values_list("gateway_id", flat=True)
    assert Counter(places) == {old.gateway_id: 4, new.gateway_id: 4}


def test_pool_goes_where_room_is_when_a_gateway_is_full() -> None:
    small, large = make_stage(make_gateway(capacity=2)), make_stage(make_gateway(capacity=9))
    tier = make_tier(stage=small, pool_size=1)
    catalog.serve_stages(tier=tier, stages=[small, large], actor=SYSTEM)

    pools.resize_pool(tier=tier, size=11, actor=SYSTEM)
    with pytest.raises(pools.UnableToChangePool, match="no room"):
        pools.resize_pool(tier=tier, size=12, actor=SYSTEM)

    assert {room.gateway_id: room.held for room in Room.objects.all()} == {small.gateway_id: 2, large.gateway_id: 9}
    assert Pool.objects.get().size == 11
