"""What a tenant may not do, as exceptions whose messages are fit for the page."""

from django.utils.translation import gettext as _

from tenants.models import Tenant


class UnableToBuyKey(Exception):
    """A purchase that was refused; the message is fit for the page."""


class UnableToChangeKey(Exception):
    """A change that was refused; the message is fit for the page."""


class TenantSuspended(UnableToBuyKey, UnableToChangeKey):
    """Staff have suspended the tenant: it neither buys keys, nor turns them on, nor gets credentials."""


def refuse_suspended(tenant: Tenant) -> None:
    """Raises TenantSuspended. ``tenant`` is the row as it is now: locked by who is about to write."""
    if tenant.suspended_at is not None:
        raise TenantSuspended(
            _(
                "%(tenant)s is suspended. Until it is resumed, keys cannot be bought, rotated, enabled, disabled or read; "
                "they can be renamed and revoked. Our support can tell why."
            )
            % {"tenant": tenant.name}
        )
