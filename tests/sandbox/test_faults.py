"""Faults, account rates and the clock, as tests of other parts use them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from sandbox.app import Sandbox
from sandbox.clock import Clock
from sandbox.settings import Settings
from tests.sandbox.conftest import Hand
from tests.sandbox.refusals import refusal
from tests.support import inprocess

THROTTLED = (429, "TooManyRequestsException", "Too Many Requests")
BUSY = (
    409,
    "ConflictException",
    "Unable to complete operation due to concurrent modification. Please try again later.",
)
KEY = "f" * 40


def _names(client):
    return [key["name"] for key in client.get_api_keys()["items"]]


def _provision(client):
    plan_id = client.create_usage_plan(name="plan", apiStages=[{"apiId": "groceries", "stage": "v1"}])["id"]
    client.import_api_keys(body=f"Name,Key,UsagePlanIds\none,{KEY},{plan_id}".encode(), format="csv")


def test_fault_by_operation_and_count(sandbox):
    sandbox.fault(kind="throttle", operation="CreateApiKey", count=2)
    client = sandbox.client()

    assert [refusal(client.create_api_key, name="one") for _ in range(2)] == [THROTTLED] * 2
    client.create_api_key(name="one")
    client.get_account()

    state = sandbox.state()
    assert state["calls"] == {"CreateApiKey": 3, "GetAccount": 1}
    assert state["throttled"] == {"CreateApiKey": 2}
    assert state["faults"][0]["hits"] == 2


def test_fault_is_retried_by_boto3_as_on_aws(sandbox):
    sandbox.fault(kind="error", operation="GetAccount", status=503, code="ServiceUnavailableException", count=1)

    sandbox.client(retries={"total_max_attempts": 3, "mode": "standard"}).get_account()

    assert sandbox.state()["calls"] == {"GetAccount": 2}


def test_fault_conflict_is_not_done(sandbox):
    sandbox.fault(kind="conflict", operation=["CreateApiKey", "DeleteApiKey"], count=1)
    client = sandbox.client()

    assert refusal(client.create_api_key, name="one") == BUSY
    assert _names(client) == []


def test_fault_server_error_has_the_given_status_and_code(sandbox):
    sandbox.fault(kind="error", operation="*", count=1)

    refused = refusal(sandbox.client().get_account)

    assert refused == (500, "InternalServerErrorException", "Internal server error")


@pytest.mark.parametrize(("work", "names"), [(False, []), (True, ["one"])])
def test_fault_reset_drops_the_connection(sandbox, work, names):
    sandbox.fault(kind="reset", operation="CreateApiKey", count=1, work=work)
    client = sandbox.client()

    with pytest.raises(ConnectionClosedError):
        client.create_api_key(name="one")

    assert _names(client) == names


@pytest.mark.parametrize(("work", "names"), [(True, ["one"]), (False, [])])
def test_fault_timeout_does_the_work_and_never_answers(sandbox, work, names):
    sandbox.fault(kind="timeout", operation="CreateApiKey", count=1, work=work)
    client = sandbox.client(read_timeout=0.3)

    with pytest.raises(ReadTimeoutError):
        client.create_api_key(name="one")

    assert _names(sandbox.client()) == names


def test_fault_latency_delays_the_answer(sandbox):
    sandbox.fault(kind="latency", operation="GetAccount", seconds=0.2, count=1)
    client = sandbox.client()

    started = time.perf_counter()
    client.get_account()

    assert time.perf_counter() - started >= 0.2


def test_fault_truncate_gives_short_pages_with_a_position(sandbox):
    client = sandbox.client()
    for name in ("a", "b", "c"):
        client.create_api_key(name=name)
    sandbox.fault(kind="truncate", operation="GetApiKeys", size=1)

    assert len(client.get_api_keys(limit=500)["items"]) == 1
    assert len(list(client.get_paginator("get_api_keys").paginate().search("items"))) == 3


def test_fault_by_probability_is_repeatable(sandbox):
    client = sandbox.client()

    def outcomes():
        sandbox.clear_faults()
        sandbox.fault(kind="conflict", operation="GetAccount", probability=0.5, seed=7)
        return [_is_refused(client) for _ in range(40)]

    first = outcomes()

    assert outcomes() == first
    assert 5 < first.count(True) < 35


def _is_refused(client):
    try:
        client.get_account()
    except client.exceptions.ConflictException:
        return True
    return False


@pytest.mark.parametrize(
    ("options", "status"), [({"kind": "throttle"}, 429), ({"kind": "error"}, 500), ({"kind": "error", "status": 503}, 503)]
)
def test_fault_of_the_data_plane_is_asked_for_by_name(sandbox, options, status):
    _provision(sandbox.client())
    sandbox.fault(operation="*", **options)
    assert sandbox.invoke(KEY).status == 200

    sandbox.fault(operation="Invoke", count=1, **options)

    assert [sandbox.invoke(KEY).status for _ in range(2)] == [status, 200]


def test_fault_latency_of_the_data_plane(sandbox):
    _provision(sandbox.client())
    sandbox.fault(kind="latency", operation="Invoke", seconds=0.1)

    started = time.perf_counter()

    assert sandbox.invoke(KEY).status == 200
    assert time.perf_counter() - started >= 0.1


def test_fault_reset_of_the_data_plane(sandbox):
    sandbox.fault(kind="reset", operation="Invoke", count=1)

    with pytest.raises(ConnectionError):
        sandbox.invoke(KEY)


@pytest.mark.parametrize(
    "options",
    [{}, {"kind": "flood"}, {"kind": "error", "status": 200}, {"kind": "error", "colour": "red"},
     {"kind": "latency", "seconds": -1}, {"kind": "reset", "probability": 2}, {"kind": "reset", "count": "many"},
     {"kind": "reset", "operation": [1]}, {"kind": "truncate", "size": 0}],
)  # fmt: skip
def test_fault_options_are_checked(sandbox, options):
    answer = sandbox.request("POST", "/_sandbox/faults", options)

    assert answer.status == 400
    assert sandbox.state()["faults"] == []


# The rates of an account


@pytest.fixture
def limited(hand):
    app = Sandbox(Settings(aws_limits=True, attach_seconds=0.0), clock=Clock(hand))
    return inprocess.client(app)


def _passed(call, count):
    """Return how many of so many calls were not refused for being too many."""
    return count - sum(_throttled(call) for _ in range(count))


def _throttled(call):
    try:
        call()
    except ClientError as error:
        return error.response["Error"]["Code"] == "TooManyRequestsException"
    return False


def test_aws_limits_create_and_delete_at_five_a_second(limited, hand):
    assert _passed(limited.create_api_key, 8) == 5
    hand.now += 1
    ids = [key["id"] for key in limited.get_api_keys()["items"]]
    deleted = [_throttled(lambda key_id=key_id: limited.delete_api_key(apiKey=key_id)) for key_id in [*ids, "x", "y"]]
    assert deleted == [False] * 5 + [True] * 2


def test_aws_limits_change_a_plan_every_twenty_seconds(limited, hand):
    plan_id = limited.create_usage_plan(name="plan")["id"]

    def update():
        limited.update_usage_plan(usagePlanId=plan_id, patchOperations=[])

    assert _passed(update, 2) == 1
    hand.now += 19
    assert _passed(update, 1) == 0
    hand.now += 1
    assert _passed(update, 1) == 1


def test_aws_limits_all_calls_at_ten_a_second_and_forty_at_once(limited, hand):
    assert _passed(limited.get_account, 50) == 40
    hand.now += 1
    assert _passed(limited.get_account, 50) == 10


def test_aws_limits_attach_one_key_at_a_time(sandbox):
    client = sandbox.client()
    plan_id = client.create_usage_plan(name="plan")["id"]
    ids = [client.create_api_key(name=str(number))["id"] for number in range(4)]
    sandbox.settings(aws_limits=True, attach_seconds=1.0)

    def attach(key_id):
        try:
            client.create_usage_plan_key(usagePlanId=plan_id, keyId=key_id, keyType="API_KEY")
        except client.exceptions.ConflictException as error:
            return error.response["Error"]["Message"]
        return "attached"

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(attach, ids))

    assert set(outcomes) == {BUSY[2], "attached"}
    sandbox.settings(attach_seconds=0.0)
    left = [key_id for key_id, outcome in zip(ids, outcomes, strict=True) if outcome != "attached"]
    assert {attach(key_id) for key_id in left} == {"attached"}
    assert len(client.get_usage_plan_keys(usagePlanId=plan_id)["items"]) == 4


# Clock, settings, state


def test_clock_moves_stops_and_comes_back(sandbox):
    real = time.time()

    assert sandbox.clock(freeze="2026-04-15T12:00:00Z")["iso"] == "2026-04-15T12:00:00+00:00"
    assert sandbox.clock(advance=60)["iso"] == "2026-04-15T12:01:00+00:00"
    assert sandbox.clock(freeze=False)["frozen"] is False
    assert sandbox.clock(offset=3600)["now"] == pytest.approx(real + 3600, abs=30)
    sandbox.reset()
    assert sandbox.state()["clock"]["offset"] == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize(
    "options",
    [{}, {"advance": "much"}, {"freeze": "noon"}, {"freeze": "2026-04-15T12:00:00"}, {"set": 1}, {"offset": -9e10}, {"advance": 1e12}],
)
def test_clock_refuses_nonsense(sandbox, options):
    assert sandbox.request("POST", "/_sandbox/clock", options).status == 400


@pytest.mark.parametrize("options", [{"latency": -1}, {"latency": "1"}, {"aws_limits": 1}, {"key_cap": 1.5}, {"colour": 1}])
def test_settings_refuse_nonsense(sandbox, options):
    before = sandbox.state()["settings"]

    assert sandbox.request("POST", "/_sandbox/settings", {"usage_lag": 5} | options).status == 400
    assert sandbox.state()["settings"] == before


def test_state_counts_calls_and_masks_values(sandbox):
    client = sandbox.client()
    _provision(client)
    sandbox.invoke(KEY)
    sandbox.invoke(None)

    state = sandbox.state()

    assert state["calls"] == {"CreateUsagePlan": 1, "ImportApiKeys": 1}
    assert state["invocations"] == {"served": 2, "throttled": 0}
    assert state["plans"][0]["members"] == [state["keys"][0]["id"]]
    assert KEY not in str(state)


def test_calls_are_listed_with_their_time_by_the_clock_of_the_sandbox(sandbox):
    sandbox.settings(aws_limits=True)
    sandbox.clock(freeze=1000)
    client = sandbox.client()
    _provision(client)
    sandbox.clock(advance=20)
    client.get_usage_plans()
    sandbox.fault(kind="throttle", operation="GetUsagePlans")
    with pytest.raises(client.exceptions.TooManyRequestsException):
        client.get_usage_plans()

    assert sandbox.moments("ImportApiKeys") == [1000]
    assert sandbox.moments("GetUsagePlans") == [1020, 1020]

    sandbox.reset()
    assert sandbox.moments("GetUsagePlans") == []


def test_unknown_switch_is_answered_with_the_known_ones(sandbox):
    answer = sandbox.request("GET", "/_sandbox/nothing")

    assert answer.status == 404
    assert "GET /_sandbox/state" in answer.json()["known"]


def test_reset_brings_full_buckets_and_keeps_what_is_held(hand):
    app = Sandbox(clock=Clock(hand))
    client = inprocess.client(app)
    _provision(client)
    plan_id = client.get_usage_plans()["items"][0]["id"]
    patch = {"op": "replace", "path": "/throttle/burstLimit", "value": "1"}
    client.update_usage_plan(usagePlanId=plan_id, patchOperations=[patch])
    assert [inprocess.invoke(app, KEY)[0] for _ in range(2)] == [200, 429]

    app.reset()

    assert inprocess.invoke(app, KEY)[0] == 200


def test_clock_runs_on_from_where_it_was_frozen():
    source = Hand(100.0)
    clock = Clock(source)
    clock.freeze()
    source.now = 150.0

    assert clock.now() == 100.0
    clock.unfreeze()
    source.now = 160.0
    assert clock.now() == 110.0
    clock.advance(-20)
    assert clock.now() == 90.0
