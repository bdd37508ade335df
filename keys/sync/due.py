"""What there is to do on a gateway. Only reads; every query here is served by an index of its own."""

import uuid
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from keys.models import Adoption, Gateway, GatewayKey, Isolation, KeyRole, ReconcileRun, UsagePlan
from keys.stock import HAS_ROOM, with_spares
from keys.sync.breaker import is_left_alone

# After a comparison that failed, the next one waits this long.
RECONCILE_AGAIN = timedelta(seconds=60)


def removals(gateway_id: uuid.UUID, now: datetime) -> QuerySet[GatewayKey]:
    """Keys past their end. They are tried for ever: an error never makes a revoked key stay.

    The end is judged by the database's clock: a worker whose own clock is ahead must not cut off a credential within its grace period.
    """
    return _tried(GatewayKey.objects.filter(gateway_id=gateway_id, removed_at=None, ends_at__lte=Now()), now).order_by(
        "priority", "ends_at"
    )


def switches(gateway_id: uuid.UUID, now: datetime) -> QuerySet[GatewayKey]:
    """Keys that the gateway holds and that shall be enabled, or disabled: the disabled first."""
    rows = _wanted(gateway_id, now).filter(synced_revision__gt=0).exclude(remote_id="")
    return rows.order_by("enabled", "priority", "changed_at")


def imports(gateway_id: uuid.UUID, now: datetime) -> QuerySet[GatewayKey]:
    """Keys to be made or repaired, of usage plans that exist. Among equal priorities those to be disabled come first, and those that never
    were there before those that are repaired: who buys does not wait for thousands that a person at the console deleted."""
    rows = _wanted(gateway_id, now).filter(Q(remote_id="") | Q(synced_revision=0)).exclude(usage_plan__remote_id="")
    return rows.order_by("priority", "enabled", F("synced_at").asc(nulls_first=True), "changed_at")


def plans(gateway_id: uuid.UUID, now: datetime) -> QuerySet[UsagePlan]:
    """Usage plans to be made or changed."""
    rows = UsagePlan.objects.filter(gateway_id=gateway_id, synced_revision__lt=F("revision"), permanent=False)
    return rows.filter(Q(next_try_at=None) | Q(next_try_at__lte=now)).order_by("changed_at")


def spares(gateway_id: uuid.UUID) -> QuerySet[UsagePlan]:
    """Usage plans with fewer spares than their tier wants, where there is room for more; and with too many.

    A gateway that takes no new keys keeps the spares that it has, for when it takes some again; one that is drained keeps none.
    """
    rows = with_spares(UsagePlan.objects.filter(gateway_id=gateway_id, tier__isolation=Isolation.SILOED))
    return rows.filter(Q(have__gt=F("wanted")) | (Q(have__lt=F("wanted"), gateway__accepts_keys=True) & HAS_ROOM)).order_by("created_at")


def unnamed(gateway_id: uuid.UUID, now: datetime) -> QuerySet[GatewayKey]:
    """Keys that were taken over and bear the name that somebody else gave them."""
    rows = GatewayKey.objects.filter(gateway_id=gateway_id, name="", removed_at=None).exclude(remote_id="")
    return _tried(rows.filter(Q(ends_at=None) | Q(ends_at__gt=now)), now)


def without_canary(gateway_id: uuid.UUID) -> QuerySet[UsagePlan]:
    """Usage plans that are in use and have no canary, where there is room for one."""
    rows = UsagePlan.objects.filter(gateway_id=gateway_id, gateway__accepts_keys=True, gateway__draining_since=None).exclude(remote_id="")
    canary = GatewayKey.objects.filter(usage_plan=OuterRef("pk"), role=KeyRole.CANARY, ends_at=None)
    wanted = rows.filter(HAS_ROOM, ~Exists(canary), Exists(_in_use(OuterRef("pk"))))
    return wanted if settings.CANARY_SECONDS else wanted.none()


def lone_canaries(gateway_id: uuid.UUID) -> QuerySet[GatewayKey]:
    """Canaries of usage plans that nobody uses any more; all of them when canaries are switched off."""
    rows = GatewayKey.objects.filter(role=KeyRole.CANARY, ends_at=None, usage_plan__in=UsagePlan.objects.filter(gateway=gateway_id))
    return rows.filter(~Exists(_in_use(OuterRef("usage_plan")))) if settings.CANARY_SECONDS else rows


