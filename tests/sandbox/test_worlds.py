"""Several accounts and Regions in one process, roles, and what roles may do."""

from __future__ import annotations

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.support.sandbox import SandboxProcess

ROLE = "arn:aws:iam::222222222222:role/path/tollgate"
WEST = "222222222222:eu-west-1"


def sts(sandbox):
    return boto3.client(
        "sts",
        endpoint_url=sandbox.url,
        region_name="us-east-1",
        aws_access_key_id="sandbox",
        aws_secret_access_key="sandbox",
        config=Config(retries={"total_max_attempts": 1}),
    )


def as_role(sandbox, region="eu-west-1", **options):
    given = sts(sandbox).assume_role(RoleArn=ROLE, RoleSessionName="workers", **options)["Credentials"]
    return boto3.client(
        "apigateway",
        endpoint_url=sandbox.url,
        region_name=region,
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
        config=Config(retries={"total_max_attempts": 1}),
    )


def code_of(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"]


def test_worlds_hold_keys_of_their_own(sandbox):
    west = sandbox.world(WEST, "fruit:v1")
    plan = west.client().create_usage_plan(name="Free", apiStages=[{"apiId": "fruit", "stage": "v1"}])["id"]
    key = west.client().create_api_key(name="theirs", value="w" * 40, enabled=True)["id"]
    west.client().create_usage_plan_key(usagePlanId=plan, keyId=key, keyType="API_KEY")

    assert [each["name"] for each in west.state()["keys"]] == ["theirs"]
    assert sandbox.state()["keys"] == []
    assert sandbox.invoke("w" * 40, api="fruit").status == 200
    assert sandbox.invoke("w" * 40).status == 403
    assert sandbox.invoke("w" * 40, api="unknown").status == 403


def test_world_has_settings_and_faults_of_its_own(sandbox):
    west = sandbox.world(WEST)
    west.settings(key_cap=1)
    west.fault(kind="throttle", operation="GetApiKeys")
    west.client().create_api_key(value="a" * 40)

    assert code_of(west.client().create_api_key, value="b" * 40) == "LimitExceededException"
    assert code_of(west.client().get_api_keys) == "TooManyRequestsException"
    assert sandbox.client().get_api_keys()["items"] == []
    assert west.state()["apis"] == {"api-222222222222-eu-west-1": ["v1"]}


def test_reset_takes_away_worlds_and_roles_that_came_later():
    with SandboxProcess("--world", f"{WEST}=fruit:v1,fruit:v2", "--role", f'{{"arn": "{ROLE}", "external_id": "x1"}}') as process:
        process.world("333333333333:us-east-1")
        process.role(ROLE)
        process.reset()

        worlds = process.request("GET", "/_sandbox/worlds").json()
        assert [(each["world"], each["apis"]) for each in worlds] == [
            ("", {"groceries": ["v1"]}),
            (WEST, {"fruit": ["v1", "v2"]}),
        ]
        assert code_of(sts(process).assume_role, RoleArn=ROLE, RoleSessionName="workers") == "AccessDenied"
        as_role(process, ExternalId="x1").get_api_keys()


def test_worlds_that_cannot_be_are_refused(sandbox):
    sandbox.world(WEST, "fruit:v1")
    for body, words in [
        ({"world": "1:eu-west-1"}, "ACCOUNT:REGION"),
        ({"world": "333333333333:eu-west-1", "apis": ["fruit:v1"]}, "another world"),
        ({"world": "333333333333:eu-west-1", "apis": ["groceries:v1"]}, "another world"),
        ({"world": "333333333333:eu-west-1", "apis": ["fruit"]}, "ID:STAGE"),
    ]:
        answer = sandbox.request("POST", "/_sandbox/worlds", body)
        assert (answer.status, words in answer.json()["message"]) == (400, True), answer.body
    assert sandbox.request("GET", "/_sandbox/state?world=999999999999:eu-west-1").status == 400


def test_own_account_is_the_default_world_in_every_region(sandbox):
    identity = sts(sandbox).get_caller_identity()

    assert (identity["Account"], identity["Arn"]) == ("000000000000", "arn:aws:iam::000000000000:user/sandbox")
    assert sandbox.client().get_rest_apis()["items"][0]["id"] == "groceries"


def test_role_of_another_account_reaches_its_world(sandbox):
    sandbox.world(WEST)
    as_role(sandbox).create_api_key(value="r" * 40)

    assert len(sandbox.state(world=WEST)["keys"]) == 1
    assert code_of(as_role(sandbox, region="us-east-2").get_api_keys) == "UnrecognizedClientException"


def test_role_needs_its_account_and_its_external_id(sandbox):
    assume = sts(sandbox).assume_role
    assert code_of(assume, RoleArn=ROLE, RoleSessionName="workers") == "AccessDenied"
    sandbox.world(WEST)
    sandbox.role(ROLE, external_id="right")

    assert code_of(assume, RoleArn=ROLE, RoleSessionName="workers") == "AccessDenied"
    assert code_of(assume, RoleArn=ROLE, RoleSessionName="workers", ExternalId="wrong") == "AccessDenied"
    answer = assume(RoleArn=ROLE, RoleSessionName="workers", ExternalId="right")
    assert answer["AssumedRoleUser"]["Arn"] == "arn:aws:sts::222222222222:assumed-role/tollgate/workers"
    assert code_of(assume, RoleArn=ROLE, RoleSessionName="workers", ExternalId="right", DurationSeconds=900 * 60) == "ValidationError"


def test_credentials_of_a_role_expire(sandbox):
    sandbox.world(WEST)
    client = as_role(sandbox, DurationSeconds=900)
    client.get_api_keys()
    sandbox.clock(advance=901)

    assert code_of(client.get_api_keys) == "ExpiredTokenException"


def test_denied_operations_and_policies_refuse_what_they_name(sandbox):
    sandbox.world(WEST)
    client = as_role(sandbox)
    sandbox.role(ROLE, deny=["DeleteApiKey"])
    assert code_of(client.delete_api_key, apiKey="absent") == "AccessDeniedException"
    assert code_of(client.get_api_key, apiKey="absent") == "NotFoundException"

    allow = {"Effect": "Allow", "Action": "apigateway:GET", "Resource": "arn:aws:apigateway:eu-west-1::/apikeys*"}
    forbid = {"Effect": "Deny", "Action": ["apigateway:*"], "Resource": ["arn:aws:apigateway:eu-west-1::/apikeys/secret"]}
    sandbox.role(ROLE, policies=[{"Statement": [allow]}, {"Statement": [forbid]}])
    assert code_of(client.get_api_key, apiKey="absent") == "NotFoundException"
    assert code_of(client.get_api_key, apiKey="secret") == "AccessDeniedException"
    assert code_of(client.delete_api_key, apiKey="absent") == "AccessDeniedException"
    assert code_of(client.get_usage_plans) == "AccessDeniedException"


@pytest.mark.parametrize(
    "body",
    [{"arn": "tollgate"}, {"arn": ROLE, "deny": "DeleteApiKey"}, {"arn": ROLE, "policies": [1]}, {"arn": ROLE, "more": 1}, {}],
    ids=["arn", "deny", "policies", "unknown", "nothing"],
)
def test_roles_that_cannot_be_are_refused(sandbox, body):
    assert sandbox.request("POST", "/_sandbox/roles", body).status == 400


def test_sts_fails_on_demand(sandbox):
    sandbox.fault(kind="error", operation="GetCallerIdentity", count=1, status=503, code="ServiceUnavailable", message="down")

    assert code_of(sts(sandbox).get_caller_identity) == "ServiceUnavailable"
    assert sts(sandbox).get_caller_identity()["Account"] == "000000000000"
    assert code_of(sts(sandbox).get_session_token) == "InvalidAction"
