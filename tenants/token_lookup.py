"""Finding a token, in one query; with API_TOKEN_CACHE_SECONDS also from this process's memory.

The cache is short (2 s at most), so that a revoked token is refused everywhere within that time, without any messages between
processes. Expiry is looked at on each use, cached or not.
"""

import time
import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import OuterRef, Subquery
from django.utils import timezone

from tenants.models import Membership, Scope, Tenant, Token, User
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

    def has_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()


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
    now = timezone.now()
    if found.last_used_at is None or now - found.last_used_at > USE_NOTED_EVERY:
        Token.objects.filter(pk=found.token_id, last_used_at=found.last_used_at).update(last_used_at=now)
        prefix, cached = found.prefix, _cache.get(found.prefix)
        if cached is not None:
            _cache[prefix] = (cached[0], replace(found, last_used_at=now))


_ROLE = Membership.objects.filter(user=OuterRef("user"), tenant=OuterRef("tenant")).values("role")[:1]


def _read(prefix: str) -> FoundToken | None:
    row: Any = Token.objects.select_related("user", "tenant").annotate(role=Subquery(_ROLE)).filter(prefix=prefix).first()
    if row is None:
        return None
    held = scopes_in_tenant(row.role) if row.tenant_id else STAFF_SCOPES if row.user.is_staff else frozenset()
    return FoundToken(
        token_id=row.pk,
        prefix=prefix,
        name=row.name,
        sha256=row.sha256,
        user=row.user,
        tenant=row.tenant,
        scopes=held.intersection(row.scopes),
        maker_belongs=bool(held),
        is_revoked=row.revoked_at is not None,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
    )
