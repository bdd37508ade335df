"""Who may call which endpoint of the REST API: every URL, every method, every kind of token.

``api_matrix.txt`` holds a row a URL and method with the status that each caller gets. An endpoint that the file lacks fails the test.
``PRINT_MATRIX=1 pytest tests/access -k every_endpoint -s`` prints what is answered now, for a person to read line by line.
"""

from __future__ import annotations

import os
import re
import sys
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import resolve
from django.utils import timezone

from keys.models import ApiKey, Finding, GatewayKey, ReconcileRun, Stage
from keys.services import adoptions
from tenants.audit import SYSTEM
from tenants.models import AuditEvent, EventType, Scope, Tenant, Token, User, WebhookDelivery
from tenants.rights import STAFF_SCOPES, TENANT_SCOPES
from tenants.webhooks import endpoints
from tests.access import matrix
from tests.support.api import ApiClient, make_client, token_for
from tests.support.factories import bring_into_service, buy, make_tier

pytestmark = pytest.mark.django_db

MATRIX = Path(__file__).with_name("api_matrix.txt")
CALLERS = ("none", "expired", "revoked", "wrong", "read", "write", "other", "staff")
PREFIX = "api/v1/"


@pytest.fixture
def world(acme: Tenant, alice: User, bob: User, charlie: User, sam: User) -> dict[str, Any]:
    """One object of each kind, all of Acme, of Sam or of the portal; by the collection that its URL stands in."""
    pooled = make_tier(slug="free", pool_size=1)
    api_key = buy(acme, make_tier(slug="test"))
    bring_into_service()
    gateway = api_key.gateway_key.gateway
    run = ReconcileRun.objects.create(gateway=gateway)
    finding = Finding.objects.create(run=run, gateway=gateway, kind="extra", subject="gateway key", detail="", action="")
    endpoint, _secret = endpoints.register(tenant=acme, url="https://example.com/hook", types=[EventType.KEY_READY], actor=SYSTEM)
    delivery = endpoints.send_test(endpoint=endpoint, actor=SYSTEM)
    token_for(alice, name="Seen")
    token_for(sam, name="Seen")
    return {
        "keys": api_key.pk,
        "tiers": "free",
        "tokens": Token.objects.get(user=alice, name="Seen").pk,
        "webhooks": endpoint.pk,
        "deliveries": delivery.event_id,
        "staff/tiers": pooled.pk,
        "staff/pools": pooled.pk,
        "staff/gateways": gateway.pk,
        "staff/stages": Stage.objects.first().pk,
        "staff/gateway-keys": GatewayKey.objects.get(role="pool").pk,
        "staff/tenants": acme.pk,
        "staff/keys": api_key.pk,
        "staff/reconcile-runs": run.pk,
        "staff/findings": finding.pk,
        "staff/adoptions": adoptions.ask(gateway=gateway, actor=SYSTEM).pk,
        "staff/tokens": Token.objects.get(user=sam, name="Seen").pk,
        "staff/audit-events": AuditEvent.objects.first().pk,
    }


def path_of(world: dict[str, Any], route: str, *, instead: Any = None) -> str:
    """The route with ids of the world in it; ``instead``: with this id wherever an id of a tenant's object stands."""
    parts, path = route.removeprefix(PREFIX).split("/"), []
    for place, part in enumerate(parts):
        if part.startswith("<"):
            names = [name for name in (parts[place - 1], f"{parts[0]}/{parts[place - 1]}") if name in world]
            path.append(str(instead if instead is not None else world[names[-1] if route.startswith(f"{PREFIX}staff/") else names[0]]))
        else:
            path.append(part)
    return f"/{PREFIX}{'/'.join(path)}"


