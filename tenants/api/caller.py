"""Who calls an endpoint."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import cast

import structlog
from rest_framework.request import Request

from tenants.audit import Actor
from tenants.models import Scope, Tenant, User


@dataclass(frozen=True, kw_only=True)
class Caller:
    """A person, through a token or a session; ``request.auth`` of every endpoint.

    ``tenant``: whom they act for, None for staff without one. ``scopes``: what they may do here and now: the token's scopes as far as its
    maker still has them. ``token_id`` is None for a session; ``is_recent`` says whether a session proved lately whose it is.
    """

    user: User
    tenant: Tenant | None
    scopes: frozenset[Scope]
    token_id: uuid.UUID | None = None
    token_name: str = ""
    token_ends_at: datetime | None = None
    is_recent: bool = True

    @property
    def id(self) -> str:
        """One word for limits and logs; not "token:", which the logs would take for a secret."""
        return f"t-{self.token_id}" if self.token_id else f"p-{self.user.pk}"

    def actor(self) -> Actor:
        """Who the audit trail names: the person, and the token they used."""
        label = f"{self.user.email} ({self.token_name})" if self.token_id else self.user.email
        request_id = str(structlog.contextvars.get_contextvars().get("request_id", ""))
        return Actor(user=self.user, label=label[:254], request_id=request_id)


def caller_of(request: Request) -> Caller:
    """Who an authenticated request comes from."""
    return cast("Caller", request.auth)
