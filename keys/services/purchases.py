"""Buying API keys."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction
from django.db.models import prefetch_related_objects
from django.db.models.functions import Now
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from keys.models import ApiKey, Credential, Tier
from keys.services import api_keys, events, placement
from keys.services.refusals import TenantSuspended, UnableToBuyKey, refuse_suspended
from tenants.audit import Actor, record_each
from tenants.models import Tenant

__all__ = [
    "MOST_ITEMS",
    "Bought",
    "Item",
    "NoRoom",
    "TenantSuspended",
    "TierRetired",
    "TooManyApiKeys",
    "TooManyItems",
    "UnableToBuyKey",
    "UnfitText",
    "UnknownTier",
    "buy",
    "buy_and_reveal",
    "buy_many",
    "live_count",
    "refuse_unfit_text",
]

MOST_ITEMS = 1000
LONGEST_NAME = 100
LONGEST_DESCRIPTION = 500


class UnknownTier(UnableToBuyKey):
    """There is no tier of that slug."""

    field = "tier"


class TierRetired(UnableToBuyKey):
    """The tier is closed to buyers."""


class UnfitText(UnableToBuyKey):
    """A name or description that cannot be kept; ``field`` says which."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class TooManyApiKeys(UnableToBuyKey):
    """The tenant has as many live API keys of the tier as the tier allows."""


class TooManyItems(UnableToBuyKey):
    """More purchases at once than MOST_ITEMS."""


class NoRoom(UnableToBuyKey):
    """No gateway of the tier has room."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One purchase of several. ``tier``: the tier, or its slug. ``purchase_token``: see ``buy``."""

    tier: Tier | str
    name: str
    description: str = ""
    purchase_token: uuid.UUID = field(default_factory=uuid.uuid4)


def buy(*, tenant: Tenant, tier: Tier, name: str, description: str = "", actor: Actor, purchase_token: uuid.UUID) -> ApiKey:
    """Buy one API key of ``tier`` for ``tenant``.

    ``purchase_token`` makes it idempotent: the same token again returns the API key of the first time, so a double click buys once.
    Pooled tiers, and siloed ones with a spare, answer with a key that works at once; else the key is preparing until the workers
    have made it. Raises TenantSuspended, TierRetired, TooManyApiKeys, NoRoom, UnfitText (all UnableToBuyKey).

    Race: two purchases of one tenant. The tenant's row is locked, so the second sees the first's key, and neither the maximum nor
    the token is passed twice. Tenants do not wait for one another.
    """
    item = Item(tier=tier, name=name, description=description, purchase_token=purchase_token)
    with transaction.atomic():
        [outcome] = _buy_each(tenant, [item], actor)
        if isinstance(outcome, UnableToBuyKey):
            raise outcome
    return outcome


def buy_many(*, tenant: Tenant, items: Sequence[Item], actor: Actor) -> list[ApiKey | UnableToBuyKey]:
    """Buy up to MOST_ITEMS API keys in one transaction: for each item, in order, what was bought or why not.

    A refused item harms no other. Where a tier's maximum or a gateway's room ends, the first items have it. Each API key comes with its
    tenant, tier and gateway key loaded; one that was bought before under the same token comes again. Raises TooManyItems.

    Race: as for ``buy``, with all of them under one lock. Tiers are gone through in the order of their ids, so that two such calls
    that meet staff who wait for a tier cannot block each other.
    """
    if len(items) > MOST_ITEMS:
        raise TooManyItems(_("Buy at most %(most)d keys at once.") % {"most": MOST_ITEMS})
    with transaction.atomic():
        outcomes = _buy_each(tenant, items, actor)
    prefetch_related_objects([each for each in outcomes if isinstance(each, ApiKey)], "tenant", "tier", "gateway_key")
    return outcomes


@dataclass(frozen=True, kw_only=True)
class Bought:
    """An API key that was bought, and its credential in clear."""

    api_key: ApiKey
    value: str


def buy_and_reveal(*, tenant: Tenant, items: Sequence[Item], actor: Actor) -> list[Bought | UnableToBuyKey]:
    """``buy_many``, with the credentials, whose reading is audited as ``api_keys.reveal`` does; as many queries for 1,000 as for one.

    Either all of it happens or nothing. Raises TooManyItems, and UnableToBuyKey when a credential cannot be read: what nobody can use
    is not bought.
    """
    with transaction.atomic():
        outcomes = buy_many(tenant=tenant, items=items, actor=actor)
        bought = {each.pk: each for each in outcomes if isinstance(each, ApiKey)}
        try:
            values = api_keys.reveal_each(api_keys=list(bought.values()), actor=actor)
        except api_keys.UnableToChangeKey as refusal:
            raise UnableToBuyKey(
                _("A credential cannot be read just now, so nothing was bought. Our staff can see this; try again later.")
            ) from refusal
    return [Bought(api_key=each, value=values[each.pk]) if isinstance(each, ApiKey) else each for each in outcomes]


