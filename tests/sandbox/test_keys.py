"""API keys: the contract that boto3 sees. Facts marked *recorded* stand in recordings of AWS."""

from __future__ import annotations

import pytest

from tests.sandbox.refusals import refusal

UNKNOWN_KEY = (404, "NotFoundException", "Invalid API Key identifier specified")


def _create(client, name, **options):
    return client.create_api_key(name=name, **options)


def _names(listing):
    return [item.get("name") for item in listing["items"]]


# As AWS, and as moto


def test_create_is_disabled_by_default_and_shows_the_value(client_or_moto):
    key = _create(client_or_moto, "one", value="v" * 20)

    assert key["enabled"] is False
    assert key["value"] == "v" * 20
    assert key["stageKeys"] == []
    assert key["ResponseMetadata"]["HTTPStatusCode"] == 201


def test_create_refuses_a_short_value(client_or_moto):
    refused = refusal(client_or_moto.create_api_key, name="one", value="v" * 19)

    assert refused == (400, "BadRequestException", "API Key value should be at least 20 characters")


def test_create_refuses_a_value_that_exists(client_or_moto):
    _create(client_or_moto, "one", value="v" * 40)

    refused = refusal(client_or_moto.create_api_key, name="two", value="v" * 40)

    assert refused == (409, "ConflictException", "API Key already exists")


def test_get_shows_the_value_only_when_asked(client_or_moto):
    key_id = _create(client_or_moto, "one")["id"]

    assert "value" not in client_or_moto.get_api_key(apiKey=key_id)
    assert "value" in client_or_moto.get_api_key(apiKey=key_id, includeValue=True)
    assert "value" not in client_or_moto.get_api_keys()["items"][0]
    assert "value" in client_or_moto.get_api_keys(includeValues=True)["items"][0]


def test_get_refuses_an_unknown_key(client_or_moto):
    assert refusal(client_or_moto.get_api_key, apiKey="unknown") == UNKNOWN_KEY


@pytest.mark.parametrize(("query", "found"), [("Al", ["Alpha"]), ("al", []), ("pha", []), ("Alpha", ["Alpha"])])
def test_list_name_query_is_a_case_sensitive_prefix(client_or_moto, query, found):
    _create(client_or_moto, "Alpha")
    _create(client_or_moto, "Beta")

    assert _names(client_or_moto.get_api_keys(nameQuery=query)) == found


def test_update_switches_a_key_on(client_or_moto):
    key_id = _create(client_or_moto, "one")["id"]

    client_or_moto.update_api_key(apiKey=key_id, patchOperations=[{"op": "replace", "path": "/enabled", "value": "true"}])

    assert client_or_moto.get_api_key(apiKey=key_id)["enabled"] is True


