from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import DjangoAssertNumQueries

from keys.models import GatewayKey, Isolation, KeyRole, Pool, Stage, Tier, UsagePlan
from keys.services import catalog
from tenants.audit import SYSTEM
from tenants.models import AuditEvent
from tests.keys.admin.conftest import messages_of
from tests.support.factories import bring_into_service, buy, keep_spares, make_gateway, make_stage, make_tenant, make_tier

pytestmark = pytest.mark.django_db

LIST = "/staff/keys/tier/"


def url_of(tier: Tier, page: str = "change") -> str:
    return f"/staff/keys/tier/{tier.pk}/{page}/"


def inputs_of(tier: Tier, **changes: Any) -> dict[str, Any]:
    """What the form of a tier sends, with some of it changed."""
    fields = [*catalog.OFFER, *catalog.LIMITS]
    inputs = {field: "" if getattr(tier, field) is None else getattr(tier, field) for field in fields}
    if tier.is_pooled:
        inputs["pool_size"] = tier.pool.size
    return {**inputs, "stages": list(tier.stages.values_list("pk", flat=True)), **changes}


def new_inputs(**changes: Any) -> dict[str, Any]:
    stage = Stage.objects.first() or make_stage()
    return {
        "slug": "gold", "name": "Gold", "description": "", "position": 5, "price_minor": 4900, "currency": "USD", "max_api_keys": 3,
        "throttle_rate": "20", "throttle_burst": 10, "quota_limit": 1000, "quota_period": "DAY",
        "isolation": "siloed", "pool_size": "", "spare_target": 1, "stages": [stage.pk], **changes,
    }  # fmt: skip


def seen(tier: Tier, **fields: Any) -> dict[str, Any]:
    """What the gateway would have shown of a plan that is in step."""
    stages = [stage.remote_key for stage in tier.stages.all()]
    observed = {"rate": f"{tier.throttle_rate.normalize():f}", "burst": tier.throttle_burst, "quota_limit": tier.quota_limit}
    return {**observed, "quota_period": tier.quota_period, "stages": stages, **fields}


# --- Adding


def test_added_tier_is_for_sale_with_its_plan_and_spare(staff: Client) -> None:
    response = staff.post("/staff/keys/tier/add/", new_inputs(), follow=True)

    tier = Tier.objects.get(slug="gold")
    keep_spares()
    assert response.redirect_chain[-1][0] == url_of(tier)
    assert tier.usage_plans.count() == 1
    assert GatewayKey.objects.filter(role=KeyRole.SPARE).count() == 1
    event = AuditEvent.objects.get(action="tier.created")
    assert event.actor_label == "sam@example.com"


def test_added_pooled_tier_gets_its_pool(staff: Client) -> None:
    staff.post("/staff/keys/tier/add/", new_inputs(isolation="pooled", pool_size=3, spare_target=0))

    assert Pool.objects.get().size == 3
    assert GatewayKey.objects.filter(role=KeyRole.POOL).count() == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"slug": "No spaces"}, "slug"),
        ({"throttle_rate": "0"}, "greater than or equal to 0.001"),
        ({"quota_period": ""}, "Choose the period of the quota"),
        ({"quota_limit": ""}, "Give the quota of the period"),
        ({"isolation": "pooled", "spare_target": 0}, "A pooled tier needs a pool size"),
        ({"isolation": "pooled", "pool_size": 2}, "Only a siloed tier has spares"),
        ({"pool_size": 2}, "A siloed tier has no pool"),
        ({"stages": []}, "Choose at least one stage"),
        ({"currency": "dollars"}, "at most 3 characters"),
    ],
)
def test_bad_tier_is_refused_with_its_inputs_kept(staff: Client, changes: dict[str, Any], words: str) -> None:
    page = staff.post("/staff/keys/tier/add/", new_inputs(name="Kept name", **changes)).content.decode()

    assert words in page
    assert 'value="Kept name"' in page
    assert not Tier.objects.exists()


def test_second_tier_of_a_slug_is_refused(staff: Client) -> None:
    make_tier(slug="gold")

    assert "already exists" in staff.post("/staff/keys/tier/add/", new_inputs()).content.decode()


def test_refusal_of_the_service_becomes_an_error_of_the_form(staff: Client) -> None:
    stage = make_stage()
    stage.gateway.accepts_keys = False
    stage.gateway.save()

    page = staff.post("/staff/keys/tier/add/", new_inputs(isolation="pooled", pool_size=2, spare_target=0)).content.decode()

    assert "No gateway of this tier accepts new keys." in page
    assert 'value="Gold"' in page
    assert not Tier.objects.exists()
    assert not AuditEvent.objects.filter(action="tier.created").exists()


