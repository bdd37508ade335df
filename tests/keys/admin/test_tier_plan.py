"""Planning tiers and levelling pools on the staff's pages."""

from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from keys import selectors
from keys.models import Tier
from keys.planner import Concern
from keys.services import pools
from tenants.audit import SYSTEM
from tests.keys.admin.conftest import messages_of
from tests.support.cast import make_user
from tests.support.factories import buy, make_gateway, make_stage, make_tenant, make_tier

pytestmark = pytest.mark.django_db

PAGE = "/staff/keys/tier/plan/"
ROW = {"slug": "", "share": "", "isolation": "pooled", "keys": "", "rate": "", "tenants": "", "blast_radius": "", "price_minor": ""}


def inputs(*rows: dict[str, Any], rate: str = "1000", **more: Any) -> dict[str, Any]:
    sent = {"rate": rate, "burst": "", "form-TOTAL_FORMS": len(rows), "form-INITIAL_FORMS": 0, **more}
    return sent | {f"form-{place}-{name}": value for place, row in enumerate(rows) for name, value in {**ROW, **row}.items()}


def applied(staff: Client, *rows: dict[str, Any], **more: Any) -> Any:
    """Compute, then send what the page that was shown would send."""
    shown = staff.post(PAGE, inputs(*rows, _plan="1", **more)).context["shown"]
    return staff.post(PAGE, inputs(*rows, _apply="1", _shown=shown, **more), follow=True)


def as_a_browser_sends(shown: Any) -> dict[str, str]:
    """The page's fields, as they were rendered."""
    forms = [shown.context["backend"], shown.context["rows"].management_form, *shown.context["rows"]]
    fields = [field for form in forms for field in form]
    return {field.html_name: "" if field.value() is None else str(field.value()) for field in fields}


SPLIT = (
    {"slug": "free", "share": "10", "keys": "1"},
    {"slug": "basic", "share": "50", "keys": "25", "blast_radius": "0.1", "price_minor": "1999"},
    {"slug": "premium", "share": "40", "keys": "10"},
    {},
)


def loads(tier: Tier) -> list[int]:
    return [load for _key, load in selectors.pool_loads(tier)]


def test_plan_is_shown_before_it_is_applied(staff: Client) -> None:
    make_stage()

    computed = staff.post(PAGE, inputs(*SPLIT, _plan="1"))

    page = computed.content.decode()
    assert "A blast radius of 0.1 % needs 1,000 keys; 25 make 4 %." in page
    assert "pool of 25" in page
    assert "$19.99 a month" in page
    assert not Tier.objects.exists()

    done = applied(staff, *SPLIT)

    assert done.redirect_chain[-1][0] == "/staff/keys/tier/"
    assert messages_of(done) == "As planned: free, basic, premium."
    made = {tier.slug: (tier.pool.size, tier.throttle_rate, tier.throttle_burst, tier.price_minor) for tier in Tier.objects.all()}
    assert made == {"free": (1, 100, 50, 0), "basic": (25, 20, 10, 1999), "premium": (10, 40, 20, 0)}
    assert messages_of(applied(staff, *SPLIT)) == "All tiers are as planned already."


def test_plan_that_does_other_things_now_is_shown_again(staff: Client) -> None:
    tier = make_tier(slug="basic", pool_size=4, throttle_rate=Decimal(25), throttle_burst=12)
    row = {"slug": "basic", "share": "100", "keys": "4", "rate": "25"}
    seen = staff.post(PAGE, inputs(row, rate="100", _plan="1")).context
    pools.resize_pool(tier=tier, size=8, actor=SYSTEM)  # a colleague, meanwhile

    asked = staff.post(PAGE, inputs(row, rate="100", _apply="1", _shown=seen["shown"]))

    page = asked.content.decode()
    assert "Tiers were changed meanwhile" in page
    assert "pool of 8 → <strong>pool of 4</strong>" in page
    tier.pool.refresh_from_db()
    assert tier.pool.size == 8

    agreed = staff.post(PAGE, inputs(row, rate="100", _apply="1", _shown=asked.context["shown"]), follow=True)

    assert messages_of(agreed) == "As planned: basic."
    tier.pool.refresh_from_db()
    assert tier.pool.size == 4


@pytest.mark.parametrize(("row", "other"), [(0, "gold"), (1, "basic")])
def test_tiers_row_is_left_out_when_it_is_emptied(staff: Client, row: int, other: str) -> None:
    make_tier(slug="basic", pool_size=4, throttle_rate=Decimal(20), throttle_burst=7)
    make_tier(slug="gold", throttle_rate=Decimal(10))
    sent = as_a_browser_sends(staff.get(PAGE))
    assert sent["form-INITIAL_FORMS"] == "2"

    left = staff.post(PAGE, sent | {f"form-{row}-slug": "", "_plan": "1"}).context

    assert [step.plan.slug for step in left["steps"]] == [other]
    assert not left["changes_something"]


def test_page_takes_as_many_rows_as_it_shows(staff: Client) -> None:
    for number in range(45):
        make_tier(slug=f"tier-{number}", pool_size=1, throttle_rate=Decimal(1))
    sent = as_a_browser_sends(staff.get(PAGE))
    assert len(sent) > 8 * 45

    computed = staff.post(PAGE, sent | {"_plan": "1"})

    assert len(computed.context["steps"]) == 45


