from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import DjangoAssertNumQueries

from keys.admin.alarms import alarms
from keys.models import Gateway, GatewayKey, ReconcileRun, UsagePlan
from keys.services import draining
from tenants.audit import SYSTEM
from tests.support.factories import bring_into_service, make_gateway, make_stage, make_tier

pytestmark = pytest.mark.django_db

INDEX = "/staff/"


@pytest.fixture
def in_step() -> Gateway:
    """A gateway with a pooled tier of ten keys, all as it shall be."""
    make_tier(name="Basic", pool_size=10)
    bring_into_service()
    Gateway.objects.update(last_seen_at=timezone.now())
    return Gateway.objects.get()


def texts() -> list[str]:
    return [alarm.text for alarm in alarms(timezone.now())]


def test_nothing_wrong_is_one_sentence(staff: Client, in_step: Gateway) -> None:
    assert texts() == []
    assert "All gateways are in step" in staff.get(INDEX).content.decode()


def test_first_gateway_is_asked_for(staff: Client) -> None:
    page = staff.get(INDEX).content.decode()

    assert "Register an AWS account and Region" in page
    assert "All gateways are in step" not in page


def test_open_circuit_breaker_is_told_with_its_error(staff: Client, in_step: Gateway) -> None:
    Gateway.objects.update(resume_at=timezone.now() + timedelta(minutes=3), failures=5, last_error="Credentials refused.")

    assert texts() == [f"{in_step}: circuit breaker open for 2 min. Credentials refused."]
    page = staff.get(INDEX).content.decode()
    assert f"/staff/keys/gateway/{in_step.pk}/change/" in page
    assert "All gateways" not in page


def test_failures_are_told_before_the_breaker_opens(in_step: Gateway) -> None:
    Gateway.objects.update(failures=1, last_error="No answer.")

    assert texts() == [f"{in_step}: 1 failure in a row. No answer."]


def test_silent_gateway_is_told(in_step: Gateway) -> None:
    Gateway.objects.update(last_seen_at=timezone.now() - timedelta(minutes=30))

    assert texts() == [f"{in_step}: no answer for 30 min. Do the workers run?"]


def test_rows_pending_for_more_than_a_minute_are_told(in_step: Gateway) -> None:
    now = timezone.now()
    GatewayKey.objects.filter(position__lt=2).update(synced_revision=0, changed_at=now - timedelta(minutes=4))
    GatewayKey.objects.filter(position=2).update(synced_revision=0, changed_at=now - timedelta(seconds=30))
    UsagePlan.objects.update(synced_revision=0, changed_at=now - timedelta(minutes=2))

    assert texts() == [
        "2 gateway keys pending for more than a minute, the oldest for 4 min.",
        "1 usage plan pending for more than a minute, for 2 min.",
    ]


def test_row_that_fails_and_waits_for_its_next_try_is_told(in_step: Gateway) -> None:
    now = timezone.now()
    GatewayKey.objects.filter(position=0).update(
        synced_revision=0, changed_at=now - timedelta(minutes=3), next_try_at=now + timedelta(minutes=5), last_error="No answer."
    )

    assert texts() == ["1 gateway key pending for more than a minute, for 3 min."]


@pytest.mark.parametrize(("ended", "alarm"), [(timedelta(seconds=20), False), (timedelta(minutes=3), True)])
def test_key_that_should_be_gone_is_told_a_minute_after_its_end(in_step: Gateway, ended: timedelta, *, alarm: bool) -> None:
    now = timezone.now()
    GatewayKey.objects.filter(position=0).update(changed_at=now - timedelta(days=7), ends_at=now - ended)

    assert bool(texts()) == alarm


def test_rows_that_wait_for_a_person_come_first(in_step: Gateway) -> None:
    long_ago = timezone.now() - timedelta(hours=1)
    GatewayKey.objects.filter(position=0).update(synced_revision=0, permanent=True, changed_at=long_ago)
    GatewayKey.objects.filter(position=1).update(synced_revision=0, changed_at=long_ago)

    assert [alarm.kind for alarm in alarms(timezone.now())] == ["bad", "warning"]
    assert texts()[0] == "1 gateway key waits for a person."


