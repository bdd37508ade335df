"""Changing a tenant."""

from django.db import transaction
from django.utils.translation import gettext as _

from tenants.audit import Actor, record
from tenants.models import Tenant

LONGEST_NAME = 100


class UnableToRenameTenant(Exception):
    """A name that was refused; the message is fit for the page."""


def rename_tenant(*, tenant: Tenant, name: str, actor: Actor) -> Tenant:
    """Give the tenant another name: on one line, with single spaces, as at sign-up. Nothing happens when it has that name.

    Raises UnableToRenameTenant.
    """
    name = " ".join(name.split())
    if not name:
        raise UnableToRenameTenant(_("Give your organisation a name."))
    if len(name) > LONGEST_NAME:
        raise UnableToRenameTenant(_("A name has at most %(longest)d characters.") % {"longest": LONGEST_NAME})
    if "\0" in name:
        raise UnableToRenameTenant(_("A name holds no NUL character."))
    with transaction.atomic():
        tenant = Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
        before = tenant.name
        if name != before:
            tenant.name = name
            tenant.save(update_fields=["name"])
            record(actor=actor, action="tenant.renamed", target=tenant, tenant=tenant, data={"before": before, "after": name})
    return tenant
