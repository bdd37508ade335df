from tenants.models.audit_event import AuditEvent
from tenants.models.membership import Membership, Role
from tenants.models.tenant import Tenant
from tenants.models.user import User

__all__ = ["AuditEvent", "Membership", "Role", "Tenant", "User"]
