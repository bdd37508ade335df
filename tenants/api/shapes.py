"""What tokens, tenants, members and audit events look like over the REST API: a serializer describes, a function shows."""

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from tenants.api.examples import shows, takes
from tenants.api.fields import Input, Moment, Several, Text
from tenants.models import AuditEvent, Membership, Role, Scope, Tenant, Token

_CREATED = "2026-11-21T08:00:00.123456Z"
_TOKEN = {
    "id": "8a1f6c3e-0d5b-4c7e-9b1a-2f6d3c4e5a70",
    "name": "Deployment",
    "prefix": "tgpEXAMPLE12",
    "scopes": ["keys:read", "keys:write"],
    "made_by": "ada@example.com",
    "created_at": _CREATED,
    "expires_at": "2027-11-21T08:00:00Z",
    "revoked_at": None,
    "last_used_at": None,
}
_TENANT = {"id": "c3b6a0de-93a7-4a5c-8f52-9a4fd0c1e7b2", "name": "Acme", "created_at": _CREATED, "suspended_at": None}


@shows(**_TOKEN)
class TokenShape(serializers.Serializer[Any]):
    """A token, without its secret."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    prefix = serializers.CharField(help_text="Its first characters, by which you recognise it.")
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=Scope.values))
    made_by = serializers.EmailField(help_text="It never carries more rights than this person has.")
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True, help_text="Exact to a minute.")


@shows(**_TOKEN, token="tgpEXAMPLE12exampleEXAMPLEexampleEXAMPLEexampleEXAMP")  # noqa: S106 - an example
class NewTokenShape(TokenShape):
    """A token that was just made, with its secret: this answer is the only place where that is ever shown."""

    token = serializers.CharField(help_text="The secret. Keep it: it is never shown again.")


@takes(name=_TOKEN["name"], scopes=_TOKEN["scopes"], expires_at=_TOKEN["expires_at"])
class TokenInput(Input):
    """A token to make."""

    name = Text(max_length=100, help_text="What will use it.")
    scopes = Several(
        child=serializers.ChoiceField(choices=Scope.values), min_length=1, max_length=len(Scope.values), help_text="What it may do."
    )
    expires_at = Moment(required=False, allow_null=True, default=None, help_text="Null: it works until it is revoked.")


def token_shown(token: Token) -> dict[str, Any]:
    """``TokenShape``. Select ``user`` with the row."""
    return {
        "id": token.pk,
        "name": token.name,
        "prefix": token.prefix,
        "scopes": token.scopes,
        "made_by": token.user.email,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
        "last_used_at": token.last_used_at,
    }


@shows(**_TENANT)
class TenantShape(serializers.Serializer[Any]):
    """An organisation."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    created_at = serializers.DateTimeField()
    suspended_at = serializers.DateTimeField(allow_null=True, help_text="While it is set, its keys are refused and nothing can be bought.")


@takes(name="Acme & Sons")
class TenantInput(Input):
    """What can be changed of an organisation."""

    name = Text(max_length=100, required=False)


def tenant_shown(tenant: Tenant) -> dict[str, Any]:
    """``TenantShape``."""
    return {"id": tenant.pk, "name": tenant.name, "created_at": tenant.created_at, "suspended_at": tenant.suspended_at}


@shows(id="5b1f0c6e-7d2a-4f4e-8c3b-1a9e2d7f6c54", email="ada@example.com", role="owner", created_at=_CREATED)
class MemberShape(serializers.Serializer[Any]):
    """A person in an organisation."""

    id = serializers.UUIDField(help_text="The person's id.")
    email = serializers.EmailField()
    role = serializers.ChoiceField(choices=Role.values)
    created_at = serializers.DateTimeField(help_text="Since when.")


def member_shown(membership: Membership) -> dict[str, Any]:
    """``MemberShape``. Select ``user`` with the row."""
    person = membership.user
    return {"id": person.pk, "email": person.email, "role": membership.role, "created_at": membership.created_at}


@shows(
    id="e0a7d6c2-4b1f-4f0a-9c86-3f5b2d9e8a17",
    created_at=_CREATED,
    actor="ada@example.com (Deployment)",
    action="api_key.renamed",
    target_type="apikey",
    target_id="5d0f6a3e-3c0a-4a7e-9c55-0a2f3f1f7f10",
    target_name="Web shop",
    details={"name": ["Shop", "Web shop"]},
    request_id="0b3d7c5e-6f1a-4f0e-9a55-0c6a3b7d1f42",
)
class AuditEventShape(serializers.Serializer[Any]):
    """One thing that somebody did."""

    id = serializers.UUIDField()
    created_at = serializers.DateTimeField()
    actor = serializers.CharField(help_text="A member's e-mail address (with the token they used), `staff` or `system`.")
    action = serializers.CharField(help_text="Dotted, as `api_key.revoked`.")
    target_type = serializers.CharField()
    target_id = serializers.CharField()
    target_name = serializers.CharField(allow_blank=True)
    details = serializers.DictField(
        child=serializers.JSONField(allow_null=True), help_text="What changed, before and after. Depends on the action."
    )
    request_id = serializers.CharField(allow_blank=True)


def audit_event_shown(event: AuditEvent) -> dict[str, Any]:
    """``AuditEventShape`` for a tenant: those who run the portal have no names here, nor do its commands. Select ``actor``."""
    actor = "system" if event.actor is None else "staff" if event.actor.is_staff else event.actor_label
    return {
        "id": event.pk,
        "created_at": event.created_at,
        "actor": actor,
        "action": event.action,
        "target_type": event.target_type,
        "target_id": event.target_id,
        "target_name": event.target_label,
        "details": {name: value for name, value in event.data.items() if name in _TOLD.get(event.action, ())},
        "request_id": event.request_id,
    }


# Which details of which action a tenant is told. What is not here stays with staff: how they keep a key, why they acted, and whatever an
# action that is new writes down.
_CHANGE = frozenset({"before", "after"})
_TOLD: Mapping[str, frozenset[str]] = {
    "api_key.adopted": frozenset({"tier"}),
    "api_key.bought": frozenset({"tier"}),
    "api_key.moved": _CHANGE | {"grace_seconds", "endpoint"},
    "api_key.repaired": frozenset({"found"}),
    "api_key.renamed": _CHANGE,
    "api_key.rotated": _CHANGE | {"grace_seconds", "endpoint"},
    "tenant.changed": frozenset({"name", "members"}),
    "tenant.created": frozenset({"name", "members"}),
    "tenant.renamed": _CHANGE,
    "token.made": frozenset({"scopes", "expires_at"}),
    "webhook.changed": _CHANGE,
    "webhook.disabled": frozenset({"answer"}),
    "webhook.registered": frozenset({"types"}),
    "webhook.replayed": frozenset({"event"}),
    "webhook.secret_rotated": frozenset({"grace_seconds"}),
}
