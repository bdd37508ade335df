"""How far the draining of a gateway is: what the command, the staff's page and the REST API show. Only reads."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Exists, F, Max, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from keys import words
from keys.models import ApiKey, Credential, Gateway, GatewayKey, KeyRole, UsagePlan
from tenants.clock import database_now


@dataclass(frozen=True, kw_only=True)
class Drain:
    """What still is on a gateway. Counts of gateway keys.

    ``pool_keys`` move by themselves; ``stuck`` of them cannot, as no other gateway that can take keys now serves their tier (see ``ways``).
    ``siloed`` move from ``moves_siloed_since`` on, None: they stay; ``siloed_stuck`` of them cannot for now: as those, or because of what
    their API keys are at (see ``movable``).
    ``leaving`` were replaced and are removed when their grace is over, the last of them at ``leaves_by``.
    """

    since: datetime | None
    moves_siloed_since: datetime | None
    held: int
    pool_keys: int
    stuck: int
    siloed: int
    siloed_stuck: int
    spares: int
    canaries: int
    leaving: int
    leaves_by: datetime | None

    @property
    def lines(self) -> list[str]:
        """In sentences."""
        if not self.held:
            return [_("Nothing is left there.")]
        found = []
        if self.pool_keys:
            found.append(
                ngettext(
                    "%(count)s pool key: its tenants move to the tier's other gateways.",
                    "%(count)s pool keys: their tenants move to their tiers' other gateways.",
                    self.pool_keys,
                )
                % {"count": words.number_of(self.pool_keys)}
            )
        if self.stuck:
            found.append(
                ngettext(
                    "%(count)s of them cannot move: no other gateway that can take keys now serves its tier.",
                    "%(count)s of them cannot move: no other gateway that can take keys now serves their tiers.",
                    self.stuck,
                )
                % {"count": words.number_of(self.stuck)}
            )
        if self.siloed:
            moving = ngettext(
                "%(count)s siloed API key: it moves to its tier's other gateways.",
                "%(count)s siloed API keys: they move to their tiers' other gateways.",
                self.siloed,
            )
            staying = ngettext(
                "%(count)s siloed API key: it stays until its tenant rotates it, or staff let it move.",
                "%(count)s siloed API keys: they stay until their tenants rotate them, or staff let them move.",
                self.siloed,
            )
            found.append((moving if self.moves_siloed_since else staying) % {"count": words.number_of(self.siloed)})
        if self.siloed_stuck:
            found.append(
                _(
                    "%(count)s of them cannot move for now: disabled, suspended, being prepared, in the grace period of a rotation, or of "
                    "a tier that no other gateway that can take keys now serves."
                )
                % {"count": words.number_of(self.siloed_stuck)}
            )
        if self.spares + self.canaries:
            spares = ngettext("%(count)s spare", "%(count)s spares", self.spares) % {"count": words.number_of(self.spares)}
            canaries = ngettext("%(count)s canary", "%(count)s canaries", self.canaries) % {"count": words.number_of(self.canaries)}
            found.append(_("%(spares)s and %(canaries)s.") % {"spares": spares, "canaries": canaries})
        if self.leaving and self.leaves_by is not None:
            found.append(
                ngettext(
                    "%(count)s gateway key that was replaced, and works until %(end)s.",
                    "%(count)s gateway keys that were replaced, and work until %(end)s at the latest.",
                    self.leaving,
                )
                % {"count": words.number_of(self.leaving), "end": f"{self.leaves_by:%Y-%m-%d %H:%M} UTC"}
            )
        return found


# Pool keys that have to be replaced elsewhere; one beyond its pool's size is leaving anyway.
_TO_MOVE = Q(pool__isnull=False, ends_at=None, position__lt=F("pool__size"))


def drain_of(gateway: Gateway) -> Drain:
    """What is on a gateway now, drained or not, in four queries."""
    keys = GatewayKey.objects.filter(gateway=gateway.pk, removed_at=None)
    pooled, stays = Q(pool__isnull=False), Q(ends_at=None)
    counts = keys.annotate(has_way=_has_way(gateway.pk, "usage_plan__tier")).aggregate(
        held=Count("pk"),
        pool_keys=Count("pk", filter=pooled & stays),
        stuck=Count("pk", filter=_TO_MOVE & Q(has_way=False)),
        siloed=Count("pk", filter=stays & Q(role=KeyRole.SILO)),
        spares=Count("pk", filter=stays & Q(role=KeyRole.SPARE)),
        canaries=Count("pk", filter=stays & Q(role=KeyRole.CANARY)),
        leaving=Count("pk", filter=Q(ends_at__isnull=False)),
        leaves_by=Max("ends_at"),
    )
    moving = movable(gateway.pk, database_now()).filter(_has_way(gateway.pk, "tier")).count() if counts["siloed"] else 0
    since, siloed_since = Gateway.objects.values_list("draining_since", "moves_siloed_since").get(pk=gateway.pk)
    return Drain(since=since, moves_siloed_since=siloed_since, siloed_stuck=max(0, counts["siloed"] - moving), **counts)


def stuck_pool_keys() -> dict[uuid.UUID, int]:
    """How many pool keys of each drained gateway cannot move, by its id; in one query."""
    drained = GatewayKey.objects.filter(_TO_MOVE, removed_at=None, gateway__draining_since__isnull=False)
    stuck = drained.filter(~_has_way(OuterRef("gateway"), "usage_plan__tier"))
    return dict(stuck.order_by().values_list("gateway").annotate(count=Count("pk")))


def movable(gateway_id: uuid.UUID, now: datetime) -> QuerySet[ApiKey]:
    """Siloed API keys on the gateway that can get another gateway key now: those that work, whose credential before this one has ended."""
    rotating = Credential.objects.filter(api_key=OuterRef("pk"), ends_at__gt=now)
    standing = ApiKey.objects.live().filter(gateway_key__gateway=gateway_id, gateway_key__role=KeyRole.SILO)
    ready = Q(disabled_at=None, tenant__suspended_at=None, gateway_key__in_service_at__lte=now)
    return standing.filter(ready & ~Exists(rotating))


def ways(plans: QuerySet[UsagePlan], gateway_id: uuid.UUID | OuterRef) -> QuerySet[UsagePlan]:
    """Those of ``plans`` to which what stands on the gateway can move now: elsewhere, at API Gateway already, on a gateway that answers.
    Whoever is moved to a key that cannot be made waits for it until the old one ends.

    A gateway in trouble is none until it was heard of again: between two pauses of its circuit breaker nobody knows.
    """
    return plans.filter(gateway__resume_at=None).exclude(gateway=gateway_id).exclude(remote_id="")


def _has_way(gateway_id: uuid.UUID | OuterRef, tier: str) -> Exists:
    """Whether another gateway that can take keys now serves the tier of a row."""
    elsewhere = ways(UsagePlan.objects.filter(tier=OuterRef(tier), gateway__accepts_keys=True), gateway_id)
    return Exists(elsewhere.filter(gateway__stages__tiers=OuterRef(tier)))
