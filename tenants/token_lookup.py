"""Finding a token, in one query; with API_TOKEN_CACHE_SECONDS also from this process's memory.

The cache is short (2 s at most), so that a revoked token is refused everywhere within that time, without any messages between
processes. Expiry is looked at on each use, cached or not, by the database's clock: a process whose own clock is wrong neither accepts nor
refuses a token that it should not.
"""

import functools
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.db.models import F, FilteredRelation, Q
from django.db.models.functions import Now

from tenants.models import Scope, Tenant, Token, User
from tenants.rights import STAFF_SCOPES, scopes_in_tenant

USE_NOTED_EVERY = timedelta(minutes=1)
MOST_CACHED = 10_000


@dataclass(frozen=True, kw_only=True)
class FoundToken:
    """A token as it is now, with its maker, and the scopes that both of them have."""

    token_id: uuid.UUID
    prefix: str
    name: str
    sha256: str
    user: User
    tenant: Tenant | None
    scopes: frozenset[Scope]
    maker_belongs: bool
    is_revoked: bool
    expires_at: datetime | None
    last_used_at: datetime | None
    # When it was read, by the database's clock and by this process's monotonic one.
    read_at: datetime
    read_tick: float

    def now(self) -> datetime:
        """Now by the database's clock."""
        return self.read_at + timedelta(seconds=time.monotonic() - self.read_tick)

    def has_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= self.now()


_cache: dict[str, tuple[float, FoundToken]] = {}


def find_token(prefix: str) -> FoundToken | None:
    """The token that begins so, or None. Whether the rest fits, and whether it may still be used, is the caller's to check."""
    seconds = settings.API_TOKEN_CACHE_SECONDS
    if not seconds:
        return _read(prefix)
    now = time.monotonic()
    cached = _cache.get(prefix)
    if cached is not None and now - cached[0] < seconds:
        return cached[1]
    found = _read(prefix)
    if found is not None:
        if len(_cache) >= MOST_CACHED:
            _cache.clear()
        _cache[prefix] = (now, found)
    return found


def note_use(found: FoundToken) -> None:
    """Remember that a token was used, once a minute at most."""
    now = found.now()
    if found.last_used_at is None or now - found.last_used_at > USE_NOTED_EVERY:
        Token.objects.filter(pk=found.token_id, last_used_at=found.last_used_at).update(last_used_at=now)
        prefix, cached = found.prefix, _cache.get(found.prefix)
        if cached is not None:
            # Of what is remembered now: it may be newer than what was found, and say that the token was revoked.
            _cache[prefix] = (cached[0], replace(cached[1], last_used_at=now))


# Which columns are read, in this order: the token's own, then those of its maker, then those of its tenant.
_OWN = ("pk", "name", "sha256", "scopes", "revoked_at", "expires_at", "last_used_at", "membership__role")
# What rights depend on, and the address that the audit trail names. The rest (the password's hash) is read when somebody asks for it.
_NEEDED = {"id", "email", "is_staff", "is_active", "is_superuser"}
_OF_USER = tuple(field.attname for field in User._meta.concrete_fields if field.attname in _NEEDED)  # in the order that from_db expects
_OF_TENANT = tuple(field.attname for field in Tenant._meta.concrete_fields)


@dataclass(frozen=True)
class _Statement:
    """A query that was compiled once. ``converters``: by column, what the ORM does with a value of this kind of database."""

    sql: str
    parameters: tuple[Any, ...]
    converters: list[tuple[int, list[Callable[..., Any]], Any]]


@functools.cache
def _statement(vendor: str) -> _Statement:
    """How a token is found by its prefix. Building a query costs the ORM more than the database needs to answer it."""
    columns = [*_OWN, *(f"user__{name}" for name in _OF_USER), *(f"tenant__{name}" for name in _OF_TENANT), "read_at"]
    # Made here and not once for all: the ORM writes into it, and threads that start together would do so at once.
    membership = FilteredRelation("user__memberships", condition=Q(user__memberships__tenant=F("tenant")))
    query = Token.objects.annotate(membership=membership, read_at=Now()).filter(prefix=_PLACE).values_list(*columns).query
    compiler = query.get_compiler(connection=connection)
    sql, parameters = compiler.as_sql()
    converters = compiler.get_converters([column for column, _sql, _alias in compiler.select])
    return _Statement(sql, tuple(parameters), [(place, *converter) for place, converter in converters.items()])


# Stands where a prefix goes.
_PLACE = "the prefix"


def _ask(sql: str, parameters: list[Any]) -> tuple[Any, ...] | None:
    """The first row. Commonly a request's first query: it takes the place of the health check that Django would send ahead of it."""
    if connection.connection is None or connection.in_atomic_block or _is_known_to_be_sound():
        return _first(sql, parameters)
    connection.health_check_done = True  # type: ignore[attr-defined]  # the stubs lack it
    try:
        return _first(sql, parameters)
    except (OperationalError, InterfaceError):
        connection.close()  # broken while it was idle: another one is opened
        return _first(sql, parameters)


def _is_known_to_be_sound() -> bool:
    return bool(connection.health_check_done)  # type: ignore[attr-defined]  # as above


def _first(sql: str, parameters: list[Any]) -> tuple[Any, ...] | None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        found: tuple[Any, ...] | None = cursor.fetchone()
    return found


def _row(prefix: str) -> list[Any] | None:
    statement = _statement(connection.vendor)
    found = _ask(statement.sql, [prefix if each == _PLACE else each for each in statement.parameters])
    if found is None:
        return None
    row = list(found)
    for place, converters, column in statement.converters:
        for convert in converters:
            row[place] = convert(row[place], column, connection)
    return row


def _read(prefix: str) -> FoundToken | None:
    tick = time.monotonic()
    row = _row(prefix)
    if row is None:
        return None
    *row, read_at = row
    token_id, name, sha256, scopes, revoked_at, expires_at, last_used_at, role = row[: len(_OWN)]
    of_user, of_tenant = row[len(_OWN) : len(_OWN) + len(_OF_USER)], row[len(_OWN) + len(_OF_USER) :]
    user = User.from_db(connection.alias, _OF_USER, of_user)
    # Staff have tokens without a tenant: then each of its columns is null.
    tenant = Tenant.from_db(connection.alias, _OF_TENANT, of_tenant) if any(of_tenant) else None
    held = scopes_in_tenant(role) if tenant else STAFF_SCOPES if user.is_staff else frozenset()
    return FoundToken(
        token_id=token_id,
        prefix=prefix,
        name=name,
        sha256=sha256,
        user=user,
        tenant=tenant,
        scopes=held.intersection(scopes),
        maker_belongs=bool(held),
        is_revoked=revoked_at is not None,
        expires_at=expires_at,
        last_used_at=last_used_at,
        read_at=read_at,
        read_tick=tick,
    )
