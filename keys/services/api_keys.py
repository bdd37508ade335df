"""What a tenant does with an API key that it has.

On a siloed tier the API key stands on a gateway key of its own: disable, rotate and revoke act on that one, and calls are refused
once the gateway has it. On a pooled tier several tenants hold one value. Nothing here pretends otherwise: disable and rotate are
refused, and revoke ends the API key without promising that copies of its credential stop working. Staff cut those off with
``pools.replace_pool_key``.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import F, Q, QuerySet, Value
from django.db.models.functions import Greatest, Now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from keys import selectors, values
from keys.models import ApiKey, Credential, Gateway, GatewayKey, Pool, Priority, Status
from keys.models.gateway import lock_gateways
from keys.models.tickets import hold_pool, hold_tier
from keys.services import events, placement
from keys.services.intent import end, want
from keys.services.refusals import TenantSuspended, UnableToChangeKey, refuse_suspended
from keys.stock import NoRoom
from tenants.audit import Actor, record, record_each
from tenants.clock import database_now
from tenants.models import Tenant

__all__ = [
    "GRACE_CHOICES",
    "LONGEST_GRACE",
    "Rotated",
    "TenantSuspended",
    "UnableToChangeKey",
    "disable",
    "enable",
    "rename",
    "reveal",
    "reveal_each",
    "revoke",
    "rotate",
    "rotate_and_reveal",
]

log = structlog.get_logger(__name__)

# How long, in seconds, the old credential goes on working after a rotation.
GRACE_CHOICES = [
    (0, gettext_lazy("No time: end the old one now")),
    (15 * 60, gettext_lazy("15 minutes")),
    (3600, gettext_lazy("1 hour")),
    (24 * 3600, gettext_lazy("24 hours")),
    (7 * 24 * 3600, gettext_lazy("7 days")),
]
LONGEST_GRACE = timedelta(seconds=GRACE_CHOICES[-1][0])


def rename(*, api_key: ApiKey, name: str, description: str, actor: Actor) -> ApiKey:
    """Give an API key another name and description. Both are the portal's own: nothing changes at the gateway.

    Nothing happens where it has both already.
    """
    with transaction.atomic():
        api_key = _locked(api_key)
        before = {"name": api_key.name, "description": api_key.description}
        after = {"name": name, "description": description}
        if before == after:
            return api_key
        api_key.name, api_key.description = name, description
        api_key.save(update_fields=["name", "description"])
        record(actor=actor, action="api_key.renamed", target=api_key, tenant=api_key.tenant, data={"before": before, "after": after})
    return api_key


def disable(*, api_key: ApiKey, actor: Actor) -> ApiKey:
    """Let the gateway refuse calls with this API key until it is enabled again. Raises UnableToChangeKey on a pooled tier.

    A credential that is in its grace period after a rotation is disabled as well: a disabled API key answers nobody. Raises
    TenantSuspended, as ``enable`` does: while the tenant is suspended its keys are off, whatever it does.
    """
    with transaction.atomic():
        api_key = _locked_unsuspended(api_key)
        _refuse_revoked(api_key)
        if not api_key.tier.has_own_credentials:
            raise UnableToChangeKey(
                _("Keys of the %(tier)s tier cannot be turned off and on. Revoke the key if you no longer need it.")
                % {"tier": api_key.tier.name}
            )
        if api_key.disabled_at is None:
            api_key.disabled_at, api_key.awaits_ready = database_now(), False
            api_key.save(update_fields=["disabled_at", "awaits_ready"])
            _want_enabled(api_key, enabled=False)
            record(actor=actor, action="api_key.disabled", target=api_key, tenant=api_key.tenant)
            events.disabled(api_key)
    return api_key


def enable(*, api_key: ApiKey, actor: Actor) -> ApiKey:
    """Undo ``disable``. Nothing happens to a key that is enabled."""
    with transaction.atomic():
        api_key = _locked_unsuspended(api_key)
        _refuse_revoked(api_key)
        if api_key.disabled_at is not None:
            api_key.disabled_at, api_key.awaits_ready = None, events.awaits_ready(api_key.tenant)
            api_key.save(update_fields=["disabled_at", "awaits_ready"])
            _want_enabled(api_key, enabled=True)
            record(actor=actor, action="api_key.enabled", target=api_key, tenant=api_key.tenant)
    return api_key


def rotate(*, api_key: ApiKey, grace: timedelta, actor: Actor) -> Credential:
    """Give the API key a new credential; the old one goes on working for ``grace`` (0 to 7 days) and then ends.

    It is on the same gateway, so the address stays; only a gateway that is drained is left for another one, whose address is told. A
    spare makes it work at once. Raises UnableToChangeKey on a pooled tier, while
    disabled, preparing or suspended, when a rotation is still in its grace period, or when the gateway has no room.
    """
    if not timedelta(0) <= grace <= LONGEST_GRACE:
        raise UnableToChangeKey(_("The old credential can go on working for at most 7 days."))
    with transaction.atomic():
        _lock_unsuspended_tenant(api_key)
        hold_tier(api_key.tier_id)  # before the old gateway key, which is written before room is taken
        api_key = _locked(api_key)
        now = database_now()
        _check_rotation(api_key, now)
        old = api_key.gateway_key
        ends_at = now + grace
        end(old, ends_at, now)  # before room is taken, whose row is locked last
        new = _fresh_key(api_key, now)
        api_key.credentials.filter(ends_at=None).update(ends_at=_not_before_it_began(ends_at))
        credential = Credential.objects.create(api_key=api_key, gateway_key=new, created_at=now)
        api_key.gateway_key = new
        api_key.save(update_fields=["gateway_key"])
        data = {"grace_seconds": int(grace.total_seconds()), "before": old.last_four, "after": new.last_four}
        if new.gateway_id != old.gateway_id:
            data["endpoint"] = selectors.urls_by_gateway(api_key.tier_id).get(new.gateway_id)
        record(actor=actor, action="api_key.rotated", target=api_key, tenant=api_key.tenant, data=data)
        events.rotated(api_key, ends_at, now)
    return credential


@dataclass(frozen=True, kw_only=True)
class Rotated:
    """What a rotation left: the API key, its new credential in clear, and when the old one ends."""

    api_key: ApiKey
    value: str
    old_ends_at: datetime


def rotate_and_reveal(*, api_key: ApiKey, grace: timedelta, actor: Actor) -> Rotated:
    """``rotate`` and ``reveal`` in one: both happen, and are audited, or neither. Raises what they raise."""
    with transaction.atomic():
        credential = rotate(api_key=api_key, grace=grace, actor=actor)
        value = reveal(api_key=credential.api_key, actor=actor)
    return Rotated(api_key=credential.api_key, value=value, old_ends_at=credential.created_at + grace)


def revoke(*, api_key: ApiKey, actor: Actor, check: Callable[[ApiKey], None] | None = None) -> ApiKey:
    """End an API key for ever. Nothing happens to one that is revoked.

    ``check`` looks at the row as it is, locked, before anything is done; what it raises is raised here and nothing is done.

    Siloed: its gateway keys are deleted first of all that waits. Pooled: its slot is free for another tenant; the audit event says
    ``cut_off: false``, because copies of the shared value go on working until staff replace the pool key.

    Race: staff replace the pool key, or shrink the pool. The pool is held first, so that its slot is freed on a key that stays. Staff
    suspend the tenant: its row is locked before all, as there, so that the two do not wait for each other's gateway keys.
    """
    with transaction.atomic():
        Tenant.objects.select_for_update(no_key=True).only("pk").get(pk=api_key.tenant_id)
        for pool_id in Pool.objects.filter(tier=api_key.tier_id).values_list("pk", flat=True):
            hold_pool(pool_id)
        api_key = _locked(api_key)
        if check is not None:
            check(api_key)
        if api_key.revoked_at is not None:
            return api_key
        now = database_now()
        gateway_key, slot = api_key.gateway_key, api_key.slot
        api_key.revoked_at, api_key.slot, api_key.awaits_ready = now, None, False
        api_key.save(update_fields=["revoked_at", "slot", "awaits_ready"])
        credentials = _living(api_key)
        standing_on = list(GatewayKey.objects.filter(credentials__in=credentials).distinct())
        credentials.update(ends_at=_not_before_it_began(now))
        if slot is not None:
            placement.leave_slot(gateway_key, slot)
        else:
            _lock_gateways_of(standing_on)
            for each in standing_on:
                end(each, now, now)
        cut_off = api_key.tier.has_own_credentials
        record(actor=actor, action="api_key.revoked", target=api_key, tenant=api_key.tenant, data={"cut_off": cut_off})
        events.revoked(api_key)
    return api_key


def reveal(*, api_key: ApiKey, actor: Actor) -> str:
    """The current credential in clear, for its tenant; audited. Raises what ``reveal_each`` raises."""
    return reveal_each(api_keys=[api_key], actor=actor)[api_key.pk]


def reveal_each(*, api_keys: Sequence[ApiKey], actor: Actor) -> dict[uuid.UUID, str]:
    """The current credentials in clear, by API key id: all or none; each is audited.

    ``gateway_key`` and ``tenant`` should be selected with the rows. Raises UnableToChangeKey for a revoked key, for one of a suspended
    tenant, and for a value whose encryption key was taken from the settings too early.
    """
    with transaction.atomic():
        found = {api_key.pk: _value_of(api_key) for api_key in api_keys}
        record_each(actor=actor, action="api_key.revealed", targets=[(each, each.tenant_id) for each in api_keys])
    return found


def _value_of(api_key: ApiKey) -> str:
    _refuse_revoked(api_key)
    refuse_suspended(api_key.tenant)
    try:
        return values.decrypt(api_key.gateway_key.value_encrypted)
    except values.UnreadableValue as error:
        log.exception("credential.unreadable", gateway_key_id=str(api_key.gateway_key_id))
        raise UnableToChangeKey(_("This credential cannot be read just now. It still works; our staff can mend it.")) from error


def _locked_unsuspended(api_key: ApiKey) -> ApiKey:
    """``_locked``, with the tenant's row locked before it, as purchases and suspensions do: neither begins or ends meanwhile.

    Raises TenantSuspended.
    """
    _lock_unsuspended_tenant(api_key)
    return _locked(api_key)


def _lock_unsuspended_tenant(api_key: ApiKey) -> None:
    refuse_suspended(Tenant.objects.select_for_update(no_key=True).only("pk", "name", "suspended_at").get(pk=api_key.tenant_id))


def _locked(api_key: ApiKey) -> ApiKey:
    """The row as it is now, locked: two changes of one API key wait for each other (PostgreSQL; SQLite has one writer).

    Two queries: one that waits for the lock and joins would join what stood there before, and lose a row that meanwhile got
    another gateway key.
    """
    ApiKey.objects.select_for_update(no_key=True).only("pk").get(pk=api_key.pk)
    return ApiKey.objects.select_related("gateway_key", "tier", "tenant").get(pk=api_key.pk)


def _refuse_revoked(api_key: ApiKey) -> None:
    if api_key.revoked_at is not None:
        raise UnableToChangeKey(_("This key was revoked, which is for ever. Buy another one."))


def _check_rotation(api_key: ApiKey, now: datetime) -> None:
    _refuse_revoked(api_key)
    if not api_key.tier.has_own_credentials:
        raise UnableToChangeKey(
            _("A key of the %(tier)s tier cannot be rotated on its own. If its credential leaked, tell our support: they replace it.")
            % {"tier": api_key.tier.name}
        )
    status = api_key.status(now)
    if status is Status.DISABLED:
        raise UnableToChangeKey(_("This key is disabled. Enable it before you rotate it."))
    if status is Status.PREPARING:
        raise UnableToChangeKey(_("This key is still being prepared. Rotate it once it is ready."))
    if api_key.credentials.filter(ends_at__gt=now).exists():
        raise UnableToChangeKey(_("The credential before this one still works. Rotate again once its time is over, or revoke the key."))


def _fresh_key(api_key: ApiKey, now: datetime) -> GatewayKey:
    gateway = Gateway.objects.only("draining_since", "accepts_keys").get(pk=api_key.gateway_key.gateway_id)
    stays = gateway.draining_since is None
    if stays and not gateway.accepts_keys:
        raise UnableToChangeKey(
            _("Where this key is called, new credentials are not made for the time being. Our staff decided so, and can tell until when.")
        )
    try:
        return placement.silo_or_spare(api_key.tier, now, gateway.pk if stays else None)
    except NoRoom:
        raise UnableToChangeKey(_("There is no room for another credential just now. Our staff can see this; try again later.")) from None


def _want_enabled(api_key: ApiKey, *, enabled: bool) -> None:
    """Desired flag on every gateway key that a living credential of the API key stands on."""
    priority = Priority.PURCHASE if enabled else Priority.REVOKE
    standing_on = list(GatewayKey.objects.filter(credentials__in=_living(api_key)).distinct())
    _lock_gateways_of(standing_on)
    for gateway_key in standing_on:
        want(gateway_key, enabled=enabled, priority=priority)


def _lock_gateways_of(gateway_keys: Sequence[GatewayKey]) -> None:
    """Where several are written, as in the grace period of a rotation: the workers write them in an order of their own."""
    if len(gateway_keys) > 1:
        lock_gateways(each.gateway_id for each in gateway_keys)


def _living(api_key: ApiKey) -> QuerySet[Credential]:
    return api_key.credentials.filter(Q(ends_at=None) | Q(ends_at__gt=Now()))


def _not_before_it_began(ends_at: datetime) -> Greatest:
    """The end of a credential. One that was made by a clock that was ahead begins later than now."""
    return Greatest(F("created_at"), Value(ends_at))
