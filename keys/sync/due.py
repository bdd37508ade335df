"""What there is to do on a gateway. Only reads; every query here is served by an index of its own."""

import uuid
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F, Q, QuerySet

from keys.models import Gateway, GatewayKey, ReconcileRun, UsagePlan
from keys.sync.breaker import is_left_alone

# After a comparison that failed, the next one waits this long.
RECONCILE_AGAIN = timedelta(seconds=60)


def removals(gateway_id: uuid.UUID, now: datetime) -> QuerySet[GatewayKey]:
    """Keys past their end. They are tried for ever: an error never makes a revoked key stay."""
    return _tried(GatewayKey.objects.filter(gateway_id=gateway_id, removed_at=None, ends_at__lte=now), now).order_by("priority", "ends_at")


def switches(gateway_id: uuid.UUID, now: datetime) -> QuerySet[GatewayKey]:
    """Keys that the gateway holds and that shall be enabled, or disabled: the disabled first."""
    rows = _wanted(gateway_id, now).filter(synced_revision__gt=0).exclude(remote_id="")
    return rows.order_by("enabled", "priority", "changed_at")


def imports(gateway_id: uuid.UUID, now: datetime) -> QuerySet[GatewayKey]:
    """Keys to be made or repaired, of usage plans that exist. Among equal priorities those to be disabled come first."""
    rows = _wanted(gateway_id, now).filter(Q(remote_id="") | Q(synced_revision=0)).exclude(usage_plan__remote_id="")
    return rows.order_by("priority", "enabled", "changed_at")


def plans(gateway_id: uuid.UUID, now: datetime) -> QuerySet[UsagePlan]:
    """Usage plans to be made or changed."""
    rows = UsagePlan.objects.filter(gateway_id=gateway_id, synced_revision__lt=F("revision"), permanent=False)
    return rows.filter(Q(next_try_at=None) | Q(next_try_at__lte=now)).order_by("changed_at")


def has_rows(gateway_id: uuid.UUID, now: datetime) -> bool:
    """Whether any row waits to be worked on now."""
    return any(query(gateway_id, now).exists() for query in (removals, switches, imports, plans))


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
    run = ReconcileRun.objects.filter(gateway=gateway).order_by("-started_at").first()
    return run is None or not run.error or run.started_at + RECONCILE_AGAIN <= now or (asked is not None and asked > run.started_at)


def anything(gateway: Gateway, now: datetime) -> bool:
    """Whether a worker should look after this gateway now. Not while one does, nor while it is left alone after failures."""
    if gateway.lease_owner and gateway.lease_expires_at is not None and gateway.lease_expires_at > now:
        return False
    if is_left_alone(gateway, now):
        return False
    clocks = heartbeat_is_due(gateway, now) or usage_is_due(gateway, now) or reconcile_is_due(gateway, now)
    return clocks or has_rows(gateway.pk, now)


def _wanted(gateway_id: uuid.UUID, now: datetime) -> QuerySet[GatewayKey]:
    """Keys that shall exist, are not what they shall be, and do not wait for a person."""
    rows = GatewayKey.objects.filter(gateway_id=gateway_id, removed_at=None, synced_revision__lt=F("revision"), permanent=False)
    return _tried(rows.filter(Q(ends_at=None) | Q(ends_at__gt=now)), now)


def _tried(rows: QuerySet[GatewayKey], now: datetime) -> QuerySet[GatewayKey]:
    return rows.filter(Q(next_try_at=None) | Q(next_try_at__lte=now))


def _older(moment: datetime | None, seconds: int, now: datetime) -> bool:
    return moment is None or moment + timedelta(seconds=seconds) <= now
