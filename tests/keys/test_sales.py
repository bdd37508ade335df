"""How much was sold: counted as far as that is quick, estimated beyond."""

import pytest
from django.db import connection
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from keys import sales
from keys.models import Tier
from keys.services import api_keys
from tenants.audit import SYSTEM
from tenants.models import User
from tests.support.factories import bring_into_service, buy, make_tenant, make_tier

pytestmark = pytest.mark.django_db


def sold() -> sales.Sales:
    [tier] = sales.tiers_with_facts(Tier.objects.all())
    return sales.sales_of(tier)


def test_few_are_counted(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    tier = make_tier(pool_size=3)
    bring_into_service()
    assert (sold().sold, sold().load_max, sold().largest_share) == (0, 0, None)
    bought = [buy(make_tenant(), tier) for _ in range(5)]
    api_keys.revoke(api_key=bought[0], actor=SYSTEM)

    with django_assert_num_queries(1):
        found = sold()

    assert found == sales.Sales(sold=4, load_min=1, load_max=2, exact=True)
    assert found.largest_share == 0.5


def test_siloed_tier_has_no_loads() -> None:
    tier = make_tier()
    buy(make_tenant(), tier), buy(make_tenant(), tier)
    assert sold() == sales.Sales(sold=2, load_min=None, load_max=None, exact=True)
    assert sold().largest_share == 0.5


@pytest.mark.parametrize("pool_size", [None, 3])
def test_many_are_estimated_in_a_few_queries(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: DjangoAssertNumQueries, pool_size: int | None
) -> None:
    monkeypatch.setattr(sales, "MOST_COUNTED", 3)
    tier = make_tier(pool_size=pool_size)
    bring_into_service()
    for _ in range(8):
        buy(make_tenant(), tier)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE keys_apikey")

    with django_assert_num_queries(6 if pool_size else 2):
        found = sold()

    assert not found.exact
    assert found.sold == 8  # the statistics looked at all of so small a table
    assert (found.load_min, found.load_max) == ((2, 3) if pool_size else (None, None))
    assert found.largest_share == (3 / 8 if pool_size else 1 / 8)


def test_load_of_one_key_is_counted_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sales, "MOST_COUNTED", 3)
    tier = make_tier(pool_size=1)
    bring_into_service()
    for _ in range(6):
        buy(make_tenant(), tier)
    assert sold().load_max == 4


def test_staff_are_told_that_it_is_an_estimate(monkeypatch: pytest.MonkeyPatch, client: Client, sam: User) -> None:
    monkeypatch.setattr(sales, "MOST_COUNTED", 3)
    client.force_login(sam)
    tier = make_tier(pool_size=1)
    bring_into_service()
    assert "about" not in client.get("/staff/keys/tier/").text
    for _ in range(4):
        buy(make_tenant(), tier)
    assert "about 4" in client.get("/staff/keys/tier/").text
