"""What somebody would try who means harm: tokens that breed, bodies that cost more than they should, moments outside of time."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tenants.models import AuditEvent, Tenant, Token, User
from tenants.services.tokens import make_token
from tests.support.api import ApiClient, make_client

pytestmark = [pytest.mark.django_db, pytest.mark.flow]  # "flow": on both databases


class TestTokensOfTokens:
    """A token that ends must not leave one behind that does not."""

    @pytest.mark.parametrize("lives", [None, timedelta(hours=2)])
    def test_none_outlives_its_maker(self, alice: User, lives: timedelta | None) -> None:
        short = make_client(alice, expires_at=timezone.now() + timedelta(hours=1))
        ends = None if lives is None else (timezone.now() + lives).isoformat()
        answer = short.post("/tokens", {"name": "x", "scopes": ["keys:read"], "expires_at": ends})
        assert answer.status_code == 400
        assert [error["field"] for error in answer.json()["errors"]] == ["expires_at"]
        assert Token.objects.count() == 1

    def test_one_that_ends_earlier_is_made(self, alice: User) -> None:
        short = make_client(alice, expires_at=timezone.now() + timedelta(hours=1))
        ends = (timezone.now() + timedelta(minutes=30)).isoformat()
        assert short.post("/tokens", {"name": "x", "scopes": ["keys:read"], "expires_at": ends}).status_code == 201

    def test_staff_alike(self, sam: User) -> None:
        short = make_client(sam, expires_at=timezone.now() + timedelta(hours=1))
        answer = short.post("/staff/tokens", {"name": "x", "scopes": ["staff:read"]})
        assert answer.status_code == 400
        assert [error["field"] for error in answer.json()["errors"]] == ["expires_at"]


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00"])
@pytest.mark.parametrize("name", ["created_after", "created_before"])
def test_moments_that_utc_does_not_have_are_wrong_fields(api: ApiClient, name: str, moment: str) -> None:
    answer = api.get(f"/audit-events?{name}={moment}")
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [name]


@pytest.mark.parametrize(
    "body",
    [
        {str(number): 0 for number in range(100_000)},
        {"name": "x", "scopes": ["x"] * 250_000},
        {"name": "x", "scopes": [{}] * 250_000},
        {"name": "x", "scopes": ["x" * 1_000_000]},
        {"x" * 1_000_000: 0},
    ],
    ids=["unknown fields", "wrong scopes", "objects as scopes", "one long scope", "one long name"],
)
def test_large_wrong_bodies_get_small_answers_soon(api: ApiClient, body: Any) -> None:
    sent = json.dumps(body, separators=(",", ":")).encode()
    started = time.process_time()
    answer = api.post("/tokens", sent)
    assert answer.status_code == 400
    assert len(answer.content) < 50_000
    assert time.process_time() - started < 4.0


def test_audit_trail_tells_of_unknown_actions_no_details(api: ApiClient, acme: Tenant) -> None:
    """What a new action writes down for staff is not told to tenants until somebody decided that it may be."""
    AuditEvent.objects.create(
        tenant=acme, actor_label="x", action="api_key.sent_to_the_moon", target_type="apikey", target_id="1", data={"pool": "p1"}
    )
    [found] = [each for each in api.get("/audit-events").json()["data"] if each["action"] == "api_key.sent_to_the_moon"]
    assert found["details"] == {}


def test_audit_trail_tells_what_members_did(api: ApiClient, acme: Tenant, alice: User) -> None:
    from tenants.audit import Actor

    make_token(
        user=alice,
        tenant=acme,
        name="x",
        scopes=["keys:read"],
        expires_at=None,
        within=["keys:read"],
        actor=Actor(user=alice, label=alice.email),
    )
    newest = api.get("/audit-events").json()["data"][0]
    assert (newest["actor"], newest["action"]) == ("alice@example.com", "token.made")
    assert newest["details"] == {"scopes": ["keys:read"], "expires_at": None}


@pytest.mark.parametrize(
    "items",
    [[{}] * 300_000, [0] * 500_000, [{str(number): 0 for number in range(100)}] * 900],
    ids=["empty items", "numbers", "unknown fields"],
)
def test_large_wrong_batches_get_small_answers_soon(api: ApiClient, items: Any) -> None:
    sent = json.dumps({"items": items}, separators=(",", ":")).encode()
    started = time.process_time()
    answer = api.post("/keys/batch", sent)
    assert answer.status_code == 400
    assert len(answer.content) < 50_000
    assert time.process_time() - started < 8.0
