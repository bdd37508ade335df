"""What waits in words and seconds: by the calls that it takes, under the rates that they have."""

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from keys.estimates import Queue, calls_for, seconds_for
from keys.models import Gateway
from keys.queues import about_text, ready_in
from tests.support.factories import buy, make_tenant, make_tier


@pytest.mark.parametrize(
    ("queue", "calls"),
    [
        (Queue(makes=1, makes_of=1), {"ImportApiKeys": 1, "GetApiKeys": 1, "GetUsagePlanKeys": 1}),
        (Queue(makes=10_000, makes_of=1), {"ImportApiKeys": 10, "GetApiKeys": 20, "GetUsagePlanKeys": 20}),
        (Queue(makes=8, makes_of=4), {"ImportApiKeys": 1, "GetApiKeys": 1, "GetUsagePlanKeys": 4}),
        (Queue(switches=3), {"UpdateApiKey": 3}),
        (Queue(switches=2000), {"ImportApiKeys": 2, "GetApiKeys": 4, "GetUsagePlanKeys": 4}),
        (Queue(removals=7, names=2), {"DeleteApiKey": 7, "UpdateApiKey": 2}),
        (Queue(plans_to_make=1, plans_to_change=4), {"GetUsagePlans": 1, "CreateUsagePlan": 1, "UpdateUsagePlan": 4}),
        (Queue(), {}),
    ],
    ids=["one", "account", "four-plans", "few-switches", "many-switches", "removals", "plans", "nothing"],
)
def test_calls_are_counted_by_operation(queue: Queue, calls: dict[str, int]) -> None:
    assert calls_for(queue, uses_imports=True) == calls


def test_without_imports_a_key_costs_two_calls() -> None:
    assert calls_for(Queue(makes=100, makes_of=1, switches=50), uses_imports=False) == {
        "CreateApiKey": 100,
        "CreateUsagePlanKey": 100,
        "UpdateApiKey": 50,
    }


@pytest.mark.parametrize(
    ("calls", "pace", "seconds"),
    [
        ({}, 1.0, 0.0),
        ({"GetApiKeys": 50}, 1.0, 5.0),
        ({"GetApiKeys": 50}, 0.5, 10.0),
        ({"DeleteApiKey": 50}, 1.0, 10.0),
        ({"UpdateUsagePlan": 4}, 1.0, 80.0),
        ({"ImportApiKeys": 10, "GetApiKeys": 40}, 1.0, 15.0),
    ],
    ids=["nothing", "total", "slower", "removals", "limits", "imports"],
)
def test_time_is_that_of_the_scarcest_rate(calls: dict[str, int], pace: float, seconds: float) -> None:
    assert seconds_for(calls, pace) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "about 5 s"), (36.1, "about 40 s"), (60, "about 1 min"), (61, "about 2 min"), (2000, "about 34 min"), (7300, "about 2 h 2 min")],
)
def test_words_are_rounded_up(seconds: float, text: str) -> None:
    assert about_text(seconds) == text


@pytest.mark.django_db
def test_of_a_gateway_that_is_left_alone_nothing_is_counted(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    """While it fails, people look often, and see more keys that are not ready."""
    api_keys = [buy(make_tenant(), tier) for tier in (make_tier(), make_tier())]
    now = timezone.now()
    assert ready_in(api_keys, now).keys() == {each.pk for each in api_keys}

    Gateway.objects.update(resume_at=now + timedelta(minutes=1))
    with django_assert_num_queries(1):
        assert ready_in(api_keys, now) == {}
