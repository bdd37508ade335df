"""Where new gateway keys go, and whose room they take."""

import pytest

from keys.models import Gateway, GatewayKey, KeyRole, Priority, Room, Tier, UsagePlan
from keys.models.room import recount, reserve, reserve_at
from keys.services import purchases
from keys.stock import add_spares
from tests.support.factories import bring_into_service, buy, make_gateway, make_tenant, make_tier
from tests.support.room import counts, remove

pytestmark = pytest.mark.django_db


def plans_of(tier: Tier) -> list[UsagePlan]:
    return list(tier.usage_plans.order_by("gateway__created_at"))


def make_gateways(*capacities: int) -> list[Gateway]:
    return [make_gateway(capacity=capacity) for capacity in capacities]


def occupy(gateway: Gateway, held: int) -> None:
    Room.objects.filter(pk=gateway.pk).update(held=held)


def test_most_room_first_and_none_above_its_cap() -> None:
    gateways = make_gateways(5, 3, 9)
    tier = make_tier(gateways=gateways)
    occupy(gateways[2], 8)
    Gateway.objects.filter(pk=gateways[0].pk).update(foreign_keys=1)

    chosen = [plan.gateway for plan in reserve(plans_of(tier), 20)]

    assert [chosen.count(gateway) for gateway in gateways] == [4, 3, 1]
    assert chosen[0] == gateways[0]
    assert [room for (room,) in Room.objects.order_by("gateway__created_at").values_list("held")] == [4, 3, 9]
    assert reserve(plans_of(tier), 1) == []


def test_cap_that_was_lowered_under_what_is_held_leaves_no_room() -> None:
    gateways = make_gateways(5, 1)
    tier = make_tier(gateways=gateways)
    occupy(gateways[0], 5)
    Gateway.objects.filter(pk=gateways[0].pk).update(capacity=2)

    assert [plan.gateway for plan in reserve(plans_of(tier), 2)] == [gateways[1]]


def test_places_that_are_asked_for_move_only_where_they_do_not_fit() -> None:
    gateways = make_gateways(1, 9)
    tier = make_tier(gateways=gateways)
    full, other = plans_of(tier)

    assert reserve_at([full, full, other]) == [full, other, other]
    assert [held for held, _rows, _capacity in sorted(counts())] == [1, 2]


def test_count_that_was_spoiled_never_keeps_a_removal_back_and_is_set_right() -> None:
    [gateway] = make_gateways(9)
    tier = make_tier(gateways=[gateway])
    bought = [buy(make_tenant(), tier) for _ in range(3)]
    occupy(gateway, 0)

    assert remove(bought[0].gateway_key)
    assert recount(gateway.pk) == 2
    assert recount(gateway.pk) == 0
    assert counts() == [(2, 2, 9)]


def test_spares_that_are_being_made_are_room_when_there_is_no_other() -> None:
    gateways = make_gateways(2, 1)
    tier = make_tier(gateways=gateways, spare_target=5)
    for plan in plans_of(tier):
        add_spares(plan)
    tenant = make_tenant()

    keys = [buy(tenant, tier).gateway_key for _ in range(3)]

    assert {(key.role, key.priority) for key in GatewayKey.objects.all()} == {(KeyRole.SILO, Priority.PURCHASE)}
    assert len({key.pk for key in keys}) == 3
    with pytest.raises(purchases.NoRoom):
        buy(tenant, tier)


def test_spares_of_the_gateway_with_most_room_are_sold_first() -> None:
    gateways = make_gateways(10, 20, 15)
    tier = make_tier(gateways=gateways, spare_target=2)
    bring_into_service()
    Tier.objects.update(spare_target=0)

    sold = [buy(make_tenant(), tier).gateway_key.gateway for _ in range(6)]

    assert sold == [gateways[1]] * 2 + [gateways[2]] * 2 + [gateways[0]] * 2
