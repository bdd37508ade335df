"""Settings: tokens, whose secret is shown once."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.utils import timezone

from tenants.models import AuditEvent, Membership, Role, Tenant, Token, User
from tests.support.api import ApiClient, token_for
from tests.support.cast import PASSWORD, make_member

pytestmark = pytest.mark.django_db

LIST, NEW = "/settings/tokens/", "/settings/tokens/new/"
DAYS_90 = str(90 * 24 * 3600)


def form(**fields: Any) -> dict[str, Any]:
    return {"name": "CI", "scopes": ["keys:read", "tenant:read"], "lifetime": DAYS_90, "new_id": str(uuid.uuid4()), **fields}


def secret_in(page: str) -> str:
    found = re.search(r"tgp[0-9A-Za-z]{20,}", page)
    assert found
    return found.group()


def everything_stored() -> str:
    """All rows of all tables, as text."""
    rows = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")  # noqa: S608 - our own tables
            rows += cursor.fetchall()
    return str(rows)


def test_secret_is_in_that_answer_and_nowhere_else(as_alice: Client, acme: Tenant, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    answer = as_alice.post(NEW, form())

    secret = secret_in(answer.content.decode())
    assert answer.status_code == 200
    assert "no-store" in answer.headers["Cache-Control"]
    assert ApiClient(secret).get("/tenant").json()["name"] == "Acme"
    token = Token.objects.get()
    assert (token.tenant, token.name, token.scopes) == (acme, "CI", ["keys:read", "tenant:read"])
    assert token.expires_at is not None
    assert timedelta(days=89) < token.expires_at - timezone.now() <= timedelta(days=90)
    assert secret not in everything_stored()
    assert all(secret not in str(session.get_decoded()) for session in Session.objects.all())
    assert secret not in caplog.text
    assert secret not in str(answer.cookies)
    page = as_alice.get(LIST).content.decode()
    assert secret not in page
    assert f"{token.prefix}..." in page
    assert AuditEvent.objects.get(action="token.made").target_id == str(token.pk)


def test_same_form_sent_again_makes_no_second_token(as_alice: Client) -> None:
    fields = form()
    secret = secret_in(as_alice.post(NEW, fields).content.decode())

    again = as_alice.post(NEW, fields, follow=True)

    assert Token.objects.count() == 1
    assert again.redirect_chain[-1][0] == LIST
    assert "This form was sent before" in again.content.decode()
    assert secret not in again.content.decode()


def test_it_may_never_expire(as_alice: Client) -> None:
    as_alice.post(NEW, form(lifetime=""))

    assert Token.objects.get().expires_at is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"scopes": []},
        {"scopes": ["staff:read"]},
        {"scopes": ["keys:everything"]},
        {"lifetime": "1"},
        {"new_id": ""},
        {"new_id": "1"},
        {"name": "a\0"},
    ],
)
def test_wrong_input_is_shown_with_the_form(as_alice: Client, wrong: dict[str, Any]) -> None:
    answer = as_alice.post(NEW, form(**wrong))

    assert answer.status_code == 200
    assert "errorlist" in answer.content.decode()
    assert not Token.objects.exists()


def test_old_session_is_asked_for_the_password_first(client: Client, alice: User) -> None:
    client.force_login(alice)

    for answer in (client.get(NEW), client.post(NEW, form())):
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith("/accounts/reauthenticate/?next=")
    assert not Token.objects.exists()


def test_without_the_csrf_token_nothing_is_made(alice: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)

    assert client.post(NEW, form()).status_code == 403
    assert not Token.objects.exists()


@pytest.mark.parametrize("role", [Role.MEMBER, Role.VIEWER])
def test_lower_roles_look_and_make_none(signed_in: Callable[[User], Client], acme: Tenant, alice: User, role: Role) -> None:
    token_for(alice, name="Deploy")
    token = Token.objects.get()
    client = signed_in(make_member("erin@example.com", acme, role))

    page = client.get(LIST).content.decode()

    assert "Deploy" in page
    assert NEW not in page
    assert str(token.pk) not in page
    assert client.get(NEW).status_code == client.post(NEW, form()).status_code == 403
    assert client.post(f"{LIST}{token.pk}/revoke/").status_code == 403
    assert Token.objects.get().revoked_at is None


def test_admin_may(signed_in: Callable[[User], Client], acme: Tenant) -> None:
    client = signed_in(make_member("erin@example.com", acme, Role.ADMIN))

    assert ApiClient(secret_in(client.post(NEW, form()).content.decode())).get("/tenant").status_code == 200


def test_revoking_asks_and_ends_it(as_alice: Client, alice: User) -> None:
    secret = token_for(alice, name="Deploy")
    url = f"{LIST}{Token.objects.get().pk}/revoke/"

    assert "cannot come back" in as_alice.get(url).content.decode()
    assert ApiClient(secret).get("/tenant").status_code == 200
    page = as_alice.post(url, follow=True).content.decode()

    assert "The token “Deploy” was revoked." in page
    assert "Revoked" in page
    assert ApiClient(secret).get("/tenant").status_code == 401
    as_alice.post(url)
    assert AuditEvent.objects.filter(action="token.revoked").count() == 1


def test_another_tenants_token_is_not_found(signed_in: Callable[[User], Client], alice: User, charlie: User) -> None:
    token_for(alice)
    client = signed_in(charlie)
    url = f"{LIST}{Token.objects.get().pk}/revoke/"

    assert client.get(url).status_code == client.post(url).status_code == 404
    assert Token.objects.get().revoked_at is None
    assert "No tokens yet" in client.get(LIST).content.decode()


def test_list_says_how_each_stands(as_alice: Client, acme: Tenant, alice: User) -> None:
    erin = make_member("erin@example.com", acme, Role.ADMIN)
    token_for(erin, name="Of who left")
    token_for(alice, name="Expires", expires_at=timezone.now() + timedelta(hours=1))
    Membership.objects.filter(user=erin).delete()

    page = as_alice.get(LIST).content.decode()
    assert "Has no rights left" in page
    assert page.count("status--good") == 1

    Token.objects.filter(name="Expires").update(
        created_at=timezone.now() - timedelta(days=1), expires_at=timezone.now() - timedelta(seconds=1)
    )
    page = as_alice.get(LIST).content.decode()
    assert "Tokens that have ended" in page
    assert "Expired" in page


def test_making_is_limited(as_alice: Client) -> None:
    with time_machine.travel(timezone.now(), tick=False):  # within one minute of the limit
        for _ in range(10):
            as_alice.post(NEW, form(name=""))
        answer = as_alice.post(NEW, form())

    assert answer.status_code == 429
    assert "making tokens" in answer.content.decode()
    cache.clear()


def test_staff_make_list_and_revoke_their_own(signed_in: Callable[[User], Client], sam: User, alice: User) -> None:
    token_for(alice, name="Of Acme")
    client = signed_in(sam)

    made = client.post("/settings/staff-tokens/new/", form(scopes=["staff:read"])).content.decode()

    token = Token.objects.get(tenant=None)
    assert (token.user, token.scopes) == (sam, ["staff:read"])
    assert token.prefix == secret_in(made)[: len(token.prefix)]
    page = client.get("/settings/staff-tokens/").content.decode()
    assert "CI" in page
    assert "Of Acme" not in page
    client.post(f"/settings/staff-tokens/{token.pk}/revoke/")
    token.refresh_from_db()
    assert token.revoked_at is not None


def test_staff_do_not_revoke_each_others_there(signed_in: Callable[[User], Client], sam: User, alice: User) -> None:
    token_for(sam)
    alice.is_staff = True
    alice.save()
    client = signed_in(alice)

    assert client.post(f"/settings/staff-tokens/{Token.objects.get().pk}/revoke/").status_code == 404


def test_staff_tokens_are_for_staff(signed_in: Callable[[User], Client], alice: User, client: Client) -> None:
    owner = signed_in(alice)

    for url in ("/settings/staff-tokens/", "/settings/staff-tokens/new/"):
        assert owner.get(url).status_code == 403
        assert client.get(url).status_code == 302
    assert owner.post("/settings/staff-tokens/new/", form(scopes=["staff:read"])).status_code == 403
    assert not Token.objects.exists()


def test_staff_find_and_revoke_a_token_and_see_no_digest(signed_in: Callable[[User], Client], sam: User, alice: User) -> None:
    secret = token_for(alice, name="Deploy")
    token = Token.objects.get()
    client = signed_in(sam)

    listed = client.get("/staff/tenants/token/", {"q": token.prefix}).content.decode()
    shown = client.get(f"/staff/tenants/token/{token.pk}/change/").content.decode()
    assert "Deploy" in listed
    assert "Deploy" in shown
    assert "Deploy" not in client.get("/staff/tenants/token/", {"q": "tgpnosuch"}).content.decode()
    for page in (listed, shown):
        assert token.sha256 not in page
        assert secret not in page
    client.post(f"/staff/tenants/token/{token.pk}/revoke/")
    assert ApiClient(secret).get("/tenant").status_code == 401


def test_signing_in_by_password_is_fresh(client: Client, alice: User) -> None:
    client.post("/accounts/login/", {"login": alice.email, "password": PASSWORD})

    assert client.get(NEW).status_code == 200
