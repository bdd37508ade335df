"""Reads about people and tenants that pages and the REST API share."""

from django.db.models import QuerySet

from tenants.models import AuditEvent, Membership, Tenant, Token


def members_of(tenant: Tenant) -> QuerySet[Membership]:
    """The tenant's memberships with their people."""
    return Membership.objects.filter(tenant=tenant).select_related("user")


def audit_events_of(tenant: Tenant) -> QuerySet[AuditEvent]:
    """What was done with anything of the tenant."""
    return AuditEvent.objects.filter(tenant=tenant).select_related("actor")


def tokens_of(tenant: Tenant) -> QuerySet[Token]:
    """The tenant's tokens with their makers, newest first, ended ones too."""
    return Token.objects.filter(tenant=tenant).select_related("user").order_by("-created_at", "-pk")
