"""Finding a token: the same on both databases as the ORM would read it, in one query; believed in for 2 s at most."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tenants import token_lookup
from tenants.models import Membership, Role, Scope, Tenant, Token, User
from tenants.rights import STAFF_SCOPES, scopes_in_tenant
from tenants.services.tokens import SHOWN
from tests.support.api import token_for
from tests.support.cast import make_member
from tests.support.services import database_url, wait_until

pytestmark = [pytest.mark.django_db, pytest.mark.flow]  # "flow": on both databases


@pytest.fixture(autouse=True)
def _no_memory() -> Iterator[None]:
    token_lookup._cache.clear()
    yield
    token_lookup._cache.clear()


def find(secret: str) -> token_lookup.FoundToken:
    found = token_lookup.find_token(secret[:SHOWN])
    assert found is not None
    return found


def fields(row: Any) -> dict[str, Any]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


@pytest.mark.parametrize("ended", [False, True])
def test_what_is_found_is_what_the_orm_reads(alice: User, acme: Tenant, ended: bool) -> None:
    now = timezone.now()
    secret = token_for(alice, scopes=[Scope.KEYS_READ, Scope.TENANT_READ], expires_at=now + timedelta(hours=1), name="Nightly")
    if ended:
        Token.objects.update(revoked_at=now, last_used_at=now - timedelta(days=1))
        Tenant.objects.update(suspended_at=now)
        User.objects.update(last_login=now, is_active=False)

    found, row = find(secret), Token.objects.select_related("user", "tenant").get()

    assert (found.token_id, found.prefix, found.name, found.sha256) == (row.pk, row.prefix, row.name, row.sha256)
    assert (found.expires_at, found.last_used_at, found.is_revoked) == (row.expires_at, row.last_used_at, ended)
    assert found.scopes == {Scope.KEYS_READ, Scope.TENANT_READ}
    assert found.maker_belongs
    with CaptureQueriesContext(connection) as queries:
        assert fields(found.tenant) == fields(row.tenant)
        for name in ("pk", "email", "is_staff", "is_active", "is_superuser"):
            assert getattr(found.user, name) == getattr(row.user, name)
            assert type(getattr(found.user, name)) is type(getattr(row.user, name))
    assert len(queries) == 0
    # Nobody keeps the hash of a password in memory; what is not there is read when it is asked for.
    assert "password" in found.user.get_deferred_fields()
    assert fields(found.user) == fields(row.user)
    assert not found.user._state.adding


def test_scopes_are_those_that_token_and_maker_have(alice: User, acme: Tenant) -> None:
    make_member("other@example.com", acme, Role.VIEWER)
    secret = token_for(alice)
    for role in Role:
        Membership.objects.filter(user=alice).update(role=role)
        assert find(secret).scopes == scopes_in_tenant(role)

    Membership.objects.filter(user=alice).delete()

    assert find(secret).scopes == frozenset()
    assert not find(secret).maker_belongs


def test_membership_of_another_tenant_lends_nothing(alice: User, acme: Tenant, outsiders: Tenant) -> None:
    secret = token_for(alice)
    Membership.objects.filter(user=alice).update(role=Role.VIEWER)
    Membership.objects.create(user=alice, tenant=outsiders, role=Role.OWNER)

    assert find(secret).scopes == scopes_in_tenant(Role.VIEWER)
    assert find(secret).tenant == acme


def test_token_of_staff_has_no_tenant(sam: User, outsiders: Tenant) -> None:
    secret = token_for(sam)
    found = find(secret)
    assert (found.user, found.tenant, found.scopes) == (sam, None, STAFF_SCOPES)
    # A role in a tenant that they join later is not theirs through it.
    Membership.objects.create(user=sam, tenant=outsiders, role=Role.OWNER)
    assert find(secret).scopes == STAFF_SCOPES
    User.objects.filter(pk=sam.pk).update(is_staff=False)
    assert not find(secret).maker_belongs


@pytest.mark.parametrize("prefix", ["tgp00000000", "", "' OR 1=1 --", "%s", "%", "the prefix", "x" * 500])
def test_unknown_prefix_finds_nothing(alice: User, prefix: str) -> None:
    token_for(alice)
    assert token_lookup.find_token(prefix) is None


def test_one_query_a_look_and_none_from_memory(alice: User, settings: Any) -> None:
    secret = token_for(alice)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        find(secret)
        find(secret)
    assert len(queries) == 2

    settings.API_TOKEN_CACHE_SECONDS = 2
    find(secret)
    with CaptureQueriesContext(connection) as queries:
        assert find(secret).user == alice
    assert len(queries) == 0


def test_memory_lasts_as_long_as_it_is_told(alice: User, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("tenants.token_lookup.time.monotonic", lambda: clock[0])
    settings.API_TOKEN_CACHE_SECONDS = 2
    secret = token_for(alice)
    find(secret)
    Token.objects.update(revoked_at=timezone.now())

    clock[0] += 1.99
    assert not find(secret).is_revoked
    clock[0] += 0.02
    assert find(secret).is_revoked


def test_what_is_not_there_is_not_remembered(alice: User, settings: Any) -> None:
    settings.API_TOKEN_CACHE_SECONDS = 2
    secret = token_for(alice)
    row = Token.objects.get()
    Token.objects.all().delete()
    assert token_lookup.find_token(secret[:SHOWN]) is None
    row.save(force_insert=True)
    assert find(secret).token_id == row.pk


def test_memory_is_bounded(alice: User, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.API_TOKEN_CACHE_SECONDS = 2
    monkeypatch.setattr("tenants.token_lookup.MOST_CACHED", 3)
    for _ in range(10):
        find(token_for(alice))
        assert len(token_lookup._cache) <= 3


def test_expiry_is_looked_at_on_each_use(alice: User, settings: Any) -> None:
    settings.API_TOKEN_CACHE_SECONDS = 2
    secret = token_for(alice, expires_at=timezone.now() + timedelta(seconds=2))
    remembered = find(secret)
    wait_until(remembered.has_expired, seconds=10, what="the token's end")
    assert find(secret).has_expired()


def test_use_is_noted_once_a_minute(alice: User, settings: Any) -> None:
    secret = token_for(alice)
    for seconds in (0, 2):
        settings.API_TOKEN_CACHE_SECONDS = seconds
        Token.objects.update(last_used_at=None)
        token_lookup.note_use(find(secret))
        noted = Token.objects.get().last_used_at
        assert noted is not None
        with CaptureQueriesContext(connection) as queries:
            token_lookup.note_use(find(secret))
        assert not [query for query in queries if query["sql"].startswith("UPDATE")]
        assert Token.objects.get().last_used_at == noted

        before = timezone.now() - timedelta(seconds=61)
        Token.objects.update(last_used_at=before)
        token_lookup._cache.clear()
        token_lookup.note_use(find(secret))
        assert Token.objects.get().last_used_at > before
        token_lookup._cache.clear()


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_connection_that_broke_while_idle_is_opened_anew(alice: User, settings: Any) -> None:
    """As Django's health check would have it, without a query of its own."""
    secret = token_for(alice)
    connection.close()
    connection.settings_dict.update(CONN_MAX_AGE=60, CONN_HEALTH_CHECKS=True)
    try:
        find(secret)
        connection.health_check_done = False
        with CaptureQueriesContext(connection) as queries:
            find(secret)
        assert len(queries) == 1

        with psycopg.connect(database_url(), autocommit=True) as other:
            pid = connection.connection.info.backend_pid
            other.execute("SELECT pg_terminate_backend(%s)", [pid])
            wait_until(lambda: not other.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone(), what="its end")
        connection.health_check_done = False
        assert find(secret).user == alice
        assert connection.connection.info.backend_pid != pid
    finally:
        connection.settings_dict.update(CONN_MAX_AGE=0)
        connection.close()


def test_noting_a_use_does_not_bring_back_a_revoked_token(alice: User, settings: Any) -> None:
    """The row may have been locked by who revoked it: what was read meanwhile is newer than what this request found."""
    settings.API_TOKEN_CACHE_SECONDS = 2
    secret = token_for(alice)
    found = find(secret)
    token_lookup._cache.clear()
    Token.objects.update(revoked_at=timezone.now())
    assert find(secret).is_revoked

    token_lookup.note_use(found)

    assert find(secret).is_revoked


def test_first_requests_of_a_process_may_come_together() -> None:
    """Each thread that finds no statement yet builds one, and none disturbs the other."""
    vendor, start = connection.vendor, threading.Barrier(4)

    def build(_number: int) -> str:
        start.wait()
        return token_lookup._statement.__wrapped__(vendor).sql

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            built = {sql for _round in range(20) for sql in threads.map(build, range(4))}
    finally:
        sys.setswitchinterval(interval)

    assert len(built) == 1
