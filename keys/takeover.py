"""Writing what is taken over: tiers, usage plans, gateway keys and API keys, as if they had been made and bought here.

What exists at API Gateway already is written as it was seen there: a key that answers is in service from the first moment, so that
its tenant never sees it being prepared. A usage plan is pending, because its name becomes ours; a key's name follows when there is
nothing else to do (``keys.sync.naming``).

Rows alone: who lists what is there is ``keys.sync.adoption``.
"""

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import F
from django.db.models.functions import Greatest
from django.utils import timezone
from django.utils.translation import gettext as _

from keys import values, words
from keys.models import (
    Adoption,
    ApiKey,
    Credential,
    Gateway,
    GatewayKey,
    Isolation,
    KeyRole,
    Pool,
    Priority,
    Stage,
    Tier,
    UsagePlan,
)
from keys.models.places import offer_more
from keys.models.room import count_in
from keys.models.tickets import hold_tier_alone, open_tickets, restart_tickets
from keys.proposals import (
    Decision,
    KeySeen,
    PlanSeen,
    Proposal,
    Take,
    UnfitDecision,
    check,
    holders_of,
    is_id,
    keys_taken,
    limits_of,
    name_of,
    tenant_name,
)
from tenants.audit import Actor, record, record_each
from tenants.clock import database_now
from tenants.models import Tenant, User

BATCH = 1000
MAX_API_KEYS = 10  # of a tier that is made for a plan, unless one tenant has more keys already


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredValue:
    """A key's value as it is kept."""

    encrypted: str
    sha256: str
    last_four: str


