"""Suspending a tenant: its own gateway keys are refused and it can buy nothing, until it is resumed.

What its API keys stand on says what shall be: ``GatewayKey.enabled``. ``ApiKey.disabled_at`` stays as the tenant left it, so that resuming
turns on again what was on. A value that tenants of a pooled tier share cannot be cut off for one of them; see ``pools.replace_pool_key``.

Both lock the tenant's row first, as purchases, rotations and switches do, and then the rows of the gateways, as the workers do.
"""

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from keys.models import ApiKey, Credential, Gateway, GatewayKey, KeyRole, Priority
from keys.services.intent import want_each
from tenants.audit import Actor, record
from tenants.models import Tenant

LONGEST_REASON = 500


class UnableToSuspend(Exception):
    """A suspension that was refused; the message names what to mend."""


def suspend(*, tenant: Tenant, reason: str, actor: Actor) -> Tenant:
    """Let the gateways refuse what stands on gateway keys of the tenant alone, and let it buy and turn on nothing.

    ``reason`` is for staff, in the audit trail: ``cut_off`` is how many of its gateway keys are refused from now on, ``not_cut_off``
    how many of its live API keys share a value and go on being answered. Nothing happens to a suspended tenant. Raises UnableToSuspend
    for a reason that is empty or longer than LONGEST_REASON.

    Race: a purchase or a rotation at the same moment. It is over before, and its gateway key among those turned off; or it comes
    after, and is refused.
    """
    reason = reason.strip()
    if not reason or len(reason) > LONGEST_REASON or "\0" in reason:
        raise UnableToSuspend(_("Give a reason of 1 to %(longest)d characters.") % {"longest": LONGEST_REASON})
    with transaction.atomic():
        tenant = _locked(tenant)
        if tenant.suspended_at is None:
            tenant.suspended_at = timezone.now()
            tenant.save(update_fields=["suspended_at"])
            cut_off = _switch(_own_keys(_living(tenant)).filter(enabled=True), enabled=False, priority=Priority.REVOKE)
            shared = ApiKey.objects.of(tenant).live().filter(slot__isnull=False).count()
            data = {"reason": reason, "cut_off": cut_off, "not_cut_off": shared}
            record(actor=actor, action="tenant.suspended", target=tenant, tenant=tenant, data=data)
    return tenant


def resume(*, tenant: Tenant, actor: Actor) -> Tenant:
    """Undo ``suspend``: what the tenant has not disabled itself is answered again. Nothing happens to a tenant that is not suspended."""
    with transaction.atomic():
        tenant = _locked(tenant)
        if tenant.suspended_at is not None:
            tenant.suspended_at = None
            tenant.save(update_fields=["suspended_at"])
            living = _living(tenant).filter(api_key__disabled_at=None)
            turned_on = _switch(_own_keys(living).filter(enabled=False), enabled=True, priority=Priority.PURCHASE)
            record(actor=actor, action="tenant.resumed", target=tenant, tenant=tenant, data={"turned_on": turned_on})
    return tenant


def _locked(tenant: Tenant) -> Tenant:
    return Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)


def _living(tenant: Tenant) -> QuerySet[Credential]:
    mine = Credential.objects.filter(api_key__tenant=tenant, api_key__revoked_at=None)
    return mine.filter(Q(ends_at=None) | Q(ends_at__gt=Now()))


def _own_keys(credentials: QuerySet[Credential]) -> QuerySet[GatewayKey]:
    """Gateway keys of one tenant alone that these credentials stand on."""
    return GatewayKey.objects.filter(role=KeyRole.SILO, removed_at=None, pk__in=credentials.values("gateway_key"))


def _switch(gateway_keys: QuerySet[GatewayKey], *, enabled: bool, priority: Priority) -> int:
    """Want them so, in as many statements for 100,000 as for one; how many there are."""
    gateways = Gateway.objects.filter(pk__in=gateway_keys.values("gateway")).order_by("pk").select_for_update(no_key=True)
    return want_each(gateway_keys, list(gateways.values_list("pk", flat=True)), enabled=enabled, priority=priority)
