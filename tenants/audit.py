"""Writing the audit trail."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import structlog
from django.db import models
from django.http import HttpRequest

from tenants.models import AuditEvent, Tenant, User


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who acts: a signed-in person, or a named part of the system."""

    user: User | None
    label: str
    request_id: str = ""

    @classmethod
    def of(cls, request: HttpRequest) -> "Actor":
        """The person behind a request, with the request's id."""
        user = request.user if isinstance(request.user, User) else None
        request_id = str(structlog.contextvars.get_contextvars().get("request_id", ""))
        return cls(user=user, label=user.email if user else "anonymous", request_id=request_id)

    @classmethod
    def command(cls, name: str) -> "Actor":
        """Someone with a shell, through ``manage.py name``."""
        return cls(user=None, label=f"manage.py {name}")


SYSTEM = Actor(user=None, label="system")


def record(
    *, actor: Actor, action: str, target: models.Model, tenant: Tenant | None = None, data: dict[str, Any] | None = None
) -> AuditEvent:
    """Append one event; call it inside the transaction of the change. ``action`` is dotted, as ``api_key.revoked``."""
    tenant_id = tenant.pk if tenant else None
    [event] = record_each(actor=actor, action=action, targets=[(target, tenant_id)], data=data)
    return event


def record_each(
    *, actor: Actor, action: str, targets: Iterable[tuple[models.Model, uuid.UUID | None]], data: dict[str, Any] | None = None
) -> list[AuditEvent]:
    """Append the same event for many targets, each with its tenant's id."""
    events = [
        AuditEvent(
            tenant_id=tenant_id,
            actor=actor.user,
            actor_label=actor.label,
            action=action,
            target_type=target._meta.model_name or "",
            target_id=str(target.pk),
            target_label=str(target)[:200],
            data=data or {},
            request_id=actor.request_id[:64],
        )
        for target, tenant_id in targets
    ]
    return AuditEvent.objects.bulk_create(events, batch_size=1000)
