"""Which spares a buyer gets: on SQLite by queries, on PostgreSQL by one function; the same of both."""

import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from keys.models import ApiKey, Gateway, GatewayKey, KeyRole, Priority, Stage, Tier
from keys.models.room import Room
from keys.services import placement, purchases
from tenants.audit import SYSTEM
from tests.support.factories import bring_into_service, buy, keep_spares, make_gateway, make_tenant, make_tier
from tests.support.room import counts

pytestmark = pytest.mark.django_db


def spares_of(tier: Tier, gateway: Gateway | None = None) -> set[uuid.UUID]:
    found = GatewayKey.objects.filter(usage_plan__tier=tier, role=KeyRole.SPARE)
    return set((found if gateway is None else found.filter(gateway=gateway)).values_list("pk", flat=True))


def take(tier: Tier, count: int, gateway: Gateway | None = None) -> list[uuid.UUID]:
    with transaction.atomic():
        return placement.take_ready_spares(tier, count, timezone.now(), gateway and gateway.pk)


def at_gateways(ids: Iterable[uuid.UUID]) -> set[uuid.UUID]:
    return set(GatewayKey.objects.filter(pk__in=ids).values_list("gateway_id", flat=True))


@pytest.fixture
def three() -> tuple[Tier, list[Gateway]]:
    """A tier with three spares on each of three gateways; the second one has the most room, the third one more than the first."""
    gateways = [make_gateway(capacity=capacity) for capacity in (10, 30, 20)]
    tier = make_tier(gateways=gateways, spare_target=3, max_api_keys=1000)
    bring_into_service()
    return tier, gateways


def test_spare_is_taken_where_most_room_is_and_becomes_the_buyers(three: tuple[Tier, list[Gateway]]) -> None:
    tier, (first, second, third) = three
    before = counts()

    assert [at_gateways(take(tier, 3)) for _ in range(3)] == [{second.pk}, {third.pk}, {first.pk}]

    assert take(tier, 1) == []
    assert set(GatewayKey.objects.values_list("role", "priority")) == {(KeyRole.SILO, Priority.PURCHASE)}
    assert counts() == before  # a spare had its room already


def test_keys_of_others_there_are_no_room(three: tuple[Tier, list[Gateway]]) -> None:
    tier, (_first, second, third) = three
    Gateway.objects.filter(pk=second.pk).update(foreign_keys=11)

    assert at_gateways(take(tier, 1)) == {third.pk}


def test_batch_goes_on_at_the_gateway_with_the_next_most_room(three: tuple[Tier, list[Gateway]]) -> None:
    tier, (first, second, third) = three

    taken = take(tier, 5)

    assert len(set(taken)) == 5
    assert spares_of(tier, second) == set()
    assert (len(spares_of(tier, third)), len(spares_of(tier, first))) == (1, 3)


def test_batch_larger_than_the_spares_gets_all_of_them(three: tuple[Tier, list[Gateway]]) -> None:
    tier, _gateways = three
    wanted = spares_of(tier)

    assert set(take(tier, 100)) == wanted


def test_one_gateway_alone_is_asked_when_it_is_named(three: tuple[Tier, list[Gateway]]) -> None:
    tier, (first, second, _third) = three

    assert at_gateways(take(tier, 2, first)) == {first.pk}
    assert len(take(tier, 5, first)) == 1
    assert len(spares_of(tier, second)) == 3


def test_gateway_that_takes_no_keys_or_serves_no_stage_of_the_tier_gives_no_spare(three: tuple[Tier, list[Gateway]]) -> None:
    tier, (first, second, third) = three
    Gateway.objects.filter(pk=second.pk).update(accepts_keys=False)
    tier.stages.set(Stage.objects.exclude(gateway=third))

    assert at_gateways(take(tier, 9)) == {first.pk}


def test_gateway_with_two_stages_of_the_tier_gives_each_spare_once() -> None:
    gateway = make_gateway()
    tier = make_tier(gateways=[gateway], spare_target=2)
    tier.stages.add(Stage.objects.create(gateway=gateway, rest_api_id="other", name="v2", invoke_url="http://127.0.0.1/v2"))
    bring_into_service()

    assert set(take(tier, 9)) == set(GatewayKey.objects.values_list("pk", flat=True))
    assert take(tier, 1) == []


