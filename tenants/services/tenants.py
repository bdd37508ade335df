"""Changing a tenant."""

from django.db import transaction

from tenants.audit import Actor, record
from tenants.models import Tenant


def rename_tenant(*, tenant: Tenant, name: str, actor: Actor) -> Tenant:
    """Give a tenant another name. Nothing happens when it has it already."""
    with transaction.atomic():
        tenant = Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
        before = tenant.name
        if name != before:
            tenant.name = name
            tenant.save(update_fields=["name"])
            record(actor=actor, action="tenant.renamed", target=tenant, tenant=tenant, data={"before": before, "after": name})
    return tenant