def stored(value: str) -> StoredValue:
    """Encrypting takes a tenth of a millisecond: do it before the transaction, not in it."""
    return StoredValue(encrypted=values.encrypt(value), sha256=values.digest(value), last_four=value[-4:])


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A usage plan that is taken over. ``place``: of its decision, for errors."""

    place: str
    plan: PlanSeen
    decision: Decision
    tier: Tier | None
    stages: Sequence[Stage]


def read_decisions(gateway: Gateway, proposal: Proposal, decisions: Sequence[Decision]) -> list[Taken]:
    """What is to be taken over, checked against the rows as they are. Raises UnfitDecision."""
    stages = {stage.remote_key: stage for stage in Stage.objects.filter(gateway=gateway)}
    chosen = check(proposal, decisions, stages)
    tiers = {tier.slug: tier for tier in Tier.objects.filter(slug__in=[decision.tier for _plan, decision in chosen])}
    places = {decision.plan: f"plans.{number}" for number, decision in enumerate(decisions)}
    taken = [
        Taken(
            place=places[plan.id],
            plan=plan,
            decision=decision,
            tier=tiers.get(decision.tier),
            stages=[stages[name] for name in plan.stages],
        )
        for plan, decision in chosen
    ]
    for each in taken:
        _check_tier(gateway, each)
    _check_tenants(taken)
    return taken


def hold(taken: Sequence[Taken]) -> None:
    """Lock the tenants and tiers in question, in the order in which everybody locks them. Before the gateway's row is locked."""
    ids = sorted(_tenant_ids(taken))
    list(Tenant.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk").values_list("pk"))
    for tier_id in sorted(each.tier.pk for each in taken if each.tier is not None):
        hold_tier_alone(tier_id)


def take_over(adoption: Adoption, taken: Sequence[Taken], found: Mapping[str, StoredValue], seen: Mapping[str, Any]) -> dict[str, Any]:
    """Write all of it, inside the caller's transaction; what was taken, as ``Adoption.report`` keeps it.

    ``found``: values by the id of their key; a key that is not among them is gone, and not taken. ``seen``: what
    ``UsagePlan.observed`` keeps, by the id of the plan. Raises UnfitDecision. Call ``hold`` first.
    """
    writer = _Writer(adoption, found, seen)
    plans = [writer.take(each) for each in taken]
    written = sum(plan["keys"] for plan in plans)
    report = {"plans": plans, "left": writer.left, "keys": written, "tenants": writer.tenants.made}
    data = {"gateway": adoption.gateway.name, "plans": plans, "keys": written, "tenants": writer.tenants.made}
    record(actor=writer.actor, action="adoption.applied", target=adoption, data=data)
    # They were counted as keys of others until now. The room's row comes last of all that is locked.
    Gateway.objects.filter(pk=adoption.gateway_id).update(foreign_keys=Greatest(F("foreign_keys") - written, 0))
    count_in(adoption.gateway_id, written)
    return report


def limits_text(plan: PlanSeen, decision: Decision) -> str:
    """What the tier of a plan will allow, in the words of the price page."""
    limits = limits_of(plan, decision)
    if limits["throttle_rate"] is None or limits["throttle_burst"] is None:
        return _("no rate")
    return words.limits_text(Tier(**limits))


# --- Checks


def _check_tier(gateway: Gateway, taken: Taken) -> None:
    tier, decision = taken.tier, taken.decision
    if tier is None:
        try:
            _new_tier(taken, MAX_API_KEYS).full_clean()
        except ValidationError as error:
            field, messages = next(iter(error.message_dict.items()))
            name = {"slug": "tier", "__all__": "quota_limit"}.get(field, field)
            raise UnfitDecision(f"{taken.place}.{name}", " ".join(messages)) from None
        return
    if decision.take is Take.POOLED or tier.is_pooled:
        text = _("There is a tier %(slug)s already, and a pool can only be taken over as a new tier: give another slug.")
        raise UnfitDecision(f"{taken.place}.tier", text % {"slug": tier.slug})
    if UsagePlan.objects.filter(tier=tier, gateway=gateway).exists():
        text = _("The tier %(slug)s has a usage plan on %(gateway)s already: give the slug of another tier, or of a new one.")
        raise UnfitDecision(f"{taken.place}.tier", text % {"slug": tier.slug, "gateway": gateway})
    given = limits_of(taken.plan, decision)
    if any(getattr(tier, field) != limit for field, limit in given.items()):
        # Its keys are in use: what they are allowed changes by a person's word alone, never because a slug was there already.
        text = _("Its keys would get what %(slug)s allows, %(tier)s, in place of %(given)s: give these limits to say so, or another slug.")
        words_of = {"slug": tier.slug, "tier": words.limits_text(tier), "given": limits_text(taken.plan, decision)}
        raise UnfitDecision(f"{taken.place}.tier", text % words_of)


def _check_tenants(taken: Sequence[Taken]) -> None:
    wanted = _tenant_ids(taken)
    there = {str(pk): suspended_at for pk, suspended_at in Tenant.objects.filter(pk__in=wanted).values_list("pk", "suspended_at")}
    for each in taken:
        for tenant_id in _ids_of(each):
            if tenant_id not in there:
                text = _("There is no tenant with the id %(id)s. Give a new one's name, or the id of one that exists.")
                raise UnfitDecision(f"{each.place}.holders", text % {"id": tenant_id})
            if there[tenant_id] is not None:
                text = _("The tenant %(id)s is suspended: its keys would go on being answered. Resume it, or name another one.")
                raise UnfitDecision(f"{each.place}.holders", text % {"id": tenant_id})


def _tenant_ids(taken: Sequence[Taken]) -> set[str]:
    return {tenant for each in taken for tenant in _ids_of(each)}


def _ids_of(taken: Taken) -> list[str]:
    """Ids of tenants that exist; written as databases write them."""
    keys = keys_taken(taken.plan, taken.decision.take)
    return [tenant.lower() for key in keys for tenant in holders_of(key, taken.decision) if is_id(tenant)]


def _known_values(digests: Iterable[str]) -> set[str]:
    wanted = list(digests)
    chunks = (wanted[start : start + BATCH] for start in range(0, len(wanted), BATCH))
    return {
        digest for chunk in chunks for digest in GatewayKey.objects.filter(value_sha256__in=chunk).values_list("value_sha256", flat=True)
    }


# --- Rows


class _Tenants:
    """Tenants by what decisions call them; new ones are made together, one a name."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self._by_word: dict[str, uuid.UUID] = {}
        self._new: list[Tenant] = []

    @property
    def made(self) -> int:
        """How many are new."""
        return len(self._by_word)

    def id_of(self, word: str) -> uuid.UUID:
        """The tenant's id. A new one is there once ``make`` was called."""
        if is_id(word):
            return uuid.UUID(word)
        name = tenant_name(word)
        if name not in self._by_word:
            tenant = Tenant(name=name)
            self._new.append(tenant)
            self._by_word[name] = tenant.pk
        return self._by_word[name]

    def make(self) -> None:
        """Write those that were named since the last time. There may be one a key: never one statement each."""
        Tenant.objects.bulk_create(self._new, batch_size=BATCH)
        record_each(actor=self._actor, action="tenant.created", targets=[(tenant, tenant.pk) for tenant in self._new])
        self._new = []


class _Writer:
    """Writes the rows of one adoption. ``left``: keys that are left although they were decided about, each with the reason."""

    def __init__(self, adoption: Adoption, found: Mapping[str, StoredValue], seen: Mapping[str, Any]) -> None:
        self.actor = _confirmer(adoption)
        self.tenants = _Tenants(self.actor)
        self.left: list[dict[str, str]] = []
        self._gateway = adoption.gateway
        self._found = found
        self._now = database_now()
        self._seen = seen
        self._known = _known_values(value.sha256 for value in found.values())

    def take(self, taken: Taken) -> dict[str, Any]:
        """Take over one usage plan; a line of the report."""
        keys = self._free_keys(taken)
        pooled = taken.decision.take is Take.POOLED
        if pooled and not keys:
            text = _("%(plan)s: none of its keys can be taken, and a pool needs one.") % {"plan": taken.plan.name}
            raise UnfitDecision(f"{taken.place}.take", text)
        holders = {key.id: [self.tenants.id_of(word) for word in holders_of(key, taken.decision)] for key in keys}
        self.tenants.make()
        tier = taken.tier or self._make_tier(taken, holders)
        tier.stages.add(*taken.stages)
        plan = UsagePlan.objects.create(tier=tier, gateway=self._gateway, remote_id=taken.plan.id, observed=self._seen[taken.plan.id])
        pool = Pool.objects.create(tier=tier, size=len(keys)) if pooled else None
        if pool is not None:
            open_tickets(pool)
        rows = [self._row(plan, pool, position, key) for position, key in enumerate(keys)]
        GatewayKey.objects.bulk_create(rows, batch_size=BATCH)
        self._give(tier, list(zip(keys, rows, strict=True)), holders, pooled=pooled)
        if pool is not None:
            _settle_tickets(pool, max(len(holders[key.id]) for key in keys))
        line = {"id": taken.plan.id, "name": taken.plan.name, "tier": tier.slug, "keys": len(rows)}
        record(actor=self.actor, action="usage_plan.adopted", target=plan, data={**line, "gateway": self._gateway.name})
        return line

    def _free_keys(self, taken: Taken) -> list[KeySeen]:
        keys = []
        for key in keys_taken(taken.plan, taken.decision.take):
            value = self._found.get(key.id)
            if value is None:
                self._leave(key, _("It was changed or deleted after the proposal."))
            elif value.sha256 in self._known:
                self._leave(key, _("A gateway key here has its value already."))
            else:
                self._known.add(value.sha256)
                keys.append(key)
        return keys

    def _leave(self, key: KeySeen, why: str) -> None:
        self.left.append({"id": key.id, "name": key.name, "why": why})

    def _make_tier(self, taken: Taken, holders: Mapping[str, Sequence[uuid.UUID]]) -> Tier:
        """A new tier, closed to buyers: its price and its words are for staff to write before it is sold."""
        most = max(Counter(tenant_id for tenants in holders.values() for tenant_id in tenants).values(), default=0)
        tier = _new_tier(taken, max(MAX_API_KEYS, most))
        tier.save()
        limits = {name: str(limit) for name, limit in limits_of(taken.plan, taken.decision).items()}
        data = {"isolation": tier.isolation, **limits, "adopted": taken.plan.id}
        record(actor=self.actor, action="tier.created", target=tier, data=data)
        return tier

    def _row(self, plan: UsagePlan, pool: Pool | None, position: int, key: KeySeen) -> GatewayKey:
        """The key as it was seen: in step, and in service at once if it is enabled. It has no name of ours yet."""
        now, value = self._now, self._found[key.id]
        return GatewayKey(
            gateway=self._gateway,
            usage_plan=plan,
            role=KeyRole.SILO if pool is None else KeyRole.POOL,
            pool=pool,
            position=None if pool is None else position,
            priority=Priority.NAME,
            value_encrypted=value.encrypted,
            value_sha256=value.sha256,
            last_four=value.last_four,
            enabled=key.enabled,
            remote_id=key.id,
            synced_revision=1,
            synced_at=now,
            in_service_at=now if key.enabled else None,
        )

    def _give(
        self, tier: Tier, rows: Sequence[tuple[KeySeen, GatewayKey]], holders: Mapping[str, Sequence[uuid.UUID]], *, pooled: bool
    ) -> None:
        """Give each tenant its API key. It is told nothing: its calls are answered as before."""
        now = self._now
        api_keys = [
            ApiKey(
                tenant_id=tenant_id,
                tier=tier,
                gateway_key=row,
                slot=slot if pooled else None,
                name=tier.name if pooled else name_of(key),  # one that is shared is named after nobody
                disabled_at=None if key.enabled else now,
                created_at=now,
            )
            for key, row in rows
            for slot, tenant_id in enumerate(holders[key.id])
        ]
        ApiKey.objects.bulk_create(api_keys, batch_size=BATCH)
        credentials = [Credential(api_key=each, gateway_key_id=each.gateway_key_id, created_at=now) for each in api_keys]
        Credential.objects.bulk_create(credentials, batch_size=BATCH)
        targets = [(each, each.tenant_id) for each in api_keys]
        record_each(actor=self.actor, action="api_key.adopted", targets=targets, data={"tier": tier.slug})


def _confirmer(adoption: Adoption) -> Actor:
    """Who decided: named with the decisions, as workers do what a person said."""
    by = adoption.decisions.get("by", {})
    user = User.objects.filter(pk=by["user"]).first() if by.get("user") else None
    return Actor(user=user, label=by.get("label", ""), request_id=by.get("request_id", ""))


def _settle_tickets(pool: Pool, rounds: int) -> None:
    """Count the places that are held as drawn, and offer those that level the pool; the sweep lists what is too much for one list."""
    restart_tickets(pool, rounds * pool.size)
    offer_more(pool)


def _new_tier(taken: Taken, max_api_keys: int) -> Tier:
    now = timezone.now()
    return Tier(
        slug=taken.decision.tier,
        name=taken.decision.name or taken.decision.tier,
        isolation=Isolation(str(taken.decision.take)),
        max_api_keys=max_api_keys,
        created_at=now,
        retired_at=now,
        **limits_of(taken.plan, taken.decision),
    )
