"""A client of the REST API for tests: JSON in, JSON out, with a token of some person."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.http import HttpResponse
from django.test import Client

from tenants.audit import SYSTEM
from tenants.models import Membership, Tenant, User
from tenants.rights import STAFF_SCOPES, scopes_in_tenant
from tenants.services.tokens import make_token

API = "/api/v1"


def token_for(
    user: User, *, tenant: Tenant | None = None, scopes: Collection[str] | None = None, expires_at: datetime | None = None, name: str = "CI"
) -> str:
    """The secret of a new token: in the person's first tenant with all that they may do there; for staff without a tenant."""
    membership = Membership.objects.filter(user=user, **({"tenant": tenant} if tenant else {})).select_related("tenant").first()
    within = scopes_in_tenant(membership.role) if membership else STAFF_SCOPES
    _token, secret = make_token(
        user=user,
        tenant=membership.tenant if membership else None,
        name=name,
        scopes=within if scopes is None else scopes,
        expires_at=expires_at,
        within=within,
        actor=SYSTEM,
    )
    return secret


class ApiClient:
    """``api.get("/keys")``; ``secret`` None: no token. Headers as keywords: ``Idempotency_Key="a"``."""

    def __init__(self, secret: str | None) -> None:
        self.secret = secret
        self.client = Client()

    def get(self, path: str, **headers: str) -> Any:
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.call("POST", path, body, **headers)

    def patch(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.call("PATCH", path, body, **headers)

    def delete(self, path: str, **headers: str) -> Any:
        return self.call("DELETE", path, **headers)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> HttpResponse:
        """``path`` below /api/v1, or a URL as lists give it. ``body``: bytes as they are, else as JSON."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.secret:
            given.setdefault("Authorization", f"Bearer {self.secret}")
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        target = path if "://" in path or path.startswith(API) else f"{API}{path}"
        content_type = given.pop("Content-Type", "application/json")
        return self.client.generic(method, target.partition("localhost:8000")[2] or target, data, content_type, headers=given)


def make_client(user: User, **options: Any) -> ApiClient:
    """A client with a fresh token; options as of ``token_for``."""
    return ApiClient(token_for(user, **options))
