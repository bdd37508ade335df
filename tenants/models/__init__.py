from tenants.models.audit_event import AuditEvent
from tenants.models.idempotent_answer import IdempotentAnswer
from tenants.models.membership import Membership, Role
from tenants.models.tenant import Tenant
from tenants.models.token import Scope, Token, TokenQuerySet
from tenants.models.user import User
from tenants.models.webhook import DeliveryState, EventType, WebhookDelivery, WebhookEndpoint, WebhookEvent

__all__ = [
    "AuditEvent",
    "DeliveryState",
    "EventType",
    "IdempotentAnswer",
    "Membership",
    "Role",
    "Scope",
    "Tenant",
    "Token",
    "TokenQuerySet",
    "User",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookEvent",
]
