"""Buying API keys."""

import uuid
from datetime import datetime

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from keys.models import ApiKey, Credential, Tier
from keys.services import placement
from tenants.audit import Actor, record
from tenants.models import Tenant


class UnableToBuyKey(Exception):
    """A purchase that was refused; the message is fit for the page."""


class TierRetired(UnableToBuyKey):
    """The tier is closed to buyers."""


class TooManyApiKeys(UnableToBuyKey):
    """The tenant has as many live API keys of the tier as the tier allows."""


class NoRoom(UnableToBuyKey):
    """No gateway of the tier has room."""


def buy(*, tenant: Tenant, tier: Tier, name: str, description: str = "", actor: Actor, purchase_token: uuid.UUID) -> ApiKey:
    """Buy one API key of ``tier`` for ``tenant``.

    ``purchase_token`` makes it idempotent: the same token again returns the API key of the first time, so a double click buys once.
    Pooled tiers, and siloed ones with a spare, answer with a key that works at once; else the key is preparing until the workers
    have made it. Raises TierRetired, TooManyApiKeys, NoRoom (all UnableToBuyKey).

    Race: two purchases of one tenant. The tenant's row is locked, so the second sees the first's key, and neither the maximum nor
    the token is passed twice. Tenants do not wait for one another.
    """
    with transaction.atomic():
        Tenant.objects.select_for_update(no_key=True).only("pk").get(pk=tenant.pk)
        mine = ApiKey.objects.filter(tenant=tenant)
        bought = mine.filter(purchase_token=purchase_token).first()
        if bought is not None:
            return bought
        _check(tier, live=mine.filter(tier=tier, revoked_at=None)[: tier.max_api_keys].count())
        now = timezone.now()
        gateway_key_id, slot = _place(tier, now)
        api_key = ApiKey.objects.create(
            tenant=tenant,
            tier=tier,
            gateway_key_id=gateway_key_id,
            slot=slot,
            name=name,
            description=description,
            purchase_token=purchase_token,
            created_by=actor.user,
            created_at=now,
        )
        Credential.objects.create(api_key=api_key, gateway_key_id=gateway_key_id, created_at=now)
        record(actor=actor, action="api_key.bought", target=api_key, tenant=tenant, data={"tier": tier.slug})
    return api_key


def _check(tier: Tier, *, live: int) -> None:
    if tier.retired_at is not None:
        raise TierRetired(_("The %(tier)s tier is no longer sold. Choose another tier.") % {"tier": tier.name})
    if live >= tier.max_api_keys:
        raise TooManyApiKeys(
            ngettext(
                "You have %(count)d key of the %(tier)s tier, which is as many as it allows. "
                "Revoke one that you no longer need, or choose another tier.",
                "You have %(count)d keys of the %(tier)s tier, which is as many as it allows. "
                "Revoke one that you no longer need, or choose another tier.",
                live,
            )
            % {"count": live, "tier": tier.name}
        )


def _place(tier: Tier, now: datetime) -> tuple[uuid.UUID, int | None]:
    try:
        return placement.take_slot(tier) if tier.is_pooled else (placement.silo_or_spare(tier, now).pk, None)
    except placement.NoRoom:
        message = _(
            "The %(tier)s tier has no room for another key just now. Our staff can see this; try again later or choose another tier."
        )
        raise NoRoom(message % {"tier": tier.name}) from None
