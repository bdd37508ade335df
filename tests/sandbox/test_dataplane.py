"""The data plane: exactly what a tenant gets."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support import inprocess

STAGE = {"apiId": "groceries", "stage": "v1"}
KEY = "d" * 40
BODIES = {
    "Too Many Requests": b'{"message":"Too Many Requests"}',
    "Limit Exceeded": b'{"message":"Limit Exceeded"}',
    "Forbidden": b'{"message":"Forbidden"}',
    "Missing": b'{"message":"Missing Authentication Token"}',
}


def _provision(client, value=KEY, **options):
    plan_id = client.create_usage_plan(name="plan", apiStages=[STAGE], **options)["id"]
    body = f"Name,Key,UsagePlanIds\none,{value},{plan_id}".encode()
    return plan_id, client.import_api_keys(body=body, format="csv")["ids"][0]


def _patch(client, plan_id, op, path, value):
    client.update_usage_plan(usagePlanId=plan_id, patchOperations=[{"op": op, "path": path, "value": value}])


@pytest.fixture
def frozen(sandbox):
    """A sandbox whose time stands still: buckets refill only when it is moved."""
    sandbox.clock(freeze="2026-04-15T12:00:00Z")
    return sandbox


# Over HTTP: bodies and headers


def test_answer_to_a_good_key(frozen):
    _provision(frozen.client())

    answer = frozen.invoke(KEY)

    assert answer.status == 200
    assert [sorted(item) for item in answer.json()] == [["id", "name", "price"]] * 3
    assert answer.headers["Content-Type"] == "application/json"
    assert len(answer.headers["x-amzn-RequestId"]) == 36
    assert answer.headers["x-amz-apigw-id"].endswith("=")
    assert answer.headers["Date"] == "Wed, 15 Apr 2026 12:00:00 GMT"


def test_answer_when_throttled(frozen):
    _provision(frozen.client(), throttle={"rateLimit": 1.0, "burstLimit": 1})
    frozen.invoke(KEY)

    answer = frozen.invoke(KEY)

    assert (answer.status, answer.body) == (429, BODIES["Too Many Requests"])
    assert answer.headers["x-amzn-ErrorType"] == "TooManyRequestsException"
    assert answer.headers["Content-Length"] == "31"
    assert "Retry-After" not in answer.headers


def test_answer_when_the_quota_is_used_up(frozen):
    _provision(frozen.client(), quota={"limit": 1, "period": "DAY"})
    frozen.invoke(KEY)

    answer = frozen.invoke(KEY)

    assert (answer.status, answer.body) == (429, BODIES["Limit Exceeded"])
    assert answer.headers["x-amzn-ErrorType"] == "LimitExceededException"
    assert answer.headers["Content-Length"] == "28"
    assert "Retry-After" not in answer.headers


@pytest.mark.parametrize("key", [None, "x" * 40])
def test_answer_without_a_good_key(frozen, key):
    answer = frozen.invoke(key)

    assert (answer.status, answer.body) == (403, BODIES["Forbidden"])
    assert answer.headers["x-amzn-ErrorType"] == "ForbiddenException"


@pytest.mark.parametrize(
    ("path", "method", "body"),
    [
        ("/nothing", "GET", "Missing"),
        ("/api", "POST", "Missing"),
        ("/api/", "GET", "Missing"),
        ("", "GET", "Missing"),
        ("/%ff", "GET", "Missing"),
    ],
)
def test_answer_to_unknown_methods(frozen, path, method, body):
    answer = frozen.invoke(KEY, path, method)

    assert (answer.status, answer.body) == (403, BODIES[body])
    assert answer.headers["x-amzn-ErrorType"] == "MissingAuthenticationTokenException"


def test_answer_to_an_unknown_stage(frozen):
    for target in ("/_aws/execute-api/groceries/v2/api", "/_aws/execute-api/other/v1/api", "/_aws/execute-api/"):
        answer = frozen.request("GET", target)
        assert (answer.status, answer.body) == (403, BODIES["Forbidden"])


def test_health_needs_no_key_and_uses_no_quota(frozen):
    plan_id, key_id = _provision(frozen.client(), quota={"limit": 1, "period": "DAY"})

    assert frozen.invoke(None, "/health").json() == {"status": "ok"}
    assert frozen.invoke(KEY, "/health").status == 200
    usage = frozen.client().get_usage(usagePlanId=plan_id, startDate="2026-04-15", endDate="2026-04-15")
    assert usage["items"][key_id] == [[0, 1]]


def test_query_is_not_part_of_the_path(frozen):
    _provision(frozen.client())

    assert frozen.invoke(KEY, "/api?sort=price").status == 200


def test_browsers_may_call_from_anywhere_and_read_the_headers(frozen):
    _provision(frozen.client(), throttle={"rateLimit": 1.0, "burstLimit": 1})
    answers = [frozen.invoke(KEY), frozen.invoke(KEY), frozen.invoke(None), frozen.invoke(None, "/nothing")]

    assert [answer.status for answer in answers] == [200, 429, 403, 403]
    for answer in answers:
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "x-amzn-ErrorType" in answer.headers["Access-Control-Expose-Headers"]


def test_preflight_allows_the_key_header(frozen):
    answer = frozen.request(
        "OPTIONS",
        frozen.invoke_url().removeprefix(frozen.url),
        headers={"Origin": "http://example.org", "Access-Control-Request-Headers": "x-api-key"},
    )

    assert (answer.status, answer.body) == (204, b"")
    assert "X-Api-Key" in answer.headers["Access-Control-Allow-Headers"]
    assert "GET" in answer.headers["Access-Control-Allow-Methods"]
    assert "Content-Length" not in answer.headers


# In process: who may call, and how often


@pytest.fixture
def client(app):
    return inprocess.client(app)


def _statuses(app, count, key=KEY):
    return [inprocess.invoke(app, key)[0] for _ in range(count)]


def test_disabled_key_is_refused_until_it_is_enabled(app, client):
    _, key_id = _provision(client)
    for value, status in (("false", 403), ("true", 200)):
        client.update_api_key(apiKey=key_id, patchOperations=[{"op": "replace", "path": "/enabled", "value": value}])
        assert _statuses(app, 1) == [status]


def test_key_without_a_plan_of_the_stage_is_refused(app, client):
    plan_id, key_id = _provision(client)

    client.delete_usage_plan_key(usagePlanId=plan_id, keyId=key_id)
    assert _statuses(app, 1) == [403]
    client.create_usage_plan_key(usagePlanId=plan_id, keyId=key_id, keyType="API_KEY")
    assert _statuses(app, 1) == [200]
    _patch(client, plan_id, "remove", "/apiStages", "groceries:v1")
    assert _statuses(app, 1) == [403]


def test_deleted_key_is_refused(app, client):
    _, key_id = _provision(client)
    assert _statuses(app, 1) == [200]

    client.delete_api_key(apiKey=key_id)

    assert _statuses(app, 1) == [403]


def test_keys_of_a_plan_do_not_share_a_bucket(app, client):
    plan_id, _ = _provision(client, throttle={"rateLimit": 1.0, "burstLimit": 2})
    client.import_api_keys(body=f"Name,Key,UsagePlanIds\ntwo,{'e' * 40},{plan_id}".encode(), format="csv")

    assert _statuses(app, 3) == [200, 200, 429]
    assert _statuses(app, 3, "e" * 40) == [200, 200, 429]


def test_bucket_refills_with_time(app, client, hand):
    _provision(client, throttle={"rateLimit": 0.5, "burstLimit": 1})

    assert _statuses(app, 2) == [200, 429]
    hand.now += 1.9
    assert _statuses(app, 1) == [429]
    hand.now += 0.1
    assert _statuses(app, 2) == [200, 429]


def test_throttled_calls_use_no_quota(app, client, hand):
    _provision(client, throttle={"rateLimit": 1.0, "burstLimit": 1}, quota={"limit": 2, "period": "DAY"})
    assert _statuses(app, 5) == [200, 429, 429, 429, 429]

    hand.now += 1
    assert inprocess.invoke(app, KEY)[0] == 200
    hand.now += 1
    assert inprocess.invoke(app, KEY) == (429, BODIES["Limit Exceeded"])


def test_changed_throttle_applies_to_the_present_bucket(app, client):
    plan_id, _ = _provision(client, throttle={"rateLimit": 1.0, "burstLimit": 5})
    assert _statuses(app, 2) == [200, 200]

    _patch(client, plan_id, "replace", "/throttle/burstLimit", "1")
    assert _statuses(app, 2) == [200, 429]
    _patch(client, plan_id, "remove", "/throttle", "")
    assert _statuses(app, 50) == [200] * 50


def test_throttle_of_a_method_takes_the_place_of_the_plans(app, client):
    plan_id, _ = _provision(client, throttle={"rateLimit": 1.0, "burstLimit": 5})
    patches = [
        {"op": "add", "path": "/apiStages/groceries:v1/throttle//api/GET/rateLimit", "value": "1"},
        {"op": "add", "path": "/apiStages/groceries:v1/throttle//api/GET/burstLimit", "value": "2"},
    ]
    client.update_usage_plan(usagePlanId=plan_id, patchOperations=patches)

    assert _statuses(app, 3) == [200, 200, 429]


def test_account_rate_is_shared_by_all_keys(app, client):
    _provision(client)
    app.settings.change({"account_rate": 1.0, "account_burst": 3})
    app.apply_settings()

    assert _statuses(app, 4) == [200, 200, 200, 429]
    assert inprocess.invoke(app, None, "/health")[0] == 429


def test_propagation_delay_shows_each_change_late_and_in_order(app, client, hand):
    app.settings.change({"propagation_delay": 30.0})
    app.apply_settings()
    _, key_id = _provision(client)
    assert _statuses(app, 1) == [403]
    hand.now += 10
    client.update_api_key(apiKey=key_id, patchOperations=[{"op": "replace", "path": "/enabled", "value": "false"}])

    hand.now += 20
    assert _statuses(app, 1) == [200]
    hand.now += 10
    assert _statuses(app, 1) == [403]


def test_forgetting_everything_keeps_apis_only(app, client):
    _provision(client, quota={"limit": 1, "period": "DAY"})
    assert _statuses(app, 2) == [200, 429]

    app.forget()

    assert _statuses(app, 1) == [403]
    assert client.get_api_keys()["items"] == []
    assert client.get_usage_plans()["items"] == []
    assert [api["id"] for api in client.get_rest_apis()["items"]] == ["groceries"]
    _provision(client, quota={"limit": 1, "period": "DAY"})
    assert _statuses(app, 2) == [200, 429]


@pytest.mark.parametrize("callers", [1, 8, 100])
def test_quota_is_exact_however_many_call_at_once(frozen, callers):

    _provision(frozen.client(), quota={"limit": 20, "period": "DAY"})

    with ThreadPoolExecutor(callers) as pool:
        statuses = list(pool.map(lambda _: frozen.invoke(KEY).status, range(120)))

    assert sorted(statuses) == [200] * 20 + [429] * 100
    assert json.loads(frozen.invoke(KEY).body) == {"message": "Limit Exceeded"}