# --- Changing


def test_changed_offer_is_saved_at_once_and_leaves_plans_alone(staff: Client) -> None:
    tier = make_tier()
    bring_into_service()

    response = staff.post(url_of(tier), inputs_of(tier, name="Better", price_minor=500), follow=True)

    tier.refresh_from_db()
    assert (tier.name, tier.price_minor) == ("Better", 500)
    assert not any(plan.is_pending for plan in UsagePlan.objects.all())
    assert AuditEvent.objects.get(action="tier.offer_changed").data["after"]["name"] == "Better"
    assert messages_of(response) == "The Better tier was changed."


def test_unchanged_form_writes_nothing(staff: Client) -> None:
    tier = make_tier(pool_size=2)
    before = AuditEvent.objects.count()

    assert staff.post(url_of(tier), inputs_of(tier)).status_code == 302

    assert AuditEvent.objects.count() == before


def test_changed_limits_are_shown_gateway_by_gateway_before_they_are_made(staff: Client) -> None:
    tier = make_tier(pool_size=2)
    second = make_stage(make_gateway(name="Frankfurt"))
    catalog.serve_stages(tier=tier, stages=[*tier.stages.all(), second], actor=SYSTEM)
    bring_into_service()

    page = staff.post(url_of(tier), inputs_of(tier, throttle_rate="25", description="New words"))

    assert [(preview.gateway.name, preview.gateway_keys, preview.seconds) for preview in page.context["gateways"]] == [
        (tier.stages.exclude(pk=second.pk).get().gateway.name, 2, 20),
        ("Frankfurt", 0, 20),
    ]
    text = page.content.decode()
    assert "csrfmiddlewaretoken" in text
    assert "Nothing was changed yet" in text
    assert "25 requests a second" in text
    assert "Saved with it: Description." in text
    tier.refresh_from_db()
    assert (tier.throttle_rate, tier.description) == (Decimal(10), "")
    assert not AuditEvent.objects.filter(action="tier.limits_changed").exists()


def test_confirmed_limits_make_the_plans_pending(staff: Client) -> None:
    tier = make_tier()
    bring_into_service()

    response = staff.post(url_of(tier), inputs_of(tier, throttle_rate="25", name="Faster", _confirm="1"), follow=True)

    tier.refresh_from_db()
    assert (tier.throttle_rate, tier.name) == (Decimal(25), "Faster")
    assert UsagePlan.objects.get().is_pending
    assert AuditEvent.objects.get(action="tier.limits_changed").data["after"]["throttle_rate"] == "25.000"
    assert "usage plan on 1 gateway is being changed; takes about 20 s" in messages_of(response)


def test_preview_leads_back_to_the_form_with_its_inputs(staff: Client) -> None:
    tier = make_tier()

    page = staff.post(url_of(tier), inputs_of(tier, throttle_rate="25", name="Faster", _back="1"))

    text = page.content.decode()
    assert 'value="25"' in text
    assert 'value="Faster"' in text
    assert "Please correct" not in text
    tier.refresh_from_db()
    assert tier.throttle_rate == Decimal(10)


def test_preview_carries_every_input_on(staff: Client) -> None:
    tier = make_tier()
    inputs = inputs_of(tier, throttle_rate="25")

    page = staff.post(url_of(tier), {**inputs, "_save": "Save"})

    carried = dict(page.context["inputs"])
    assert set(carried) == set(inputs)
    assert carried["stages"] == str(tier.stages.get().pk)


def test_larger_pool_is_made_at_once(staff: Client) -> None:
    tier = make_tier(pool_size=1)

    staff.post(url_of(tier), inputs_of(tier, pool_size=3))

    assert GatewayKey.objects.filter(role=KeyRole.POOL, ends_at=None).count() == 3
    assert AuditEvent.objects.get(action="pool.resized").data == {"before": 1, "after": 3, "api_keys": 0}


def test_smaller_pool_says_who_is_moved_and_waits_for_a_yes(staff: Client) -> None:
    tier = make_tier(pool_size=2)
    for _ in range(4):
        buy(make_tenant(), tier)

    page = staff.post(url_of(tier), inputs_of(tier, pool_size=1))

    assert "2 API keys move to another gateway key" in page.content.decode()
    assert Pool.objects.get().size == 2
    staff.post(url_of(tier), inputs_of(tier, pool_size=1, _confirm="1"))
    assert Pool.objects.get().size == 1
    assert GatewayKey.objects.filter(role=KeyRole.POOL, ends_at=None).count() == 1


