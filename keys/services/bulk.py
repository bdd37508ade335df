"""Placing very many tenants in a pool at once: when an installation moves in, or everybody gets a free key."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from keys.models import ApiKey, Credential, Pool, Tier
from keys.models.mass_places import lock, place_each
from keys.models.tickets import hold_pool, take_places
from keys.services import purchases
from keys.services.refusals import UnableToBuyKey
from tenants.audit import Actor, record_each
from tenants.models import EventType, Tenant
from tenants.webhooks.emit import tenants_that_want

# Tenants of one transaction. Each of them waits with its own purchases until it is over: about a second a 10,000.
CHUNK = 10_000
ACTION = "api_key.bought"


@dataclass(frozen=True, kw_only=True)
class Placed:
    """What came of one chunk. ``lacking``: tenants that had no live API key of the tier and are not suspended; ``placed`` of them got one.

    Fewer are placed than lacked one where the pool has no live key at a position; the same again places the rest.
    """

    lacking: int
    placed: int


def place_tenants(*, tier: Tier, tenants: QuerySet[Tenant], name: str, actor: Actor, chunk: int = CHUNK) -> Iterator[Placed]:
    """Give each of ``tenants`` one API key of a pooled tier, called ``name``; in chunks, each a transaction, told when it is committed.

    Tenants with a live API key of the tier, and suspended ones, are left as they are. So a run that was broken off is started again.
    The API keys are as if they were bought one by one: audited, and told to webhooks by the next sweep. Raises UnableToBuyKey before
    anything is done: TierRetired, UnfitText, or for a siloed tier.

    Race: a tenant that buys meanwhile. Its row is locked, as a purchase does, and what it has is read after that.
    """
    purchases.refuse_unfit_text(name, "")
    if tier.retired_at is not None:
        raise purchases.TierRetired(_("The %(tier)s tier is no longer sold. Choose another tier.") % {"tier": tier.name})
    if not tier.is_pooled:
        raise UnableToBuyKey(_("The %(tier)s tier is siloed: only the tenants of a pooled tier are placed at once.") % {"tier": tier.name})
    return _in_chunks(tier, tenants.order_by("pk"), name, actor, chunk)


def lacking(tier: Tier, tenants: QuerySet[Tenant]) -> QuerySet[Tenant]:
    """Those of ``tenants`` that ``place_tenants`` would give an API key to."""
    live = ApiKey.objects.live().filter(tenant=OuterRef("pk"), tier=tier)
    return tenants.filter(~Exists(live), suspended_at=None)


def _in_chunks(tier: Tier, tenants: QuerySet[Tenant], name: str, actor: Actor, chunk: int) -> Iterator[Placed]:
    rest = tenants
    while True:
        last = rest.values_list("pk", flat=True)[chunk - 1 : chunk].first()
        part = rest if last is None else rest.filter(pk__lte=last)
        now = timezone.now()
        with transaction.atomic():
            placed = (_in_one_statement if connection.vendor == "postgresql" else _row_by_row)(tier, part, name, actor, now)
            # The sweep tells of them, once they are ready.
            wanting = tenants_that_want(EventType.KEY_READY)
            ApiKey.objects.filter(tier=tier, created_at=now, tenant__in=wanting).update(awaits_ready=True)
        yield placed
        if last is None:
            return
        rest = tenants.filter(pk__gt=last)


def _in_one_statement(tier: Tier, tenants: QuerySet[Tenant], name: str, actor: Actor, now: datetime) -> Placed:
    lock(tenants)
    pool = Pool.objects.get(tier=tier)
    hold_pool(pool.pk)
    wanted, placed = place_each(
        Pool.objects.get(pk=pool.pk),
        tenants.order_by(),
        name=name,
        now=now,
        created_by=actor.user.pk if actor.user else None,
        audit=(actor.label, ACTION, json.dumps({"tier": tier.slug}), actor.request_id[:64]),
    )
    return Placed(lacking=wanted, placed=placed)


def _row_by_row(tier: Tier, tenants: QuerySet[Tenant], name: str, actor: Actor, now: datetime) -> Placed:
    """SQLite has one writer at a time, so nobody is locked."""
    wanted: list[uuid.UUID] = list(lacking(tier, tenants).values_list("pk", flat=True))
    places = take_places(tier.pk, len(wanted))
    bought = [
        ApiKey(tenant_id=tenant_id, tier=tier, gateway_key_id=key_id, slot=slot, name=name, created_by=actor.user, created_at=now)
        for tenant_id, (key_id, slot) in zip(wanted, places, strict=False)
    ]
    ApiKey.objects.bulk_create(bought, batch_size=500)
    credentials = [Credential(api_key=each, gateway_key_id=each.gateway_key_id, created_at=now) for each in bought]
    Credential.objects.bulk_create(credentials, batch_size=500)
    record_each(actor=actor, action=ACTION, targets=[(each, each.tenant_id) for each in bought], data={"tier": tier.slug})
    return Placed(lacking=len(wanted), placed=len(bought))
