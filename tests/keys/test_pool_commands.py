"""plan_tiers and rebalance_pool, as operators type them."""

from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command

from keys import selectors
from keys.models import Tier, UsagePlan
from keys.services import catalog, pools
from tenants.audit import SYSTEM
from tenants.models import AuditEvent
from tests.support.factories import buy, make_gateway, make_stage, make_tenant, make_tier

pytestmark = pytest.mark.django_db

SPLIT = ["free=10,keys=1", "basic=50,keys=25,blast=0.1", "premium=40,keys=10"]


@pytest.fixture(autouse=True)
def _no_canaries(settings: pytest.FixtureRequest) -> None:
    settings.CANARY_SECONDS = 0  # type: ignore[attr-defined]


def loads(tier: Tier) -> list[int]:
    return [load for _key, load in selectors.pool_loads(tier)]


def test_plan_shows_a_table_and_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    make_stage()

    call_command("plan_tiers", *SPLIT, rate="1000")

    shown = capsys.readouterr().out
    assert [line.split() for line in shown.splitlines()[1:4]] == [
        ["free", "10", "%", "1", "100", "50", "100", "100", "%", "none"],
        ["basic", "50", "%", "25", "20", "10", "500", "4", "%", "none"],
        ["premium", "40", "%", "10", "40", "20", "400", "10", "%", "none"],
    ]
    assert "36 gateway keys with spares and canaries, in 1 account and Region." in shown
    assert "Warning: basic: A blast radius of 0.1 % needs 1,000 keys; 25 make 4 %." in shown
    assert "basic: would be created: price: Free; 20 requests a second; bursts of 10; no quota; pool of 25" in shown
    assert not Tier.objects.exists()


def test_plan_is_applied_and_once_more_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    make_stage()
    call_command("plan_tiers", *SPLIT, "gold=1,siloed,tenants=5,spares=2,price=1999,quota=100/DAY,burst=3", rate="1000", apply=True)
    made = {tier.slug: tier for tier in Tier.objects.all()}
    events, revisions = AuditEvent.objects.count(), dict(UsagePlan.objects.values_list("pk", "revision"))

    call_command("plan_tiers", *SPLIT, "gold=1,siloed,tenants=5,spares=2,quota=100/DAY,burst=3", rate="1000", apply=True)

    sizes = {slug: tier.pool.size for slug, tier in made.items() if tier.is_pooled}
    assert sizes == {"free": 1, "basic": 25, "premium": 10}
    gold = made["gold"]
    assert (gold.throttle_rate, gold.throttle_burst, gold.quota_limit, gold.quota_period) == (2, 3, 100, "DAY")
    assert (gold.spare_target, gold.price_minor, gold.name) == (2, 1999, "Gold")
    assert capsys.readouterr().out.count("is so already") == 4
    assert AuditEvent.objects.count() == events
    assert dict(UsagePlan.objects.values_list("pk", "revision")) == revisions


def test_plan_changes_what_differs_of_tiers_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    basic = make_tier(slug="basic", pool_size=4, throttle_rate=Decimal(10))
    gold = make_tier(slug="gold", spare_target=1)
    for _ in range(8):
        buy(make_tenant(), basic)

    call_command("plan_tiers", "basic=50,keys=2", "gold=10,tenants=10,burst=7", rate="1000", apply=True)

    basic.refresh_from_db()
    gold.refresh_from_db()
    assert (basic.throttle_rate, basic.throttle_burst, basic.quota_limit, loads(basic)) == (250, 125, 2000, [4, 4])
    assert (gold.throttle_rate, gold.throttle_burst, gold.spare_target) == (10, 7, 1)
    shown = capsys.readouterr().out
    assert "basic: changed: 10 requests a second -> 250 requests a second" in shown
    assert "pool of 4 -> pool of 2; 4 API keys move and get another credential" in shown
    assert "gold: changed: bursts of 5 -> bursts of 7\n" in shown


