"""The access matrix, cell by cell."""

from __future__ import annotations

import os
import sys
import uuid
from typing import Any

import pytest
from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.test import Client

from keys.models import Adoption, ApiKey, Finding, GatewayKey, ReconcileRun, Stage, Tier
from keys.services import adoptions
from tenants.audit import SYSTEM
from tenants.models import AuditEvent, EventType, Tenant, Token, User
from tenants.webhooks import endpoints
from tests.access import matrix
from tests.support.api import token_for
from tests.support.cast import PASSWORD
from tests.support.factories import bring_into_service, buy, make_tier

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(acme: Tenant, alice: User, bob: User, charlie: User, sam: User) -> dict[str, Any]:
    """One object of each kind, all of Acme or of the portal."""
    make_tier(slug="free", pool_size=1)
    tier = make_tier(slug="test")
    api_key = buy(acme, tier)
    bring_into_service()
    run = ReconcileRun.objects.create(gateway=api_key.gateway_key.gateway)
    Finding.objects.create(run=run, gateway=run.gateway, kind="extra", subject="gateway key", detail="", action="")
    adoptions.ask(gateway=run.gateway, actor=SYSTEM)
    token_for(sam)
    token_for(alice)
    webhook, _secret = endpoints.register(tenant=acme, url="https://example.com/", types=[EventType.KEY_READY], actor=SYSTEM)
    return {"api_key": api_key, "webhook": webhook, "event": endpoints.send_test(endpoint=webhook, actor=SYSTEM).event_id}


def argument(world: dict[str, Any], route: str, name: str) -> Any:
    """A value for one parameter of one route."""
    api_key: ApiKey = world["api_key"]
    if route.startswith("docs/errors/"):
        return "not-found"
    if route.startswith("api/v1/staff/"):
        return _of_staff(world, route.split("/")[3])
    if route.startswith("staff/"):
        return _of_admin(world, route, name)
    token = Token.objects.get(tenant=None if "staff-" in route else api_key.tenant_id)
    pk = world["webhook"].pk if "webhooks/" in route else token.pk if "tokens/" in route else api_key.pk
    samples = {
        "pk": pk,
        "event": world["event"],
        "delivery_id": world["event"],
        "slug": "free",
        "key": "MQ:abc",
        "uidb36": "1",
        "tenant_id": api_key.tenant_id,
    }
    return samples.get(name, uuid.UUID(int=1) if name.endswith("id") else "none")


def _of_admin(world: dict[str, Any], route: str, name: str) -> Any:
    samples = {"content_type_id": ContentType.objects.get_for_model(ApiKey).pk, "app_label": "keys", "url": "nowhere/"}
    if name in samples:
        return samples[name]
    _staff, app, model, *_rest = route.split("/")
    if model == "tier":
        return Tier.objects.get(slug="free").pk  # what a pool can do, a siloed tier refuses
    return world["api_key"].pk if app == "r" else apps.get_model(app, model).objects.first().pk


def _of_staff(world: dict[str, Any], collection: str) -> Any:
    """The id of one object of a collection of the staff's part of the API."""
    api_key: ApiKey = world["api_key"]
    return {
        "tiers": api_key.tier_id,
        "pools": Tier.objects.get(slug="free").pk,
        "gateways": api_key.gateway_key.gateway_id,
        "stages": Stage.objects.get().pk,
        "gateway-keys": GatewayKey.objects.get(role="pool").pk,
        "tenants": api_key.tenant_id,
        "keys": api_key.pk,
        "adoptions": Adoption.objects.get().pk,
        "tokens": Token.objects.get(tenant=None).pk,
    }[collection]


@pytest.fixture
def clients(world: dict[str, Any], alice: User, bob: User, charlie: User, sam: User) -> dict[str, Client]:
    people = {"owner": alice, "viewer": bob, "other": charlie, "staff": sam}
    clients = {"anonymous": Client()}
    for name, user in people.items():
        clients[name] = Client()
        # Through the page, so that each has just proved who they are, as for reveal.
        clients[name].post("/accounts/login/", {"login": user.email, "password": PASSWORD})
        clients[name].get("/keys/")  # shows the greeting, which stands on one page only
    return clients


def measured(world: dict[str, Any], clients: dict[str, Client]) -> dict[tuple[str, str], tuple[int, ...]]:
    rows = {}
    for route in matrix.routes():
        path = matrix.path_of(route, lambda of, name: argument(world, of, name))
        for method in matrix.METHODS:
            rows[(route, method)] = tuple(matrix.status_of(clients[name], method, path) for name in matrix.PEOPLE)
    return rows


def test_every_url_answers_everyone_as_the_matrix_says(world: dict[str, Any], clients: dict[str, Client]) -> None:
    found, expected = measured(world, clients), matrix.expected()
    if os.environ.get("PRINT_MATRIX"):
        sys.stdout.write("\n".join(matrix.line_of(*key, statuses) for key, statuses in found.items()))

    assert [matrix.line_of(*key, ()).strip() for key in found.keys() - expected.keys()] == [], "URLs that the matrix lacks"
    assert [matrix.line_of(*key, ()).strip() for key in expected.keys() - found.keys()] == [], "URLs that are no more"
    assert [matrix.line_of(*key, found[key]) for key in found if found[key] != expected[key]] == []


@pytest.mark.parametrize("method", matrix.METHODS)
def test_another_tenants_key_cannot_be_told_from_a_missing_one(world: dict[str, Any], clients: dict[str, Client], method: str) -> None:
    for route in (route for route in matrix.routes() if route.startswith("keys/<")):
        answers = []
        for pk in (world["api_key"].pk, uuid.uuid4()):
            answer = clients["other"].generic(method, matrix.path_of(route, lambda _route, _name, pk=pk: pk))
            text = answer.content.decode().replace(str(pk), "")
            answers.append((answer.status_code, len(text.split()), sorted(answer.headers)))

        assert answers[0] == answers[1], route
        assert answers[0][0] in (404, 405), route


def test_nothing_was_done_to_another_tenants_key(world: dict[str, Any], clients: dict[str, Client]) -> None:
    before = ApiKey.objects.values().get(pk=world["api_key"].pk)
    events = AuditEvent.objects.count()

    for route in (route for route in matrix.routes() if route.startswith("keys/<")):
        for method in matrix.METHODS:
            clients["other"].generic(method, matrix.path_of(route, lambda _route, _name: world["api_key"].pk))

    assert ApiKey.objects.values().get(pk=world["api_key"].pk) == before
    assert AuditEvent.objects.count() == events