def test_page_begins_with_what_there_is(staff: Client) -> None:
    make_tier(slug="basic", pool_size=4, throttle_rate=Decimal(20))
    gold = make_tier(slug="gold", throttle_rate=Decimal(10))
    for _ in range(2):
        buy(make_tenant(), gold)

    shown = staff.get(PAGE).context

    assert shown["backend"].initial == {"rate": 100}
    rows = [row.initial for row in shown["rows"] if row.initial]
    assert [(row["slug"], row["share"], row["keys"], row["rate"], row["tenants"]) for row in rows] == [
        ("basic", 80, 4, 20, 1), ("gold", 20, None, 10, 2),
    ]  # fmt: skip
    text = {name: "" if value is None else str(value) for name, value in rows[0].items()}
    again = staff.post(PAGE, inputs(text, rate="100", _plan="1"))
    [step] = again.context["steps"]
    assert step.does_nothing  # not the burst either: the rate is as it was


def test_shares_that_were_rounded_are_no_overload(staff: Client) -> None:
    for number in range(7):  # 14.2857... % each
        make_tier(slug=f"tier-{number}", pool_size=1, throttle_rate=Decimal(3))
    sent = as_a_browser_sends(staff.get(PAGE))

    plan = staff.post(PAGE, sent | {"_plan": "1"}).context["plan"]

    assert sum(tier.share for tier in plan.tiers) > 100
    assert not {caution.concern for caution in plan.warnings} & {Concern.OVERSUBSCRIBED_TIER, Concern.OVERSUBSCRIBED_SPLIT}


def test_page_begins_empty_without_tiers(staff: Client) -> None:
    assert staff.get(PAGE).status_code == 200


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"slug": "a", "share": "10"}, "Say how many gateway keys"),
        ({"slug": "a", "share": "10", "isolation": "siloed"}, "say how many tenants"),
        ({"slug": "a", "share": "0", "keys": "1"}, "greater than or equal to 0.001"),
        ({"slug": "A b", "share": "10", "keys": "1"}, "Use a to z"),
        ({"slug": "gold", "share": "10", "keys": "1"}, "gold is siloed and stays so"),
        ({"slug": "a", "share": "10", "keys": "30"}, "no room for so many keys"),
        ({"slug": "a", "keys": "3"}, "This field is required"),
        ({}, "Name one tier at least."),
    ],
)
def test_what_cannot_be_planned_is_said_on_the_page(staff: Client, row: dict[str, str], words: str) -> None:
    make_tier(slug="gold", stage=make_stage(make_gateway(capacity=20)))

    shown = staff.post(PAGE, inputs(row, _plan="1")).context.get("shown", "")
    response = staff.post(PAGE, inputs(row, _apply="1", _shown=shown))

    assert response.status_code == 200
    assert words in response.content.decode()
    assert Tier.objects.count() == 1


@pytest.mark.parametrize(
    ("rights", "looks", "applies"), [([], 403, 403), (["view_tier"], 200, 403), (["view_tier", "change_tier"], 200, 403)]
)
def test_plan_is_applied_by_who_may_add_and_change_tiers(client: Client, rights: list[str], looks: int, applies: int) -> None:
    helper = make_user("helper@example.com", is_staff=True)
    helper.user_permissions.set(Permission.objects.filter(codename__in=rights))
    client.force_login(helper)

    assert client.post(PAGE, inputs(*SPLIT, _plan="1")).status_code == looks
    assert client.post(PAGE, inputs(*SPLIT, _apply="1")).status_code == 403
    assert not Tier.objects.exists()


def test_pool_that_grew_is_levelled_after_a_look_at_what_it_does(staff: Client) -> None:
    tier = make_tier(pool_size=1)
    for _ in range(8):
        buy(make_tenant(), tier)
    pools.resize_pool(tier=tier, size=4, actor=SYSTEM)
    url = f"/staff/keys/tier/{tier.pk}/"

    page = staff.get(f"{url}change/")
    assert "Level this pool" in page.content.decode()
    assert [(row["load"], row["keys"]) for row in page.context["histogram"]] == [(0, 3), (8, 1)]
    asked = staff.get(f"{url}rebalance/").content.decode()
    assert "A gateway key carries 0 to 8 API keys now, and 2 to 2 then." in asked
    assert "6 API keys move to another gateway key and get a new credential." in asked
    assert loads(tier) == [8, 0, 0, 0]

    done = staff.post(f"{url}rebalance/", follow=True)

    assert messages_of(done) == "6 API keys were moved; their tenants find the new credential on their pages."
    assert loads(tier) == [2, 2, 2, 2]
    assert "Level this pool" not in done.content.decode()


def test_smaller_pool_is_previewed_with_who_gets_another_url(staff: Client) -> None:
    tier = make_tier(pool_size=2, gateways=[make_gateway(), make_gateway()])
    for _ in range(6):
        buy(make_tenant(), tier)
    form = staff.get(f"/staff/keys/tier/{tier.pk}/change/").context["adminform"].form
    sent = {name: "" if form[name].value() is None else form[name].value() for name in form.fields}

    shown = staff.post(f"/staff/keys/tier/{tier.pk}/change/", {**sent, "pool_size": 1}).content.decode()

    assert "The pool has 2 gateway keys now, and 1 then." in shown
    assert "3 API keys move to another gateway key and get a new credential." in shown
    assert "3 of them get another URL too" in shown
    assert loads(tier) == [3, 3]


def test_siloed_tier_has_no_pool_to_level(staff: Client) -> None:
    tier = make_tier()

    assert "Level this pool" not in staff.get(f"/staff/keys/tier/{tier.pk}/change/").content.decode()
    for ask in (staff.get, staff.post):
        assert "has no pool" in ask(f"/staff/keys/tier/{tier.pk}/rebalance/").content.decode()
