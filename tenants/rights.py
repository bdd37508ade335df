"""Who may do what over the REST API: the scopes that a role, or being staff, carries."""

from tenants.models import Membership, Role, Scope, User

_READ = frozenset({Scope.KEYS_READ, Scope.USAGE_READ, Scope.TENANT_READ})
_USE = _READ | {Scope.KEYS_WRITE, Scope.KEYS_REVEAL}
SCOPES_OF_ROLE: dict[Role, frozenset[Scope]] = {
    Role.VIEWER: _READ,
    Role.MEMBER: _USE,
    Role.ADMIN: _USE | {Scope.TENANT_WRITE},
    Role.OWNER: _USE | {Scope.TENANT_WRITE},
}
# Which of the staff's many rights a person has, Django's permissions say; each endpoint asks for the one its staff page asks for.
STAFF_SCOPES = frozenset({Scope.STAFF_READ, Scope.STAFF_WRITE})
TENANT_SCOPES = SCOPES_OF_ROLE[Role.OWNER]


def scopes_in_tenant(role: str | None) -> frozenset[Scope]:
    """What a role carries; nothing for people without one."""
    return SCOPES_OF_ROLE[Role(role)] if role else frozenset()


def scopes_of(user: User, membership: Membership | None) -> frozenset[Scope]:
    """What a signed-in person may do: as a member of the tenant they act for, and as staff."""
    return scopes_in_tenant(membership.role if membership else None) | (STAFF_SCOPES if user.is_staff else frozenset())
