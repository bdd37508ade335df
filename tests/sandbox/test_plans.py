"""Usage plans and their keys: the contract that boto3 sees."""

from __future__ import annotations

import pytest

from tests.sandbox.refusals import refusal

STAGE = {"apiId": "groceries", "stage": "v1"}
UNKNOWN_PLAN = (404, "NotFoundException", "Invalid Usage Plan ID specified")
UNKNOWN_KEY = (404, "NotFoundException", "Invalid API Key identifier specified")


def _patch(client, plan_id, *patches):
    operations = [dict(zip(("op", "path", "value"), patch, strict=False)) for patch in patches]
    return client.update_usage_plan(usagePlanId=plan_id, patchOperations=operations)


def _attach(client, plan_id, key_id, **options):
    return client.create_usage_plan_key(usagePlanId=plan_id, keyId=key_id, **{"keyType": "API_KEY"} | options)


@pytest.fixture
def plan_id(client):
    return client.create_usage_plan(name="plan", apiStages=[STAGE])["id"]


# As AWS, and as moto


def test_create_shows_what_was_asked_for(client_or_moto, stage_of):
    stage = stage_of(client_or_moto)
    throttle, quota = {"rateLimit": 2.0, "burstLimit": 1}, {"limit": 10, "offset": 0, "period": "DAY"}

    plan = client_or_moto.create_usage_plan(
        name="plan", description="text", apiStages=[stage], throttle=throttle, quota=quota, tags={"a": "1"}
    )

    assert plan["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert (plan["name"], plan["description"], plan["tags"]) == ("plan", "text", {"a": "1"})
    assert (plan["apiStages"], plan["throttle"], plan["quota"]) == ([stage], throttle, quota)


def test_get_refuses_an_unknown_plan(client_or_moto):
    assert refusal(client_or_moto.get_usage_plan, usagePlanId="unknown") == UNKNOWN_PLAN


def test_member_shows_its_value(client_or_moto):
    plan_id = client_or_moto.create_usage_plan(name="plan")["id"]
    key = client_or_moto.create_api_key(name="one", value="v" * 40)

    member = _attach(client_or_moto, plan_id, key["id"])

    expected = {"id": key["id"], "type": "API_KEY", "value": "v" * 40, "name": "one"}
    assert {name: member[name] for name in expected} == expected
    assert client_or_moto.get_usage_plan_keys(usagePlanId=plan_id)["items"] == [expected]


def test_member_refuses_an_unknown_key(client_or_moto):
    plan_id = client_or_moto.create_usage_plan(name="plan")["id"]

    assert refusal(_attach, client=client_or_moto, plan_id=plan_id, key_id="unknown") == UNKNOWN_KEY


def test_members_of_an_unknown_plan_are_none(client_or_moto):
    assert client_or_moto.get_usage_plan_keys(usagePlanId="unknown")["items"] == []


def test_list_keeps_the_plans_of_a_key(client_or_moto):
    first = client_or_moto.create_usage_plan(name="first")["id"]
    client_or_moto.create_usage_plan(name="second")
    key_id = client_or_moto.create_api_key(name="one")["id"]
    _attach(client_or_moto, first, key_id)

    assert [plan["name"] for plan in client_or_moto.get_usage_plans(keyId=key_id)["items"]] == ["first"]


def test_patch_sets_name_quota_and_throttle(client_or_moto):
    plan_id = client_or_moto.create_usage_plan(
        name="plan", quota={"limit": 1, "offset": 0, "period": "DAY"}, throttle={"rateLimit": 1.0, "burstLimit": 1}
    )["id"]

    plan = _patch(
        client_or_moto, plan_id, ("replace", "/name", "new"), ("replace", "/quota/limit", "5000"),
        ("replace", "/quota/period", "MONTH"), ("replace", "/throttle/rateLimit", "200"),
        ("replace", "/throttle/burstLimit", "100"),
    )  # fmt: skip

    assert plan["name"] == "new"
    assert plan["quota"] == {"limit": 5000, "period": "MONTH", "offset": 0}
    assert plan["throttle"] == {"rateLimit": 200.0, "burstLimit": 100}


# As AWS, and not as moto


def test_create_leaves_out_what_is_not_set(client):
    plan = client.create_usage_plan(name="plan")
    del plan["ResponseMetadata"]

    assert plan == {"id": plan["id"], "name": "plan", "apiStages": []}
    assert client.get_usage_plan(usagePlanId=plan["id"])["tags"] == {}


def test_create_refuses_an_unknown_stage(client):
    refused = refusal(client.create_usage_plan, name="plan", apiStages=[{"apiId": "groceries", "stage": "v2"}])

    assert refused[:2] == (404, "NotFoundException")
    assert "Invalid API Stage {api: groceries, stage: v2} specified for usageplan" in refused[2]


@pytest.mark.parametrize(
    "options",
    [
        {"name": ""},
        {"quota": {"limit": 1, "period": "YEAR"}},
        {"quota": {"limit": -1, "period": "DAY"}},
        {"quota": {"limit": 1, "period": "DAY", "offset": 1}},
        {"quota": {"limit": 1, "period": "WEEK", "offset": 7}},
        {"quota": {"limit": 1, "period": "MONTH", "offset": 28}},
        {"throttle": {"rateLimit": -1.0, "burstLimit": 1}},
        {"tags": {"aws:no": "1"}},
    ],
)
def test_create_refuses_impossible_limits(client, options):
    assert refusal(client.create_usage_plan, **{"name": "plan"} | options)[:2] == (400, "BadRequestException")
    assert client.get_usage_plans()["items"] == []


@pytest.mark.parametrize(("rate", "burst"), [(2.0, 1), (200.0, 100), (10.0, 20), (0.1, 1)])
def test_create_takes_any_relation_of_rate_and_burst(client, rate, burst):
    plan = client.create_usage_plan(name="plan", throttle={"rateLimit": rate, "burstLimit": burst})

    assert plan["throttle"] == {"rateLimit": rate, "burstLimit": burst}


def test_patch_takes_fractional_rates_and_makes_what_was_not_there(client, plan_id):
    plan = _patch(client, plan_id, ("replace", "/throttle/rateLimit", "0.1"), ("replace", "/throttle/burstLimit", "1"))

    assert plan["throttle"] == {"rateLimit": 0.1, "burstLimit": 1}
    assert plan["tags"] == {}


def test_patch_removes_quota_and_throttle(client, plan_id):
    _patch(client, plan_id, ("replace", "/quota/limit", "1"), ("replace", "/quota/period", "DAY"),
           ("replace", "/throttle/rateLimit", "1"))  # fmt: skip

    plan = _patch(client, plan_id, ("remove", "/quota"), ("remove", "/throttle"))

    assert "quota" not in plan
    assert "throttle" not in plan


def test_patch_sets_method_throttles(client, plan_id):
    path = "/apiStages/groceries:v1/throttle//api/GET"
    plan = _patch(client, plan_id, ("add", f"{path}/rateLimit", "3"), ("add", f"{path}/burstLimit", "2"))

    assert plan["apiStages"] == [STAGE | {"throttle": {"/api/GET": {"rateLimit": 3.0, "burstLimit": 2}}}]
    assert _patch(client, plan_id, ("remove", path))["apiStages"] == [STAGE]


def test_patch_adds_and_removes_stages(client, plan_id):
    assert _patch(client, plan_id, ("remove", "/apiStages", "groceries:v1"))["apiStages"] == []
    assert _patch(client, plan_id, ("add", "/apiStages", "groceries:v1"))["apiStages"] == [STAGE]
    assert _patch(client, plan_id, ("add", "/apiStages", "groceries:v1"))["apiStages"] == [STAGE]


def test_patch_of_stages_refuses_in_the_words_of_aws(client, plan_id):
    for value in (None, "fakevalue"):
        patch = ("add", "/apiStages") if value is None else ("add", "/apiStages", value)
        refused = refusal(lambda patch=patch: _patch(client, plan_id, patch))
        assert refused == (400, "BadRequestException", "Invalid API Stage specified")

    refused = refusal(lambda: _patch(client, plan_id, ("add", "/apiStages", "groceries:nope")))
    message = f"Invalid API Stage {{api: groceries, stage: nope}} specified for usageplan {plan_id}"
    assert refused == (404, "NotFoundException", message)


@pytest.mark.parametrize(
    "patch",
    [
        ("replace", "/id", "x"),
        ("replace", "/quota", "x"),
        ("remove", "/name"),
        ("replace", "/apiStages", "groceries:v1"),
        ("add", "/apiStages/groceries:v1/throttle", "1"),
        ("replace", "/throttle/rateLimit", "many"),
        ("replace", "/throttle/rateLimit", "nan"),
        ("replace", "/quota/limit", "1.5"),
        ("replace", "/quota/limit", "5"),
        ("replace", "/name", ""),
    ],
)
def test_patch_refuses_what_makes_no_plan_and_changes_nothing(client, plan_id, patch):
    refused = refusal(lambda: _patch(client, plan_id, ("replace", "/description", "changed"), patch))

    assert refused[:2] == (400, "BadRequestException")
    assert "description" not in client.get_usage_plan(usagePlanId=plan_id)


def test_patch_and_delete_refuse_an_unknown_plan(client):
    assert refusal(client.update_usage_plan, usagePlanId="unknown", patchOperations=[]) == UNKNOWN_PLAN
    assert refusal(client.delete_usage_plan, usagePlanId="unknown") == UNKNOWN_PLAN


def test_delete_refuses_a_plan_with_stages(client, plan_id):
    refused = refusal(client.delete_usage_plan, usagePlanId=plan_id)

    message = f"Cannot delete Usage Plan {plan_id} because there are API Stages associated with it"
    assert refused == (400, "BadRequestException", message)


def test_delete_takes_the_members_along(client, plan_id):
    key_id = client.create_api_key(name="one")["id"]
    _attach(client, plan_id, key_id)
    _patch(client, plan_id, ("remove", "/apiStages", "groceries:v1"))

    client.delete_usage_plan(usagePlanId=plan_id)

    assert client.get_usage_plans(keyId=key_id)["items"] == []
    assert client.get_api_key(apiKey=key_id)["id"] == key_id


def test_list_is_paged(client):
    for name in ("a", "b", "c"):
        client.create_usage_plan(name=name)

    first = client.get_usage_plans(limit=2)
    second = client.get_usage_plans(limit=2, position=first["position"])

    assert [plan["name"] for plan in first["items"] + second["items"]] == ["c", "b", "a"]
    assert "tags" not in first["items"][0]


def test_member_is_in_one_plan_a_stage(client, plan_id):
    other = client.create_usage_plan(name="other", apiStages=[STAGE])["id"]
    key_id = client.create_api_key(name="one")["id"]
    _attach(client, plan_id, key_id)

    refused = refusal(_attach, client=client, plan_id=other, key_id=key_id)

    assert refused[:2] == (409, "ConflictException")
    assert plan_id in refused[2]


def test_member_may_be_in_plans_of_other_stages(client, plan_id):
    other = client.create_usage_plan(name="other")["id"]
    key_id = client.create_api_key(name="one")["id"]
    _attach(client, plan_id, key_id)
    _attach(client, other, key_id)

    refused = refusal(lambda: _patch(client, other, ("add", "/apiStages", "groceries:v1")))

    assert refused[:2] == (409, "ConflictException")


def test_member_cannot_be_added_twice(client, plan_id):
    key_id = client.create_api_key(name="one")["id"]
    _attach(client, plan_id, key_id)

    assert refusal(_attach, client=client, plan_id=plan_id, key_id=key_id)[:2] == (409, "ConflictException")


def test_member_refuses_unknown_plans_and_types(client, plan_id):
    key_id = client.create_api_key(name="one")["id"]

    assert refusal(_attach, client=client, plan_id="unknown", key_id=key_id) == UNKNOWN_PLAN
    refused = refusal(_attach, client=client, plan_id=plan_id, key_id=key_id, keyType="OTHER")
    assert refused[:2] == (400, "BadRequestException")


def test_member_goes_with_its_key(client, plan_id):
    key_id = client.create_api_key(name="one")["id"]
    _attach(client, plan_id, key_id)

    client.delete_api_key(apiKey=key_id)

    assert client.get_usage_plan_keys(usagePlanId=plan_id)["items"] == []


def test_member_shows_the_present_name_of_its_key(client, plan_id):
    key_id = client.create_api_key(name="one")["id"]
    _attach(client, plan_id, key_id)
    client.update_api_key(apiKey=key_id, patchOperations=[{"op": "replace", "path": "/name", "value": "two"}])

    assert client.get_usage_plan_key(usagePlanId=plan_id, keyId=key_id)["name"] == "two"


def test_member_is_taken_out_once(client, plan_id):
    key_id = client.create_api_key(name="one")["id"]
    _attach(client, plan_id, key_id)

    answer = client.delete_usage_plan_key(usagePlanId=plan_id, keyId=key_id)

    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert refusal(client.delete_usage_plan_key, usagePlanId=plan_id, keyId=key_id) == UNKNOWN_KEY
    assert refusal(client.get_usage_plan_key, usagePlanId=plan_id, keyId=key_id) == UNKNOWN_KEY


def test_members_are_listed_newest_first_by_prefix_and_paged(client, plan_id):
    for name in ("ab", "ac", "b"):
        _attach(client, plan_id, client.create_api_key(name=name)["id"])

    first = client.get_usage_plan_keys(usagePlanId=plan_id, nameQuery="a", limit=1)
    second = client.get_usage_plan_keys(usagePlanId=plan_id, nameQuery="a", limit=1, position=first["position"])

    assert [member["name"] for member in first["items"] + second["items"]] == ["ac", "ab"]


def test_apis_stages_and_account_are_shown(client):
    assert client.get_rest_apis()["items"][0]["name"] == "Groceries"
    assert client.get_rest_api(restApiId="groceries")["id"] == "groceries"
    assert client.get_stages(restApiId="groceries")["item"][0]["stageName"] == "v1"
    assert client.get_stage(restApiId="groceries", stageName="v1")["stageName"] == "v1"
    assert client.get_account()["throttleSettings"] == {"burstLimit": 5000, "rateLimit": 10000.0}
    assert refusal(client.get_rest_api, restApiId="other")[:2] == (404, "NotFoundException")
    assert refusal(client.get_stages, restApiId="other")[:2] == (404, "NotFoundException")
    assert refusal(client.get_stage, restApiId="groceries", stageName="v9")[:2] == (404, "NotFoundException")