def _buy_each(tenant: Tenant, items: Sequence[Item], actor: Actor) -> list[ApiKey | UnableToBuyKey]:
    rows = Tenant.objects.select_for_update(no_key=True).only("pk", "name", "suspended_at")
    locked = rows.annotate(awaits_ready=events.wants_ready(), now=Now()).get(pk=tenant.pk)
    mine = ApiKey.objects.filter(tenant=tenant)
    done: dict[uuid.UUID, ApiKey | UnableToBuyKey] = {
        each.purchase_token: each for each in mine.filter(purchase_token__in={item.purchase_token for item in items})
    }
    tiers = _tiers_by_slug(items)
    wanted: dict[Tier, dict[uuid.UUID, Item]] = {}
    for item in items:
        if item.purchase_token in done:
            continue
        try:
            refuse_suspended(locked)
            tier = item.tier if isinstance(item.tier, Tier) else _known(item.tier, tiers)
            _check(tier, item)
        except UnableToBuyKey as refusal:
            done[item.purchase_token] = refusal
        else:
            wanted.setdefault(tier, {}).setdefault(item.purchase_token, item)
    if len(wanted) > 1:
        placement.hold_all(wanted)
    for tier in sorted(wanted, key=lambda each: each.pk):
        done |= _buy_of_tier(tenant, tier, list(wanted[tier].values()), locked.now, actor, awaits_ready=locked.awaits_ready)
    return [done[item.purchase_token] for item in items]


def _buy_of_tier(
    tenant: Tenant, tier: Tier, items: Sequence[Item], now: datetime, actor: Actor, *, awaits_ready: bool
) -> dict[uuid.UUID, ApiKey | UnableToBuyKey]:
    """Buy as many of the items as maximum and room allow, the first ones; what became of each, by its token."""
    live = live_count(tenant, tier)
    allowed = items[: max(0, tier.max_api_keys - live)]
    places = _places(tier, len(allowed), now)
    bought = [
        ApiKey(
            tenant=tenant,
            tier=tier,
            gateway_key_id=gateway_key_id,
            slot=slot,
            name=item.name,
            description=item.description,
            purchase_token=item.purchase_token,
            awaits_ready=awaits_ready,
            created_by=actor.user,
            created_at=now,
        )
        for item, (gateway_key_id, slot) in zip(allowed, places, strict=False)
    ]
    if bought:
        ApiKey.objects.bulk_create(bought)
        Credential.objects.bulk_create([Credential(api_key=each, gateway_key_id=each.gateway_key_id, created_at=now) for each in bought])
        record_each(actor=actor, action="api_key.bought", targets=[(each, tenant.pk) for each in bought], data={"tier": tier.slug})
        events.bought(bought)
    outcomes: dict[uuid.UUID, ApiKey | UnableToBuyKey] = {each.purchase_token: each for each in bought}
    refusal = _no_room(tier) if len(bought) < len(allowed) else _too_many(tier, live + len(bought))
    return outcomes | {item.purchase_token: refusal for item in items[len(bought) :]}


def live_count(tenant: Tenant, tier: Tier) -> int:
    """How many live API keys of the tier the tenant has; counted up to the tier's maximum and no further.

    Answered by an index of live keys alone, and read off it without a look at the rows.
    """
    mine = ApiKey.objects.filter(tenant=tenant, tier=tier, revoked_at=None)
    return mine.order_by().values("tier_id")[: tier.max_api_keys].count()


def _tiers_by_slug(items: Iterable[Item]) -> dict[str, Tier]:
    slugs = {item.tier for item in items if isinstance(item.tier, str)}
    return {tier.slug: tier for tier in Tier.objects.filter(slug__in=slugs)} if slugs else {}


def _known(slug: str, tiers: dict[str, Tier]) -> Tier:
    if slug not in tiers:
        raise UnknownTier(_("There is no tier “%(slug)s”.") % {"slug": slug[:60]})
    return tiers[slug]


def _check(tier: Tier, item: Item) -> None:
    if tier.retired_at is not None:
        raise TierRetired(_("The %(tier)s tier is no longer sold. Choose another tier.") % {"tier": tier.name})
    refuse_unfit_text(item.name, item.description)


def refuse_unfit_text(name: str, description: str) -> None:
    """Raises UnfitText for what the database would refuse, and with it every other purchase of the transaction."""
    if not name.strip():
        raise UnfitText("name", _("Give the key a name."))
    for column, text, longest in (("name", name, LONGEST_NAME), ("description", description, LONGEST_DESCRIPTION)):
        if len(text) > longest:
            message = _("%(field)s: at most %(longest)d characters; this one has %(length)d.")
            raise UnfitText(column, message % {"field": column, "longest": longest, "length": len(text)})
        if "\0" in text or not _is_unicode(text):
            raise UnfitText(column, _("%(field)s: it holds a character that cannot be kept (NUL, or half of a pair).") % {"field": column})


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _too_many(tier: Tier, live: int) -> TooManyApiKeys:
    return TooManyApiKeys(
        ngettext(
            "You have %(count)d key of the %(tier)s tier, which is as many as it allows. "
            "Revoke one that you no longer need, or choose another tier.",
            "You have %(count)d keys of the %(tier)s tier, which is as many as it allows. "
            "Revoke one that you no longer need, or choose another tier.",
            live,
        )
        % {"count": live, "tier": tier.name}
    )


def _no_room(tier: Tier) -> NoRoom:
    message = _("The %(tier)s tier has no room for another key just now. Our staff can see this; try again later or choose another tier.")
    return NoRoom(message % {"tier": tier.name})


def _places(tier: Tier, count: int, now: datetime) -> Sequence[tuple[uuid.UUID, int | None]]:
    if not count:
        return []
    if tier.is_pooled:
        return placement.take_slots(tier, count)
    return [(each, None) for each in placement.silos_or_spares(tier, count, now)]