def test_delete_answers_202_and_then_404(client_or_moto):
    key_id = _create(client_or_moto, "one")["id"]

    assert client_or_moto.delete_api_key(apiKey=key_id)["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert refusal(client_or_moto.delete_api_key, apiKey=key_id) == UNKNOWN_KEY


def test_create_keeps_tags_and_customer(client_or_moto):
    key_id = _create(client_or_moto, "one", tags={"tier": "free"}, customerId="c1")["id"]

    key = client_or_moto.get_api_key(apiKey=key_id)

    assert key["tags"] == {"tier": "free"}
    assert key["customerId"] == "c1"


# As AWS, and not as moto


def test_create_refuses_a_long_value(client):
    refused = refusal(client.create_api_key, value="v" * 129)

    assert refused == (400, "BadRequestException", "API Key value exceeds maximum size of 128 characters")


def test_create_refuses_a_long_name(client):
    refused = refusal(client.create_api_key, name="n" * 1025)

    assert refused == (400, "BadRequestException", "Invalid API Key name, can be at most 1024 characters.")


def test_create_refuses_a_long_description(client):
    refused = refusal(client.create_api_key, description="d" * 125_001)

    assert refused == (400, "BadRequestException", "Invalid API Key description specified.")


def test_create_makes_up_a_value_and_leaves_out_an_empty_name(client):
    key = client.create_api_key(name="", value="")

    assert len(key["value"]) == 40
    assert "name" not in key
    assert "tags" not in key


@pytest.mark.parametrize("value", ["ümläut" * 6, "with blank " * 4, "line\n" * 8])
def test_create_refuses_values_that_no_header_carries(client, value):
    assert refusal(client.create_api_key, value=value)[:2] == (400, "BadRequestException")


def test_list_is_newest_first_and_paged(client):
    for name in ("a", "b", "c", "d", "e"):
        _create(client, name)

    first = client.get_api_keys(limit=2)
    second = client.get_api_keys(limit=2, position=first["position"])
    third = client.get_api_keys(limit=2, position=second["position"])

    assert [_names(page) for page in (first, second, third)] == [["e", "d"], ["c", "b"], ["a"]]
    assert "position" not in third


def test_list_pages_neither_skip_nor_repeat_when_keys_go(client):
    ids = {name: _create(client, name)["id"] for name in ("a", "b", "c", "d")}
    first = client.get_api_keys(limit=2)
    client.delete_api_key(apiKey=ids["c"])
    client.delete_api_key(apiKey=ids["d"])

    assert _names(client.get_api_keys(position=first["position"])) == ["b", "a"]


def test_list_gives_25_by_default_and_ignores_a_bad_limit(client):
    for number in range(26):
        _create(client, f"key-{number}")

    assert len(client.get_api_keys()["items"]) == 25
    assert len(client.get_api_keys(limit=-1)["items"]) == 25
    assert len(list(client.get_paginator("get_api_keys").paginate().search("items"))) == 26


def test_list_refuses_a_made_up_position(client):
    assert refusal(client.get_api_keys, position="made-up")[:2] == (400, "BadRequestException")


def test_list_filters_by_customer(client):
    _create(client, "one", customerId="c1")
    _create(client, "two", customerId="c2")

    assert _names(client.get_api_keys(customerId="c2")) == ["two"]


def test_update_answers_tags_and_no_value(client):
    key_id = _create(client, "one")["id"]

    updated = client.update_api_key(apiKey=key_id, patchOperations=[{"op": "replace", "path": "/name", "value": "two"}])

    assert updated["name"] == "two"
    assert updated["tags"] == {}
    assert "value" not in updated


def test_update_reads_anything_but_true_as_off(client):
    key_id = _create(client, "one", enabled=True)["id"]

    patch = {"op": "replace", "path": "/enabled", "value": "yes"}

    assert client.update_api_key(apiKey=key_id, patchOperations=[patch])["enabled"] is False


@pytest.mark.parametrize(("op", "path"), [("replace", "/id"), ("replace", "/value"), ("add", "/name"), ("remove", "/name")])
def test_update_refuses_other_paths_and_operations(client, op, path):
    key_id = _create(client, "one")["id"]

    refused = refusal(client.update_api_key, apiKey=key_id, patchOperations=[{"op": op, "path": path, "value": "x"}])

    allowed = "[/description, /enabled, /name, /customerId]"
    message = f"Invalid patch path  '{path}' specified for op '{op}'. Must be one of: {allowed}"
    assert refused == (400, "BadRequestException", message)


def test_update_does_all_or_nothing(client):
    key_id = _create(client, "one")["id"]
    patches = [{"op": "replace", "path": "/name", "value": "two"}, {"op": "replace", "path": "/id", "value": "x"}]

    refusal(client.update_api_key, apiKey=key_id, patchOperations=patches)

    assert client.get_api_key(apiKey=key_id)["name"] == "one"


def test_tags_are_put_read_and_taken_away(client):
    key_id = _create(client, "one", tags={"a": "1"})["id"]
    arn = f"arn:aws:apigateway:us-east-1::/apikeys/{key_id}"

    client.tag_resource(resourceArn=arn, tags={"b": "2", "c d": "3"})
    client.untag_resource(resourceArn=arn, tagKeys=["a", "c d"])

    assert client.get_tags(resourceArn=arn)["tags"] == {"b": "2"}
    assert client.get_api_key(apiKey=key_id)["tags"] == {"b": "2"}
    assert client.get_api_keys()["items"][0]["tags"] == {"b": "2"}


@pytest.mark.parametrize("tags", [{"aws:x": "1"}, {"k" * 129: "1"}, {"k": "v" * 257}, {f"k{n}": "" for n in range(51)}])
def test_tags_refuse_what_aws_does_not_store(client, tags):
    key_id = _create(client, "one", tags={"a": "1"})["id"]

    refused = refusal(client.tag_resource, resourceArn=f"arn:aws:apigateway:us-east-1::/apikeys/{key_id}", tags=tags)

    assert refused[:2] == (400, "BadRequestException")
    assert client.get_api_key(apiKey=key_id)["tags"] == {"a": "1"}


@pytest.mark.parametrize(
    ("arn", "status"),
    [("arn:aws:apigateway:us-east-1::/apikeys/none", 404), ("arn:aws:s3:::bucket", 400), ("nothing", 400)],
)
def test_tags_refuse_arns_that_name_nothing(client, arn, status):
    assert refusal(client.get_tags, resourceArn=arn)[0] == status


def test_key_cap_is_a_limit_exceeded(sandbox):
    sandbox.settings(key_cap=1)
    client = sandbox.client()
    _create(client, "one")

    assert refusal(client.create_api_key, name="two")[:2] == (429, "LimitExceededException")
