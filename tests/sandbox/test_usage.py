"""GetUsage and UpdateUsage, with a clock moved by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.sandbox.refusals import refusal
from tests.support import inprocess

STAGE = {"apiId": "groceries", "stage": "v1"}
DAY = 86_400
KEY = "u" * 40


@pytest.fixture
def client(app):
    return inprocess.client(app)


@pytest.fixture
def plan_id(client):
    quota = {"limit": 20, "period": "DAY"}
    return client.create_usage_plan(name="plan", apiStages=[STAGE], quota=quota)["id"]


@pytest.fixture
def key_id(client, plan_id):
    body = f"Name,Key,UsagePlanIds\none,{KEY},{plan_id}".encode()
    return client.import_api_keys(body=body, format="csv")["ids"][0]


def _usage(client, plan_id, start="2026-04-15", end="2026-04-15", **options):
    return client.get_usage(usagePlanId=plan_id, startDate=start, endDate=end, **options)


def _remaining(client, plan_id, key_id, value, path="/remaining"):
    patch = {"op": "replace", "path": path, "value": value}
    return client.update_usage(usagePlanId=plan_id, keyId=key_id, patchOperations=[patch])


def _statuses(app, count):
    return [inprocess.invoke(app, KEY)[0] for _ in range(count)]


def test_quota_of_20_a_day_is_20_answers_and_a_new_day_brings_20_more(app, hand, key_id):
    assert _statuses(app, 22) == [200] * 20 + [429] * 2
    assert inprocess.invoke(app, KEY) == (429, b'{"message":"Limit Exceeded"}')

    hand.now += DAY

    assert _statuses(app, 21) == [200] * 20 + [429]


def test_usage_is_by_key_id_and_day(app, client, hand, plan_id, key_id):
    _statuses(app, 3)
    hand.now += DAY
    _statuses(app, 1)

    usage = _usage(client, plan_id, "2026-04-14", "2026-04-16")

    assert usage["items"] == {key_id: [[0, 20], [3, 17], [1, 19]]}
    assert (usage["usagePlanId"], usage["startDate"], usage["endDate"]) == (plan_id, "2026-04-14", "2026-04-16")


def test_usage_does_not_count_refused_calls(app, client, plan_id, key_id):
    _statuses(app, 25)

    assert _usage(client, plan_id)["items"] == {key_id: [[20, 0]]}


def test_usage_covers_all_keys_in_pages(client, plan_id, key_id):
    rows = "\n".join(f"key,{number:0>40},{plan_id}" for number in range(4))
    client.import_api_keys(body=f"Name,Key,UsagePlanIds\n{rows}".encode(), format="csv")

    pages = client.get_paginator("get_usage").paginate(usagePlanId=plan_id, startDate="2026-04-15", endDate="2026-04-15", limit=2)
    found = [list(page["items"]) for page in pages]

    assert [len(page) for page in found] == [2, 2, 1]
    assert len({key for page in found for key in page}) == 5


def test_usage_of_one_key(client, plan_id, key_id):
    other = client.create_api_key(name="other")["id"]

    assert list(_usage(client, plan_id, keyId=key_id)["items"]) == [key_id]
    assert _usage(client, plan_id, keyId=other).get("items", {}) == {}


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-04-15", "2026-04-14"),
        ("15.04.2026", "2026-04-15"),
        ("2026-04-31", "2026-05-01"),
        ("2026-01-01", "2026-04-01"),
        ("9999-12-30", "9999-12-31"),
        ("0001-01-01", "0001-01-02"),
    ],
)
def test_usage_refuses_impossible_dates(client, plan_id, start, end):
    assert refusal(_usage, client=client, plan_id=plan_id, start=start, end=end)[:2] == (400, "BadRequestException")


def test_usage_takes_90_days(client, plan_id, key_id):
    assert len(_usage(client, plan_id, "2026-01-01", "2026-03-31")["items"][key_id]) == 90


def test_usage_refuses_an_unknown_plan(client):
    refused = refusal(_usage, client=client, plan_id="unknown")

    assert refused == (404, "NotFoundException", "Invalid Usage Plan ID specified")


def test_update_usage_sets_what_remains_for_the_period(app, client, hand, plan_id, key_id):
    _statuses(app, 20)

    answer = _remaining(client, plan_id, key_id, "5")

    assert answer["items"] == {key_id: [[20, 5]]}
    assert answer["startDate"] == answer["endDate"] == datetime.fromtimestamp(hand.now, UTC).date().isoformat()
    assert _statuses(app, 6) == [200] * 5 + [429]
    hand.now += DAY
    assert _statuses(app, 21) == [200] * 20 + [429]


def test_update_usage_may_also_reduce(app, client, plan_id, key_id):
    _remaining(client, plan_id, key_id, "1")

    assert _statuses(app, 2) == [200, 429]


@pytest.mark.parametrize(("path", "value"), [("/limit", "5"), ("/remaining", "-1"), ("/remaining", "many"), ("/remaining", "9" * 5_000)])
def test_update_usage_refuses_other_patches(client, plan_id, key_id, path, value):
    refused = refusal(_remaining, client=client, plan_id=plan_id, key_id=key_id, value=value, path=path)

    assert refused[:2] == (400, "BadRequestException")


def test_update_usage_refuses_strangers(client, plan_id, key_id):
    other = client.create_api_key(name="other")["id"]

    for plan, key in (("unknown", key_id), (plan_id, "unknown"), (plan_id, other)):
        assert refusal(_remaining, client=client, plan_id=plan, key_id=key, value="1")[:2] == (404, "NotFoundException")


def test_update_usage_refuses_a_plan_without_quota(client, plan_id, key_id):
    client.update_usage_plan(usagePlanId=plan_id, patchOperations=[{"op": "remove", "path": "/quota"}])

    assert refusal(_remaining, client=client, plan_id=plan_id, key_id=key_id, value="1")[0] == 400


def test_changed_quota_counts_what_was_used(app, client, plan_id, key_id):
    _statuses(app, 20)
    patch = {"op": "replace", "path": "/quota/limit", "value": "22"}

    client.update_usage_plan(usagePlanId=plan_id, patchOperations=[patch])

    assert _statuses(app, 3) == [200, 200, 429]


def test_usage_shows_a_changed_quota_before_the_data_plane_knows_it(app, client, plan_id, key_id):
    _statuses(app, 2)
    app.settings.change({"propagation_delay": 60.0})
    app.apply_settings()

    client.update_usage_plan(usagePlanId=plan_id, patchOperations=[{"op": "replace", "path": "/quota/limit", "value": "2"}])

    assert _usage(client, plan_id)["items"] == {key_id: [[2, 0]]}
    assert _statuses(app, 1) == [200]


def test_usage_lag_shows_usage_late(app, client, hand, plan_id, key_id):
    app.settings.change({"usage_lag": 1800.0})
    app.apply_settings()
    _statuses(app, 3)

    assert _usage(client, plan_id)["items"] == {key_id: [[0, 20]]}
    hand.now += 1801
    assert _usage(client, plan_id)["items"] == {key_id: [[3, 17]]}
    _statuses(app, 17)
    assert _usage(client, plan_id)["items"] == {key_id: [[20, 0]]}