def test_spare_that_is_longest_in_service_is_taken_first() -> None:
    tier = make_tier(spare_target=5)
    bring_into_service()
    now = timezone.now()
    keys = list(GatewayKey.objects.order_by("?").values_list("pk", flat=True))
    for age, pk in enumerate(keys, 1):
        GatewayKey.objects.filter(pk=pk).update(in_service_at=now - timedelta(minutes=age))

    assert [take(tier, 1) for _ in keys] == [[pk] for pk in reversed(keys)]


@pytest.mark.parametrize("fields", [{"in_service_at": None}, {"in_service_at": "later"}, {"ends_at": "later"}, {"role": KeyRole.CANARY}])
def test_what_is_no_spare_in_service_is_not_taken(fields: dict[str, Any]) -> None:
    tier = make_tier(spare_target=1)
    bring_into_service()
    later = timezone.now() + timedelta(hours=1)
    GatewayKey.objects.update(**{name: later if value == "later" else value for name, value in fields.items()})

    assert take(tier, 1) == []
    assert set(GatewayKey.objects.values_list("role", flat=True)) == {fields.get("role", KeyRole.SPARE)}


def test_spares_of_another_tier_are_left() -> None:
    gateway = make_gateway()
    mine, other = (make_tier(gateways=[gateway], spare_target=1) for _ in range(2))
    bring_into_service()

    taken = take(mine, 5)

    assert len(taken) == 1
    assert len(spares_of(other)) == 1


def test_without_room_a_spare_that_is_being_made_serves_the_buyer() -> None:
    tier = make_tier(gateways=[make_gateway(capacity=2)], spare_target=2)
    keep_spares()

    bought = [buy(make_tenant(), tier) for _ in range(2)]

    assert {each.gateway_key_id for each in bought} == set(GatewayKey.objects.values_list("pk", flat=True))
    assert not spares_of(tier)
    with pytest.raises(purchases.NoRoom):
        buy(make_tenant(), tier)


def test_batch_takes_what_is_ready_then_new_keys_then_spares_that_are_being_made() -> None:
    gateway = make_gateway(capacity=6)
    tier = make_tier(gateways=[gateway], spare_target=4, max_api_keys=100)
    keep_spares()
    ready = GatewayKey.objects.order_by("?").values_list("pk", flat=True)[:1].get()
    GatewayKey.objects.filter(pk=ready).update(in_service_at=timezone.now() - timedelta(seconds=1))

    items = [purchases.Item(tier=tier, name="Shop") for _ in range(7)]
    outcomes = purchases.buy_many(tenant=make_tenant(), items=items, actor=SYSTEM)

    assert [isinstance(each, ApiKey) for each in outcomes] == [True] * 6 + [False]
    assert isinstance(outcomes[0], ApiKey)
    assert outcomes[0].gateway_key_id == ready
    assert isinstance(outcomes[6], purchases.NoRoom)
    assert not spares_of(tier)
    assert Room.objects.get(pk=gateway.pk).held == GatewayKey.objects.count() == 6


def test_spare_that_waits_for_a_person_is_sold_to_nobody() -> None:
    tier = make_tier(gateways=[make_gateway(capacity=1)], spare_target=1)
    keep_spares()
    GatewayKey.objects.update(permanent=True, last_error="It was refused.")

    with pytest.raises(purchases.NoRoom):
        buy(make_tenant(), tier)

    GatewayKey.objects.update(permanent=False)
    assert buy(make_tenant(), tier).gateway_key.role == KeyRole.SILO


def test_purchase_from_a_spare_makes_as_many_statements_as_a_pooled_one(django_assert_max_num_queries: Any) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("the function is PostgreSQL's")
    pooled, siloed = make_tier(pool_size=2), make_tier(spare_target=2)
    bring_into_service()
    with django_assert_max_num_queries(100) as of_pooled:
        buy(make_tenant(), pooled)
    with django_assert_max_num_queries(100) as of_siloed:
        buy(make_tenant(), siloed)

    assert len(of_siloed) == len(of_pooled)