def _in_use(plan_id: OuterRef) -> QuerySet[GatewayKey]:
    """Gateway keys of a plan for which it is there."""
    return GatewayKey.objects.filter(usage_plan=plan_id, ends_at=None, removed_at=None).exclude(role=KeyRole.CANARY)


def adoptions(gateway_id: uuid.UUID, now: datetime) -> QuerySet[Adoption]:
    """The adoption that waits for a worker: to look what is there, or to take over what was decided about; one at most."""
    rows = Adoption.objects.filter(gateway_id=gateway_id, applied_at=None, withdrawn_at=None, error="")
    return rows.filter(Q(proposed_at=None) | Q(confirmed_at__isnull=False), Q(next_try_at=None) | Q(next_try_at__lte=now))


def has_rows(gateway_id: uuid.UUID, now: datetime) -> bool:
    """Whether any row waits to be worked on now."""
    if any(query(gateway_id, now).exists() for query in (removals, switches, imports, plans, unnamed)):
        return True
    return any(query(gateway_id).exists() for query in (spares, without_canary, lone_canaries))


def heartbeat_is_due(gateway: Gateway, now: datetime) -> bool:
    """Whether it is time for a sign of life."""
    return _older(gateway.last_seen_at, settings.HEARTBEAT_SECONDS, now)


def usage_is_due(gateway: Gateway, now: datetime) -> bool:
    """Whether it is time to read what was called."""
    return _older(gateway.usage_read_at, settings.USAGE_SECONDS, now)


def reconcile_is_due(gateway: Gateway, now: datetime) -> bool:
    """Whether everything is to be compared: by the clock, or because somebody asked."""
    last, asked = gateway.last_reconciled_at, gateway.reconcile_requested_at
    if not _older(last, settings.RECONCILE_SECONDS, now) and (asked is None or last is None or asked <= last):
        return False
    run = ReconcileRun.objects.filter(gateway=gateway, dry_run=False).order_by("-started_at").first()
    return run is None or not run.error or run.started_at + RECONCILE_AGAIN <= now or (asked is not None and asked > run.started_at)


def comparison_is_due(gateway: Gateway) -> bool:
    """Whether somebody asked for a comparison that changes nothing. One that failed is not made again by itself: its run says why."""
    asked = gateway.dry_run_requested_at
    return asked is not None and not ReconcileRun.objects.filter(gateway=gateway, dry_run=True, started_at__gte=asked).exists()


def check_is_due(gateway: Gateway) -> bool:
    """Whether somebody asked what the workers may do there, and it was not looked up since."""
    asked, checked = gateway.check_requested_at, gateway.permissions_checked_at
    return asked is not None and (checked is None or checked < asked)


def anything(gateway: Gateway, now: datetime) -> bool:
    """Whether a worker should look after this gateway now. Not while one does, nor while it is left alone after failures."""
    if gateway.lease_owner and gateway.lease_expires_at is not None and gateway.lease_expires_at > now:
        return False
    if is_left_alone(gateway, now):
        return False
    clocks = heartbeat_is_due(gateway, now) or usage_is_due(gateway, now) or reconcile_is_due(gateway, now)
    asked = comparison_is_due(gateway) or check_is_due(gateway)
    return clocks or asked or has_rows(gateway.pk, now) or adoptions(gateway.pk, now).exists()


def _wanted(gateway_id: uuid.UUID, now: datetime) -> QuerySet[GatewayKey]:
    """Keys that shall exist, are not what they shall be, and do not wait for a person."""
    rows = GatewayKey.objects.filter(gateway_id=gateway_id, removed_at=None, synced_revision__lt=F("revision"), permanent=False)
    return _tried(rows.filter(Q(ends_at=None) | Q(ends_at__gt=now)), now)


def _tried(rows: QuerySet[GatewayKey], now: datetime) -> QuerySet[GatewayKey]:
    return rows.filter(Q(next_try_at=None) | Q(next_try_at__lte=now))


def _older(moment: datetime | None, seconds: int, now: datetime) -> bool:
    return moment is None or moment + timedelta(seconds=seconds) <= now
