"""Reads about people and tenants that pages and the REST API share."""

import uuid
from collections.abc import Collection

from django.db.models import Count, Model, QuerySet

from tenants.models import AuditEvent, Membership, Tenant, Token, User


def members_of(tenant: Tenant) -> QuerySet[Membership]:
    """The tenant's memberships with their people."""
    return Membership.objects.filter(tenant=tenant).select_related("user")


def member_counts(tenants: Collection[Tenant]) -> dict[uuid.UUID, int]:
    """How many members each tenant has, by its id, where there are any. One query."""
    rows = Membership.objects.filter(tenant__in=[tenant.pk for tenant in tenants]).order_by()
    return dict(rows.values_list("tenant").annotate(Count("pk")))


def audit_events_of(tenant: Tenant) -> QuerySet[AuditEvent]:
    """What was done with anything of the tenant."""
    return AuditEvent.objects.filter(tenant=tenant).select_related("actor")


def tokens_of(tenant: Tenant) -> QuerySet[Token]:
    """The tenant's tokens with their makers, newest first, ended ones too."""
    return Token.objects.filter(tenant=tenant).select_related("user").order_by("-created_at", "-pk")


def staff_tokens_of(user: User) -> QuerySet[Token]:
    """The tokens for staff of one person, newest first, ended ones too."""
    return Token.objects.filter(tenant=None, user=user).select_related("user").order_by("-created_at", "-pk")


def history_of(target: Model) -> QuerySet[AuditEvent]:
    """What was done with one thing, newest first, with those who did it."""
    events = AuditEvent.objects.filter(target_type=target._meta.model_name, target_id=str(target.pk))
    return events.select_related("actor").order_by("-created_at")