def test_stage_that_still_has_keys_cannot_be_left_out(staff: Client) -> None:
    tier = make_tier()
    buy(make_tenant(), tier)
    other = make_stage(make_gateway())

    page = staff.post(url_of(tier), inputs_of(tier, stages=[other.pk], name="Kept name")).content.decode()

    assert "still holds keys of this tier" in page
    assert 'value="Kept name"' in page
    assert not tier.stages.filter(pk=other.pk).exists()
    tier.refresh_from_db()
    assert tier.name != "Kept name"


def test_slug_and_isolation_cannot_be_changed(staff: Client) -> None:
    tier = make_tier()

    staff.post(url_of(tier), inputs_of(tier, slug="other", isolation="pooled"))

    tier.refresh_from_db()
    assert tier.slug != "other"
    assert tier.isolation == Isolation.SILOED


def test_form_says_the_effect_on_aws(staff: Client) -> None:
    tier = make_tier()
    catalog.serve_stages(tier=tier, stages=[*tier.stages.all(), make_stage(make_gateway())], actor=SYSTEM)
    bring_into_service()

    assert "Saving changes the usage plans on 2 gateways; takes about 40 s." in staff.get(url_of(tier)).content.decode()


# --- Retiring


def test_retiring_says_what_it_does_and_removes_spares(staff: Client) -> None:
    tier = make_tier(spare_target=2)
    bring_into_service()
    buy(make_tenant(), tier)
    keep_spares()

    asked = staff.get(url_of(tier, "retire")).content.decode()
    assert "go on working: 1 key." in asked
    assert "deleted at API Gateway: 2 keys." in asked
    response = staff.post(url_of(tier, "retire"), follow=True)

    tier.refresh_from_db()
    keep_spares()
    assert tier.retired_at is not None
    assert not GatewayKey.objects.filter(role=KeyRole.SPARE, ends_at=None).exists()
    assert AuditEvent.objects.get(action="tier.retired").actor_label == "sam@example.com"
    assert messages_of(response) == f"The {tier.name} tier is closed to buyers."


def test_retired_tier_is_reopened(staff: Client) -> None:
    tier = make_tier()
    catalog.retire_tier(tier=tier, actor=SYSTEM)

    page = staff.get(url_of(tier)).content.decode()
    assert "Reopen this tier" in page
    assert "Retire this tier" not in page
    staff.post(url_of(tier, "reopen"))

    tier.refresh_from_db()
    assert tier.retired_at is None


# --- Showing


def test_list_shows_loads_blast_radius_and_sold(staff: Client) -> None:
    tier = make_tier(pool_size=2, name="Basic")
    for _ in range(3):
        buy(make_tenant(), tier)

    shown = staff.get(LIST).context["cl"].result_list[0]
    text = staff.get(LIST).content.decode()

    assert (shown.counted, shown.low, shown.high) == (3, 1, 2)
    assert "1 - 2" in text
    assert "67 %" in text


def test_list_shows_a_plan_that_differs(staff: Client) -> None:
    tier = make_tier()
    bring_into_service()
    UsagePlan.objects.update(observed=seen(tier))
    assert "In step" in staff.get(LIST).content.decode()

    UsagePlan.objects.update(observed=seen(tier, rate="5"))

    assert "Differs" in staff.get(LIST).content.decode()
    assert "Rate: the tier says 10, API Gateway has 5." in staff.get(url_of(tier)).content.decode()


def test_page_shows_the_pool_with_bars(staff: Client) -> None:
    tier = make_tier(pool_size=2)
    for _ in range(3):
        buy(make_tenant(), tier)

    page = staff.get(url_of(tier))

    assert [(row["load"], row["share"]) for row in page.context["loads"]] == [(2, 100), (1, 50)]
    assert page.context["blast_radius"] == "67 %"


def test_history_is_the_audit_trail(staff: Client) -> None:
    tier = make_tier()
    catalog.retire_tier(tier=tier, actor=SYSTEM)

    page = staff.get(url_of(tier, "history")).content.decode()

    assert "tier.retired" in page
    assert "tier.created" in page


@pytest.mark.parametrize("rows", [1, 3])
def test_list_takes_the_same_queries_for_any_rows(staff: Client, django_assert_num_queries: DjangoAssertNumQueries, rows: int) -> None:
    for _ in range(rows):
        buy(make_tenant(), make_tier(pool_size=2))
    staff.get(LIST)

    with django_assert_num_queries(6):
        staff.get(LIST)


def test_filter_for_retired_tiers(staff: Client) -> None:
    make_tier(name="Open one")
    catalog.retire_tier(tier=make_tier(name="Old one"), actor=SYSTEM)

    page = staff.get(f"{reverse('admin:keys_tier_changelist')}?sale=retired").content.decode()

    assert "Old one" in page
    assert "Open one" not in page
