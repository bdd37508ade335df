"""Who looks at a public page."""

from django.http import HttpRequest

from tenants.current import SESSION_KEY, choose, memberships_of
from tenants.models import Tenant, User


def tenant_of(request: HttpRequest) -> Tenant | None:
    """The tenant that a signed-in person acts for; None for anybody else. For pages that need none."""
    if not isinstance(request.user, User):
        return None
    membership = choose(memberships_of(request.user), request.session.get(SESSION_KEY))
    return membership.tenant if membership else None