class Callers:
    """A client for each column; that of the wrong scope depends on what is called."""

    def __init__(self, alice: User, bob: User, charlie: User, sam: User) -> None:
        self.alice, self.sam = alice, sam
        soon = timezone.now() + timedelta(hours=1)
        self.clients = {
            "none": ApiClient(None),
            "expired": make_client(alice, name="Expired", expires_at=soon),
            "revoked": make_client(alice, name="Revoked"),
            "read": make_client(bob),
            "write": make_client(alice),
            "other": make_client(charlie),
            "staff": make_client(sam),
        }
        past = timezone.now() - timedelta(seconds=1)
        Token.objects.filter(name="Expired").update(created_at=past, expires_at=past)
        Token.objects.filter(name="Revoked").update(revoked_at=past)
        self.lacking: dict[Scope | None, ApiClient] = {}

    def of(self, name: str, path: str, method: str) -> ApiClient:
        return self._lacking(path, method) if name == "wrong" else self.clients[name]

    def _lacking(self, path: str, method: str) -> ApiClient:
        """A token of who may do everything there, with every scope but the one that is needed."""
        needed: Scope | None = resolve(path).func.view_class.scopes.get(method)
        if needed not in self.lacking:
            person, scopes = (self.sam, STAFF_SCOPES) if needed in STAFF_SCOPES else (self.alice, TENANT_SCOPES)
            self.lacking[needed] = make_client(person, scopes=scopes - {needed})
        return self.lacking[needed]


@pytest.fixture
def callers(world: dict[str, Any], alice: User, bob: User, charlie: User, sam: User) -> Callers:
    return Callers(alice, bob, charlie, sam)


def status_of(client: ApiClient, method: str, path: str) -> int:
    """What is answered; whatever the call changed is rolled back."""
    cache.clear()
    with transaction.atomic():
        answer = client.call(method, path, {})
        transaction.set_rollback(True)
    assert answer.status_code == 204 or answer["Content-Type"] in {"application/json", "application/problem+json"}, path
    return int(answer.status_code)


def api_routes() -> list[str]:
    return [route for route in matrix.routes() if route.startswith(PREFIX)]


def test_every_endpoint_answers_every_caller_as_the_matrix_says(world: dict[str, Any], callers: Callers) -> None:
    found = {}
    for route in api_routes():
        path = path_of(world, route)
        for method in matrix.METHODS:
            found[(route, method)] = tuple(status_of(callers.of(name, path, method), method, path) for name in CALLERS)
    if os.environ.get("PRINT_MATRIX"):
        sys.stdout.write("".join(f"{matrix.line_of(*key, statuses)}\n" for key, statuses in found.items()))
    expected = matrix.expected(MATRIX)

    assert [matrix.line_of(*key, ()).strip() for key in found.keys() - expected.keys()] == [], "endpoints that the matrix lacks"
    assert [matrix.line_of(*key, ()).strip() for key in expected.keys() - found.keys()] == [], "endpoints that are no more"
    assert [matrix.line_of(*key, found[key]) for key in found if found[key] != expected[key]] == []


# Collections of which each tenant has its own.
OWN = re.compile(r"api/v1/(keys|tokens|webhooks)/<")


def test_another_tenants_object_cannot_be_told_from_a_missing_one(world: dict[str, Any], callers: Callers) -> None:
    client = callers.clients["other"]
    for route in (route for route in api_routes() if OWN.match(route)):
        for method in matrix.METHODS:
            answers = []
            for path in (path_of(world, route), path_of(world, route, instead=uuid.uuid4())):
                cache.clear()
                client.call(method, path, {})  # whatever is remembered after a first call is remembered for both
                with CaptureQueriesContext(
                    connection,
                ) as queries:
                    answer = client.call(method, path, {})
                told = answer.json() if answer.content else {}
                told.pop("request_id", None)
                headers = sorted(name for name in answer.headers)
                answers.append((answer.status_code, told, headers, len(queries)))

            assert answers[0] == answers[1], (method, route)
            assert answers[0][0] in {400, 404, 405}, (method, route)


def test_nothing_was_done_to_another_tenants_objects(world: dict[str, Any], callers: Callers) -> None:
    before = _state(world)
    for name in ("other", "expired", "revoked", "wrong", "none", "read"):
        for route in (route for route in api_routes() if OWN.match(route)):
            path = path_of(world, route)
            for method in ("POST", "PUT", "PATCH", "DELETE"):
                cache.clear()
                callers.of(name, path, method).call(method, path, {})

    assert _state(world) == before


def _state(world: dict[str, Any]) -> list[Any]:
    return [
        ApiKey.objects.values().get(pk=world["keys"]),
        [row for row in Token.objects.order_by("pk").values("pk", "name", "revoked_at", "scopes") if row["name"] == "Seen"],
        list(
            WebhookDelivery.objects.values(
                "pk", "endpoint__url", "endpoint__disabled_at", "endpoint__deleted_at", "endpoint__secret_encrypted"
            )
        ),
        AuditEvent.objects.exclude(action="token.made").count(),
    ]
