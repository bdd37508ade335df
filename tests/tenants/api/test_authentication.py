"""Who a request comes from: tokens, their ends, their makers; sessions and forgery."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tenants import secret_values
from tenants.models import Membership, Role, Scope, Tenant, Token, User
from tenants.services.tokens import PREFIX
from tests.support.api import API, ApiClient, make_client, token_for
from tests.support.cast import PASSWORD, make_member

pytestmark = pytest.mark.django_db


def slug(answer: HttpResponse) -> str:
    kind: str = answer.json()["type"]  # type: ignore[attr-defined]  # of the test client
    return kind.rstrip("/").rpartition("/")[2]


def assert_refused(answer: HttpResponse, expected: str) -> None:
    assert (answer.status_code, slug(answer)) == (401, expected)
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["WWW-Authenticate"].startswith('Bearer realm="tollgate"')


def changed(secret: str, place: int) -> str:
    return secret[:place] + ("A" if secret[place] != "A" else "B") + secret[place + 1 :]


def test_token_opens_and_says_who_calls(alice: User, acme: Tenant) -> None:
    answer = make_client(alice).get("/tenant")
    assert (answer.status_code, answer.json()["id"]) == (200, str(acme.pk))


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer   "])
def test_scheme_is_read_in_any_case(alice: User, scheme: str) -> None:
    assert ApiClient(None).get("/tenant", Authorization=f"{scheme} {token_for(alice)} ").status_code == 200


@pytest.mark.parametrize("place", [0, 3, 12, 40, 51])
def test_typo_is_told_from_an_unknown_token_without_a_query(alice: User, place: int) -> None:
    secret = changed(token_for(alice), place)
    with CaptureQueriesContext(connection) as queries:
        assert_refused(ApiClient(secret).get("/tenant"), "malformed-token")
    assert len(queries) == 0


def test_unknown_token(alice: User) -> None:
    token_for(alice)
    assert_refused(ApiClient(secret_values.new_secret(PREFIX)).get("/tenant"), "unknown-token")


def test_token_with_the_beginning_of_another_is_unknown(alice: User) -> None:
    secret = token_for(alice)
    body = secret[:11] + secret_values.new_secret(PREFIX)[11:-6]
    assert_refused(ApiClient(body + secret_values._checksum(body)).get("/tenant"), "unknown-token")


def test_prefix_with_a_nul_is_no_token(db: None) -> None:
    body = "tgp\0\0\0\0\0\0\0\0" + "a" * 35
    assert_refused(ApiClient(body + secret_values._checksum(body)).get("/tenant"), "malformed-token")


def test_expired_token(alice: User) -> None:
    secret = token_for(alice, expires_at=timezone.now() + timedelta(days=1))
    assert ApiClient(secret).get("/tenant").status_code == 200
    # Over for a second: SQLite's clock, which is asked, leaves out what is below a millisecond.
    Token.objects.update(created_at=timezone.now() - timedelta(days=2), expires_at=timezone.now() - timedelta(seconds=1))
    assert_refused(ApiClient(secret).get("/tenant"), "expired-token")


def test_revoked_token(api: ApiClient, alice: User) -> None:
    other = make_client(alice, name="Other")
    pk = Token.objects.get(name="Other").pk
    assert api.delete(f"/tokens/{pk}").status_code == 204
    assert_refused(other.get("/tenant"), "revoked-token")
    assert api.get("/tenant").status_code == 200


def test_token_that_revokes_itself_is_over(api: ApiClient) -> None:
    assert api.delete(f"/tokens/{Token.objects.get().pk}").status_code == 204
    assert_refused(api.get("/tenant"), "revoked-token")


def test_token_shrinks_with_its_maker(alice: User, acme: Tenant) -> None:
    make_member("other@example.com", acme)
    api = make_client(alice)
    Membership.objects.filter(user=alice).update(role=Role.VIEWER)
    assert api.get("/tenant").status_code == 200
    refused = api.patch("/tenant", {"name": "Mine"})
    assert (refused.status_code, slug(refused)) == (403, "insufficient-scope")
    assert 'error="insufficient_scope", scope="tenant:write"' in refused["WWW-Authenticate"]

    Membership.objects.filter(user=alice).update(role=Role.OWNER)
    assert api.patch("/tenant", {"name": "Mine"}).status_code == 200


def test_token_of_somebody_who_left_is_over(alice: User, outsiders: Tenant) -> None:
    api = make_client(alice)
    Membership.objects.filter(user=alice).delete()
    assert_refused(api.get("/tenant"), "revoked-token")
    # Nor does it move with them.
    Membership.objects.create(user=alice, tenant=outsiders, role=Role.OWNER)
    assert_refused(api.get("/tenant"), "revoked-token")


def test_token_of_somebody_locked_out_is_over(api: ApiClient, alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(is_active=False)
    assert_refused(api.get("/tenant"), "revoked-token")


def test_token_of_former_staff_is_over(sam: User) -> None:
    staff = make_client(sam)
    assert staff.get("/tokens").status_code in {200, 403}
    User.objects.filter(pk=sam.pk).update(is_staff=False)
    assert_refused(staff.get("/tokens"), "revoked-token")


def test_nothing_at_all_is_401(db: None) -> None:
    answer = ApiClient(None).get("/tenant")
    assert_refused(answer, "not-authenticated")
    assert "error=" not in answer["WWW-Authenticate"]


@pytest.mark.parametrize(
    "header",
    ["Basic YWxpY2U6c2VjcmV0", "Bearer", "Bearer ", "Token {secret}", "{secret}", "Bearer {secret} more", "Bearer {secret},x", "\t"],
)
def test_other_headers_are_no_tokens(alice: User, header: str) -> None:
    answer = ApiClient(None).get("/tenant", Authorization=header.format(secret=token_for(alice)))
    assert_refused(answer, "malformed-token")


def test_token_in_the_url_is_none(alice: User) -> None:
    secret = token_for(alice)
    for name in ("token", "access_token"):
        assert_refused(ApiClient(None).get(f"/tenant?{name}={secret}"), "not-authenticated")


def test_header_beats_cookies(alice: User, charlie: User, acme: Tenant) -> None:
    """Whoever sends a token is who the token says; a session beside it is not even read."""
    both = make_client(alice)
    both.client.force_login(charlie)
    with CaptureQueriesContext(connection) as queries:
        answer = both.get("/tenant")
    assert answer.json()["id"] == str(acme.pk)
    assert not [query["sql"] for query in queries if "django_session" in query["sql"]]


@pytest.mark.parametrize("header", ["Bearer tgpabc", "Basic YTpi", "Bearer {unknown}"])
def test_wrong_header_beside_a_good_session_is_401(alice: User, header: str) -> None:
    client = ApiClient(None)
    client.client.force_login(alice)
    assert client.get("/tenant").status_code == 200
    with CaptureQueriesContext(connection) as queries:
        answer = client.get("/tenant", Authorization=header.format(unknown=secret_values.new_secret(PREFIX)))
    assert answer.status_code == 401
    assert not [query["sql"] for query in queries if "django_session" in query["sql"]]
    assert not answer.cookies


def test_token_needs_no_csrf(alice: User) -> None:
    client = ApiClient(token_for(alice))
    client.client = Client(enforce_csrf_checks=True)
    assert client.patch("/tenant", {"name": "Other"}).status_code == 200


class TestSession:
    @pytest.fixture
    def browser(self, alice: User) -> Client:
        client = Client(enforce_csrf_checks=True)
        client.force_login(alice)
        return client

    def csrf(self, browser: Client, settings: Any) -> str:
        browser.get("/accounts/password/change/")
        if settings.CSRF_COOKIE_NAME not in browser.cookies:
            browser.cookies[settings.CSRF_COOKIE_NAME] = "c" * 32
        value: str = browser.cookies[settings.CSRF_COOKIE_NAME].value
        return value

    def rename(self, browser: Client, **headers: str) -> Any:
        return browser.patch(f"{API}/tenant", {"name": "Renamed"}, content_type="application/json", headers=headers)

    def test_reads_without_csrf(self, browser: Client, acme: Tenant) -> None:
        assert browser.get(f"{API}/tenant").json()["id"] == str(acme.pk)

    def test_changes_with_csrf(self, browser: Client, settings: Any, acme: Tenant) -> None:
        assert self.rename(browser, **{"X-CSRFToken": self.csrf(browser, settings)}).status_code == 200
        acme.refresh_from_db()
        assert acme.name == "Renamed"

    @pytest.mark.parametrize("kind", ["none", "wrong", "stale", "foreign"])
    def test_changes_nothing_without(self, browser: Client, settings: Any, acme: Tenant, kind: str) -> None:
        good = self.csrf(browser, settings)
        headers = {
            "none": {},
            "wrong": {"X-CSRFToken": "d" * 32},
            "stale": {"X-CSRFToken": good},
            "foreign": {"X-CSRFToken": good, "Origin": "https://evil.example.com"},
        }[kind]
        if kind == "stale":  # the cookie of a session that began since
            browser.cookies[settings.CSRF_COOKIE_NAME] = "e" * 32
        answer = self.rename(browser, **headers)
        assert (answer.status_code, slug(answer)) == (403, "csrf-failed")
        acme.refresh_from_db()
        assert acme.name == "Acme"

    def test_refuses_to_take_a_token_as_csrf(self, browser: Client, alice: User) -> None:
        assert self.rename(browser, **{"X-CSRFToken": token_for(alice)}).status_code == 403

    def test_ends_with_the_account(self, browser: Client, alice: User) -> None:
        User.objects.filter(pk=alice.pk).update(is_active=False)
        assert_refused(browser.get(f"{API}/tenant"), "not-authenticated")

    def test_acts_for_the_tenant_that_was_chosen(self, alice: User, outsiders: Tenant) -> None:
        Membership.objects.create(user=alice, tenant=outsiders, role=Role.VIEWER)
        browser = Client()
        browser.force_login(alice)
        session = browser.session
        session["tenant_id"] = str(outsiders.pk)
        session.save()
        assert browser.get(f"{API}/tenant").json()["name"] == "Outsiders"
        answer = browser.patch(f"{API}/tenant", {"name": "x"}, content_type="application/json")
        assert slug(answer) == "insufficient-scope"

    def test_gets_secrets_only_when_fresh(self, alice: User) -> None:
        browser = Client()
        browser.force_login(alice)  # without a recent proof of who they are
        answer = browser.post(f"{API}/tokens", {"name": "x", "scopes": ["keys:read"]}, content_type="application/json")
        assert (answer.status_code, slug(answer)) == (403, "reauthentication-required")
        browser.logout()
        browser.post("/accounts/login/", {"login": alice.email, "password": PASSWORD})
        answer = browser.post(f"{API}/tokens", {"name": "x", "scopes": ["keys:read"]}, content_type="application/json")
        assert answer.status_code == 201


def test_last_use_is_noted_once_a_minute(alice: User, django_assert_num_queries: Any) -> None:
    api = make_client(alice)
    assert Token.objects.get().last_used_at is None
    api.get("/tenant")
    noted = Token.objects.get().last_used_at
    assert noted is not None
    with CaptureQueriesContext(connection) as queries:
        api.get("/tenant")
    assert [query["sql"] for query in queries if "UPDATE" in query["sql"]] == []
    assert Token.objects.get().last_used_at == noted

    Token.objects.update(last_used_at=noted - timedelta(seconds=61))
    api.get("/tenant")
    assert Token.objects.get().last_used_at >= noted


def test_refused_tokens_are_not_noted_as_used(alice: User) -> None:
    secret = token_for(alice)
    Token.objects.update(revoked_at=timezone.now())
    ApiClient(secret).get("/tenant")
    assert Token.objects.get().last_used_at is None


def test_wrong_tokens_of_an_address_are_limited(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenants.api.authentication.MOST_FAILURES", "3/m")
    wrong, right = ApiClient("tgpabc"), make_client(alice)
    with time_machine.travel(timezone.now(), tick=False):  # within one minute of the limit
        assert [wrong.get("/tenant").status_code for _ in range(3)] == [401] * 3
        answer = wrong.get("/tenant")
    assert (answer.status_code, slug(answer)) == (429, "rate-limited")
    assert 1 <= int(answer["Retry-After"]) <= 60
    # Right ones from there go on; so does another address.
    assert right.get("/tenant").status_code == 200
    elsewhere = ApiClient("tgpabc")
    elsewhere.client = Client(REMOTE_ADDR="192.0.2.7")
    assert elsewhere.get("/tenant").status_code == 401


def test_stored_token_is_a_digest(alice: User) -> None:
    secret = token_for(alice)
    row = Token.objects.values().get()
    assert secret not in str(row)
    assert row["sha256"] == secret_values.digest(secret)
    assert row["prefix"] == secret[:11]


@pytest.mark.parametrize("scope", Scope.values)
def test_token_cannot_be_made_with_more_than_its_maker_has(alice: User, scope: str) -> None:
    """A token that makes tokens hands on what it has, and nothing else."""
    api = make_client(alice, scopes=[Scope.TENANT_WRITE, Scope.KEYS_READ])
    answer = api.post("/tokens", {"name": "More", "scopes": [scope]})
    if scope in {Scope.TENANT_WRITE, Scope.KEYS_READ}:
        assert answer.status_code == 201
    else:
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "scopes")
        assert not Token.objects.filter(name="More").exists()


def test_a_child_shrinks_with_the_person(alice: User, acme: Tenant) -> None:
    """A token that a token made is the same person's: it goes when they go."""
    child = ApiClient(make_client(alice).post("/tokens", {"name": "Child", "scopes": ["tenant:read", "keys:write"]}).json()["token"])
    assert child.get("/tenant").status_code == 200
    Membership.objects.filter(user=alice).delete()
    assert_refused(child.get("/tenant"), "revoked-token")