def test_headroom_is_told_above_ninety_percent(in_step: Gateway) -> None:
    Gateway.objects.update(capacity=11)

    assert texts() == [f"{in_step}: 10 of 11 gateway keys. Register another account or Region before it is full."]
    Gateway.objects.update(capacity=12)
    assert texts() == []


def test_tier_that_is_provisioned_otherwise_is_told(in_step: Gateway) -> None:
    observed = {"rate": "10", "burst": 5, "quota_limit": 100, "quota_period": "DAY", "stages": ["groceries:v1"]}
    UsagePlan.objects.update(observed=observed)

    assert texts() == [
        f"Basic on {in_step} is provisioned otherwise than it is sold. Quota: the tier says 2,000, API Gateway has 100.",
    ]


def test_tier_that_is_being_changed_is_no_alarm(in_step: Gateway) -> None:
    UsagePlan.objects.update(observed={"rate": "1"}, synced_revision=0, changed_at=timezone.now())

    assert texts() == []


@pytest.mark.parametrize("rows", [1, 3])
def test_alarms_take_the_same_queries_for_any_rows(django_assert_num_queries: DjangoAssertNumQueries, rows: int) -> None:
    for _ in range(rows):
        make_tier(stage=make_stage(make_gateway()), pool_size=2)
    UsagePlan.objects.update(observed={"rate": "1"}, synced_revision=1)

    with django_assert_num_queries(10):
        assert len(texts()) == rows


def test_usage_plan_whose_canary_is_not_answered_is_told(staff: Client, in_step: Gateway) -> None:
    UsagePlan.objects.update(canary_checked_at=timezone.now(), canary_failures=2, canary_status=403, canary_error="It answered 403.")

    assert texts() == [f"Basic on {in_step}: calls are not answered. It answered 403."]
    page = staff.get(f"/staff/keys/gateway/{in_step.pk}/change/").content.decode()
    assert "2 failures in a row" in page
    assert "It answered 403." in page


def test_comparison_that_was_stopped_is_told_until_one_goes_through(in_step: Gateway) -> None:
    now = timezone.now()
    ReconcileRun.objects.create(gateway=in_step, started_at=now - timedelta(hours=1), ended_at=now, stopped="214 keys would have gone.")
    ReconcileRun.objects.create(gateway=in_step, started_at=now - timedelta(minutes=1), ended_at=now, dry_run=True)

    [alarm] = alarms(now)
    assert (alarm.kind, "drift is not repaired. 214 keys" in alarm.text) == ("bad", True)

    ReconcileRun.objects.create(gateway=in_step, started_at=now, ended_at=now)
    assert alarms(now) == []


def test_index_shows_the_latest_changes(staff: Client, in_step: Gateway) -> None:
    assert "tier.created" in staff.get(INDEX).content.decode()


def test_drain_that_cannot_end_is_an_alarm(in_step: Gateway) -> None:
    assert texts() == []

    draining.drain(gateway=in_step, actor=SYSTEM)

    assert "10 pool keys cannot leave" in " ".join(texts())


def test_drain_that_can_end_is_none_and_costs_no_query_of_its_own(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    here, there, third = (
        make_gateway(name=name, region=region) for name, region in (("A", "eu-west-1"), ("B", "eu-west-2"), ("C", "eu-west-3"))
    )
    make_tier(gateways=[here, there, third], pool_size=9)
    bring_into_service()
    Gateway.objects.update(last_seen_at=timezone.now())
    for gateway in (here, there):
        draining.drain(gateway=gateway, actor=SYSTEM)

    with django_assert_num_queries(10):
        assert not any("cannot leave" in text for text in texts())

    draining.drain(gateway=third, actor=SYSTEM)
    assert [text.partition(",")[0] for text in texts() if "cannot leave" in text] == ["A is drained", "B is drained", "C is drained"]
