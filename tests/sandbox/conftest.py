"""Clients for the contract: the same scenarios over HTTP, without sockets, and against moto where it is right."""

from __future__ import annotations

import boto3
import pytest
from moto import mock_aws

from sandbox.app import Sandbox
from sandbox.clock import Clock
from tests.support import inprocess


class Hand:
    """A time that is moved by hand."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def hand():
    """Wednesday 2026-04-15 12:00 UTC, until it is moved."""
    return Hand(1_776_254_400.0)


@pytest.fixture
def app(hand):
    """A sandbox without sockets whose time stands at ``hand``."""
    return Sandbox(clock=Clock(hand))


@pytest.fixture(params=["http", "inprocess"])
def client(request):
    """A boto3 client of an empty sandbox, over HTTP and in process."""
    if request.param == "http":
        return request.getfixturevalue("sandbox").client()
    return inprocess.client(Sandbox())


@pytest.fixture(params=["http", "inprocess", "moto"])
def client_or_moto(request, monkeypatch):
    """As ``client``, and moto: for what the reference says that moto does as AWS."""
    if request.param == "http":
        yield request.getfixturevalue("sandbox").client()
    elif request.param == "inprocess":
        yield inprocess.client(Sandbox())
    else:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "testing")
        monkeypatch.delenv("AWS_ENDPOINT_URL_API_GATEWAY", raising=False)
        with mock_aws():
            yield boto3.client("apigateway", region_name="us-east-1")


@pytest.fixture
def stage_of():
    """Return a function that names an API and stage: the sandbox's, or one made in moto."""

    def make(client):
        if client.meta.endpoint_url.endswith(".amazonaws.com"):
            api_id = client.create_rest_api(name="groceries")["id"]
            root = client.get_resources(restApiId=api_id)["items"][0]["id"]
            client.put_method(restApiId=api_id, resourceId=root, httpMethod="GET", authorizationType="NONE")
            client.put_integration(restApiId=api_id, resourceId=root, httpMethod="GET", type="MOCK", integrationHttpMethod="GET")
            client.create_deployment(restApiId=api_id, stageName="v1")
            return {"apiId": api_id, "stage": "v1"}
        return {"apiId": "groceries", "stage": "v1"}

    return make