def test_plan_that_cannot_be_made_whole_is_not_begun() -> None:
    gateway = make_gateway(capacity=10)
    make_stage(gateway)
    tier = make_tier(slug="basic", pool_size=2)

    with pytest.raises(CommandError, match=r"Nothing was changed\. premium: .* no room for so many keys"):
        call_command("plan_tiers", "basic=50,keys=5", "premium=10,keys=9", rate="1000", apply=True)

    tier.refresh_from_db()
    assert (tier.pool.size, tier.throttle_rate) == (2, 10)
    assert Tier.objects.count() == 1


@pytest.mark.parametrize(
    ("tiers", "message"),
    [
        (["free"], "free: write a tier as free=10,keys=1"),
        (["=10"], "write a tier as free=10,keys=1"),
        (["free=10,size=4"], "“size=4” is no wish"),
        (["free=10,keys=four"], "free: keys: give a whole number"),
        (["free=10,keys=1,quota=5"], "free: Give a quota and its period"),
        (["free=10"], "free: Say how many gateway keys"),
        (["free=nan,keys=1"], "free: its share: give a number"),
        (["free=10,keys=1", "free=10,keys=1"], "free: This tier is there twice"),
        (["silo=10,keys=1"], "silo: It is siloed: a gateway key for each tenant"),
        (["pool=10,siloed,tenants=5"], "pool is pooled and stays so"),
        (["gone=10,keys=1"], "gone is retired"),
    ],
)
def test_bad_plan_is_refused_with_what_to_mend(tiers: list[str], message: str) -> None:
    make_tier(slug="silo")
    make_tier(slug="pool", pool_size=1)
    catalog.retire_tier(tier=make_tier(slug="gone", pool_size=1), actor=SYSTEM)

    with pytest.raises(CommandError, match=message):
        call_command("plan_tiers", *tiers, rate="1000")


def test_plan_is_not_applied_without_a_stage() -> None:
    with pytest.raises(CommandError, match="No stage is registered"):
        call_command("plan_tiers", *SPLIT, rate="1000", apply=True)


def test_plan_counts_the_gateways_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    make_stage(make_gateway(capacity=100))

    call_command("plan_tiers", "gold=100,siloed,tenants=250,rate=4", rate="1000")

    assert "It needs 3 gateways (AWS account and Region) for 250 gateway keys; there is 1." in capsys.readouterr().out


def test_rebalance_shows_and_then_levels(capsys: pytest.CaptureFixture[str]) -> None:
    tier = make_tier(slug="basic", pool_size=1)
    for _ in range(8):
        buy(make_tenant(), tier)
    pools.resize_pool(tier=tier, size=4, actor=SYSTEM)

    call_command("rebalance_pool", "basic", dry_run=True)
    shown = capsys.readouterr().out
    assert "Now: 0 to 8 API keys a key, blast radius 100 %." in shown
    assert "Then: 2 to 2, blast radius 25 %." in shown
    assert "6 API keys would move. Nothing was changed." in shown
    assert loads(tier) == [8, 0, 0, 0]

    call_command("rebalance_pool", "basic", most=4)
    assert capsys.readouterr().out == "basic: moved 4 API keys.\n2 more would level it: run it again.\n"
    call_command("rebalance_pool", "basic")
    call_command("rebalance_pool", "basic")
    call_command("rebalance_pool", "basic", dry_run=True)
    told = capsys.readouterr().out.splitlines()
    assert told == [
        "basic: moved 2 API keys.",
        "basic: level already, nobody was moved.",
        "The pool is level already: nobody would move. Nothing was changed.",
    ]
    call_command("rebalance_pool", "basic")
    assert loads(tier) == [2, 2, 2, 2]


@pytest.mark.parametrize(("tier", "message"), [("nil", "Pooled tiers: pool"), ("silo", "has no pool")])
def test_rebalance_names_what_is_wrong_with_the_tier(tier: str, message: str) -> None:
    make_tier(slug="silo")
    make_tier(slug="pool", pool_size=1)

    with pytest.raises(CommandError, match=message):
        call_command("rebalance_pool", tier)


def test_rebalance_wants_to_move_at_least_one() -> None:
    make_tier(slug="pool", pool_size=1)

    with pytest.raises(CommandError, match="at least 1"):
        call_command("rebalance_pool", "pool", most=0)
