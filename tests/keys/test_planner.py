"""Planning tiers, against figures worked out by hand and the published ones of the sample's tiers."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.planner import Concern, Plan, Surroundings, UnableToPlan, Wish, keys_for, plan

THOUSAND = Surroundings(rate=Decimal(1000))


def wish(slug: str = "free", share: int | str = 10, **more: Any) -> Wish:
    return Wish(slug=slug, share=Decimal(share), **{"keys": 1, **more})


def concerns(made: Plan) -> list[str]:
    return [caution.concern for caution in made.warnings]


def test_split_of_10_50_40_makes_the_published_keys_rates_and_bursts() -> None:
    made = plan([wish("free", 10, keys=1), wish("basic", 50, keys=25), wish("premium", 40, keys=10)], THOUSAND)

    assert [(tier.keys, tier.rate, tier.burst) for tier in made.tiers] == [(1, 100, 50), (25, 20, 10), (10, 40, 20)]
    assert (made.promised, made.bursts, made.accounts, concerns(made)) == (1000, 500, 1, [])
    assert made.gateway_keys == 36 + 3


def test_rate_of_a_key_makes_as_many_keys_as_the_share_carries() -> None:
    made = plan([wish("basic", 50, keys=None, rate=Decimal(20)), wish("premium", 40, keys=None, rate=Decimal(30))], THOUSAND)

    assert [tier.keys for tier in made.tiers] == [25, 13]
    assert made.promised <= 900


@pytest.mark.parametrize(
    ("percent", "tenants", "keys"),
    [("0.1", None, 1000), ("0.1", 10_000, 1000), ("0.1", 10_500, 1050), ("4", 100, 25), ("1", 100, 100), ("1", 99, None), ("100", 1, 1)],
)
def test_blast_radius_takes_so_many_keys(percent: str, tenants: int | None, keys: int | None) -> None:
    assert keys_for(Decimal(percent) / 100, tenants) == keys


@given(st.integers(1, 200_000), st.integers(1, 100_000))
def test_keys_for_a_blast_radius_are_enough_and_none_too_many(tenants: int, thousandths: int) -> None:
    target = Decimal(thousandths) / 100_000
    keys = keys_for(target, tenants)

    if keys is None:
        assert Decimal(1) / tenants > target
        return
    assert Decimal(-(-tenants // keys)) <= target * tenants
    assert keys == 1 or -(-tenants // (keys - 1)) > target * tenants


def test_pool_without_keys_is_sized_for_its_blast_radius() -> None:
    made = plan([wish(share=100, keys=None, blast_radius=Decimal("0.001"), tenants=10_000)], THOUSAND)

    [tier] = made.tiers
    assert (tier.keys, tier.rate, tier.burst, tier.tenants_a_key, tier.blast_radius) == (1000, 1, 1, 10, Decimal("0.001"))
    assert tier.rate_a_tenant == Decimal("0.1")


def test_missed_blast_radius_names_the_keys_that_it_takes() -> None:
    made = plan([wish("basic", 50, keys=25, blast_radius=Decimal("0.001"), tenants=10_000)], THOUSAND)

    [caution] = made.warnings
    assert (caution.concern, caution.tier) == (Concern.BLAST_RADIUS, "basic")
    assert caution.text == "A blast radius of 0.1 % needs 1,000 keys; 25 make 4 %."
    assert made.tiers[0].keys_for_target == 1000


def test_siloed_tier_has_a_key_for_each_tenant_and_fills_accounts() -> None:
    silo = wish("premium", 100, keys=None, siloed=True, tenants=25_000, rate=Decimal("0.04"), spares=200)
    made = plan([silo], THOUSAND)

    assert made.accounts == 3
    assert made.gateway_keys == 25_000 + 3 * 201
    assert made.tiers[0].blast_radius == Decimal(1) / 25_000
    assert concerns(made) == [Concern.BURSTS, Concern.ACCOUNT_BURST, Concern.SLOW_KEYS]


@pytest.mark.parametrize(("tenants", "accounts"), [(9_999, 1), (10_000, 2), (19_998, 2), (19_999, 3)])
def test_canaries_take_room_too(tenants: int, accounts: int) -> None:
    silo = wish("premium", 100, keys=None, siloed=True, tenants=tenants, rate=Decimal("0.01"))

    assert plan([silo], THOUSAND).accounts == accounts


def test_million_tenants_in_pools_of_eleven_thousand_keys_take_two_accounts() -> None:
    tiers = [wish(f"tier-{number}", "33.3", keys=keys, tenants=333_333) for number, keys in enumerate((5000, 5000, 1000))]
    made = plan(tiers, Surroundings(rate=Decimal(30_000)))

    assert (made.gateway_keys, made.accounts) == (11_000 + 2 * 3 + 3, 3)  # three, for the rate: 10,000 requests a second each


@pytest.mark.parametrize(
    ("wishes", "around", "expected"),
    [
        ([wish("a", 60), wish("b", 60)], {}, [Concern.OVERSUBSCRIBED_SPLIT, Concern.OVERSUBSCRIBED_BACKEND]),
        ([wish(rate=Decimal(101))], {}, [Concern.OVERSUBSCRIBED_TIER]),
        ([wish(share=100, rate=Decimal(2000))], {}, [Concern.OVERSUBSCRIBED_BACKEND, Concern.OVERSUBSCRIBED_TIER]),
        ([wish(burst=1001)], {}, [Concern.BURSTS]),
        ([wish(burst=1001)], {"burst": 2000}, []),
        ([wish(share=100)], {"rate": Decimal(20_000), "gateways": 1}, [Concern.ACCOUNTS, Concern.ACCOUNT_RATE, Concern.ACCOUNT_BURST]),
        ([wish(share=100, burst=5001)], {"burst": 9000}, [Concern.ACCOUNT_BURST]),
        ([wish(share=100, burst=5001)], {"burst": 9000, "gateways": 2}, []),
        ([wish(keys=10, share=100)], {"key_cap": 12}, [Concern.NEARLY_FULL]),
        ([wish(keys=10, tenants=4)], {}, [Concern.IDLE_KEYS]),
        ([wish(keys=200)], {}, [Concern.SLOW_KEYS]),
        ([wish(quota_limit=8_640_051, quota_period="DAY")], {}, [Concern.QUOTA_NEVER_REACHED]),
        ([wish(quota_limit=8_640_050, quota_period="DAY")], {}, []),
        ([wish(quota_limit=99, quota_period="MONTH", tenants=100)], {}, [Concern.QUOTA_TOO_SMALL]),
    ],
)
def test_what_is_seldom_meant_is_warned_of(wishes: list[Wish], around: dict[str, Any], expected: list[Concern]) -> None:
    assert concerns(plan(wishes, replace(THOUSAND, **around))) == expected


def test_rate_of_each_gateway_is_told_in_few_digits() -> None:
    made = plan([wish(share=100)], replace(THOUSAND, rate=Decimal(100_000), gateways=3))

    [caution] = [each for each in made.warnings if each.concern == Concern.ACCOUNT_RATE]
    assert caution.text.startswith("Each gateway gets 33,333.334 requests a second;")


def test_warning_of_an_oversubscribed_tier_says_by_how_much() -> None:
    [caution] = plan([wish(keys=3, rate=Decimal(50))], THOUSAND).warnings

    assert caution.text == "3 keys at 50 let through 150 requests a second; its share is 100 (1.5 times)."


@pytest.mark.parametrize(
    ("wishes", "field", "words"),
    [
        ([], "tiers", "at least one"),
        ([wish(), wish()], "slug", "twice"),
        ([wish(share=0)], "share", "above 0"),
        ([wish(keys=0)], "keys", "Give 1 to 1,000,000,000 for keys"),
        ([wish(keys=5001)], "keys", "at most 5,000"),
        ([wish(keys=None)], "keys", "Say how many"),
        ([wish(keys=None, rate=Decimal(101))], "rate", "less than one key"),
        ([wish(keys=None, rate=Decimal("0.01"))], "rate", "10,000 keys; a pool has at most 5,000"),
        ([wish(keys=5000, share="0.1")], "keys", "less than 0.001"),
        ([wish(keys=None, blast_radius=Decimal("0.0001"))], "blast_radius", "takes 10,000 keys"),
        ([wish(keys=None, blast_radius=Decimal("0.01"), tenants=50)], "blast_radius", "each one is 2 %"),
        ([wish(blast_radius=Decimal(2))], "blast_radius", "at most 100 %"),
        ([wish(siloed=True)], "keys", "not how many keys"),
        ([wish(siloed=True, keys=None)], "tenants", "how many tenants"),
        ([wish(tenants=0)], "tenants", "Give 1 to"),
        ([wish(quota_limit=2**31, quota_period="DAY")], "quota_limit", "2,147,483,647"),
        ([wish(quota_limit=5)], "quota_period", "or neither"),
        ([wish(quota_limit=5, quota_period="YEAR")], "quota_period", "DAY, WEEK or MONTH"),
        ([wish(spares=1)], "spares", "Only a siloed"),
        ([wish(siloed=True, keys=None, tenants=5, spares=10_000)], "spares", "alone fill"),
    ],
)
def test_wishes_that_no_plan_fulfils_name_the_field(wishes: list[Wish], field: str, words: str) -> None:
    with pytest.raises(UnableToPlan, match=words) as refusal:
        plan(wishes, THOUSAND)

    assert refusal.value.field == field


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 5000)), min_size=1, max_size=6), st.integers(5_000, 2_000_000))
def test_computed_rates_never_promise_more_than_the_split(pairs: list[tuple[int, int]], rate: int) -> None:
    wishes = [wish(f"tier-{number}", share, keys=keys) for number, (share, keys) in enumerate(pairs)]
    made = plan(wishes, Surroundings(rate=Decimal(rate * 10)))

    for tier in made.tiers:
        assert tier.promised <= made.around.rate * tier.share / 100
        assert tier.promised + tier.keys * Decimal("0.001") > made.around.rate * tier.share / 100
    assert (made.promised > made.around.rate) == (Concern.OVERSUBSCRIBED_BACKEND in concerns(made))


@pytest.mark.parametrize(
    ("around", "field"),
    [({"rate": Decimal(0)}, "rate"), ({"rate": Decimal("1e20")}, "rate"), ({"burst": 0}, "burst"), ({"account_burst": 0}, "account_burst")],
)
def test_surroundings_out_of_range_name_the_field(around: dict[str, Any], field: str) -> None:
    with pytest.raises(UnableToPlan, match="above 0") as refusal:
        plan([wish()], replace(THOUSAND, **around))

    assert refusal.value.field == field


def test_single_key_cannot_be_quicker_than_a_tier_can_say() -> None:
    with pytest.raises(UnableToPlan, match="more than 9,999,999"):
        plan([wish(share=100)], Surroundings(rate=Decimal(900_000_000)))


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        pytest.param(Wish(slug="one", share=Decimal(10), keys=1, rate=Decimal(20)), "1 key at 20 lets through 20 requests", id="one key"),
        pytest.param(Wish(slug="few", share=Decimal(10), keys=5, tenants=1), "1 tenant leaves 4 of its 5 keys idle", id="one tenant"),
        pytest.param(
            Wish(slug="wide", share=Decimal(10), keys=1, blast_radius=Decimal("0.5")), "needs 2 keys; 1 makes 100 %", id="one of two"
        ),
    ],
)
def test_one_is_told_as_one(wish: Wish, words: str) -> None:
    made = plan([wish], Surroundings(rate=Decimal(100)))

    assert any(words in caution.text for caution in made.warnings)
