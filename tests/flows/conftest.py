"""A whole Tollgate for a test: the portal (Django's client), a real worker on a real broker, and the sandbox over HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from keys.models import ApiKey, Tier
from keys.services import api_keys
from tenants.audit import SYSTEM
from tenants.models import User
from tests.support.sandbox import SandboxProcess
from tests.support.services import Broker, is_at_rest, wait_until

FLOW_SECONDS = 20


class World:
    """Alice at the portal, with the sandbox behind it."""

    def __init__(self, client: Client, sandbox: SandboxProcess, broker: Broker) -> None:
        self.client = client
        self.sandbox = sandbox
        self.broker = broker

    def buy(self, slug: str, *, name: str = "Shop", token: uuid.UUID | None = None) -> ApiKey:
        """Buy through the page, as a browser would."""
        fields = {"name": name, "description": "", "purchase_token": str(token or uuid.uuid4())}
        answer = self.client.post(f"/keys/buy/{slug}/", fields)
        assert answer.status_code == 302, answer.content.decode()
        return ApiKey.objects.get(pk=answer["Location"].strip("/").split("/")[-1])

    def post(self, api_key: ApiKey, action: str, **fields: Any) -> None:
        answer = self.client.post(f"/keys/{api_key.pk}/{action}/", fields)
        assert answer.status_code == 302, answer.content.decode()

    def value(self, api_key: ApiKey) -> str:
        """The credential, as its page reveals it."""
        answer = self.client.post(f"/keys/{api_key.pk}/reveal/", headers={"Accept": "application/json"})
        assert answer.status_code == 200, answer.content
        return str(answer.json()["value"])

    def call(self, value: str) -> int:
        return self.sandbox.invoke(value).status

    def settle(self) -> None:
        """Wait until nothing is left to do."""
        from keys.selectors import oldest_pending_at  # read anew at each look

        wait_until(lambda: oldest_pending_at() is None, seconds=FLOW_SECONDS, what="quiet")
        self.rest()

    def rest(self) -> None:
        """Wait until the workers have written down what they found (file broker)."""
        if self.broker.kind == "file":
            wait_until(lambda: is_at_rest(self.broker), seconds=FLOW_SECONDS, what="workers with nothing in hand")

    def answers(self, value: str, status: int) -> None:
        """Wait until a call with this credential is answered so."""
        wait_until(lambda: self.call(value) == status, seconds=FLOW_SECONDS, what=f"{status} for a credential")

    def remote_keys(self) -> list[dict[str, Any]]:
        """What API Gateway holds, as boto3 lists it."""
        return list(self.sandbox.client().get_api_keys(limit=500, includeValues=True)["items"])


@pytest.fixture
def stage_environment(sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.GATEWAY_ENDPOINT_URL = sandbox.url
    for name, value in {
        "GATEWAY_ACCOUNT_ID": "000000000000",
        "GATEWAY_REGION": "us-east-1",
        "GATEWAY_REST_API_ID": "groceries",
        "GATEWAY_STAGE": "v1",
        "GATEWAY_INVOKE_URL": f"{sandbox.url}/_aws/execute-api/groceries/v1",
    }.items():
        monkeypatch.setenv(name, value)


def _world(alice: User, sandbox: SandboxProcess, broker: Broker) -> World:
    call_command("register_gateway", propagation=0, name="Sandbox", verbosity=0)
    call_command("seed_tiers", verbosity=0)
    client = Client()
    client.post("/accounts/login/", {"login": alice.email, "password": "correct-horse-battery"})
    return World(client, sandbox, broker)


@pytest.fixture
def world(
    transactional_db: None,
    alice: User,
    sandbox: SandboxProcess,
    stage_environment: None,
    standing_worker: Broker,
) -> World:
    """On the file broker, once the workers have made what the tiers need."""
    world = _world(alice, sandbox, standing_worker)
    world.settle()
    return world


@pytest.fixture
def world_on_each_broker(
    transactional_db: None,
    alice: User,
    sandbox: SandboxProcess,
    stage_environment: None,
    broker: Broker,
    celery_worker_process: Callable[..., Any],
) -> World:
    """On each kind of broker in turn."""
    celery_worker_process(broker)
    world = _world(alice, sandbox, broker)
    world.settle()
    return world


def no_spares(slug: str) -> None:
    """Let the next purchase of a siloed tier wait for the workers."""
    from keys.models import GatewayKey, KeyRole  # beside its one use

    Tier.objects.filter(slug=slug).update(spare_target=0)
    GatewayKey.objects.filter(role=KeyRole.SPARE, usage_plan__tier__slug=slug).update(role=KeyRole.CANARY)


def reveal(api_key: ApiKey) -> str:
    return api_keys.reveal(api_key=api_key, actor=SYSTEM)
