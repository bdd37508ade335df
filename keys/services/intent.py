"""Writing desired columns of a synced row: the revision grows, earlier failures are forgotten, the bell rings."""

from datetime import datetime

from django.db.models import F
from django.utils import timezone

from keys.models import GatewayKey, Priority, UsagePlan
from keys.services.bell import ring


def want(row: GatewayKey | UsagePlan, **desired: object) -> None:
    """Set desired columns of ``row`` and mark it pending."""
    type(row)._default_manager.filter(pk=row.pk).update(
        **desired, revision=F("revision") + 1, changed_at=timezone.now(), attempts=0, next_try_at=None, permanent=False
    )
    ring(row.gateway_id)


def end(gateway_key: GatewayKey, ends_at: datetime) -> None:
    """Let a gateway key be gone from ``ends_at``: now, first of all that waits; or later, when the sweep finds it due."""
    if ends_at <= timezone.now():
        want(gateway_key, ends_at=ends_at, priority=Priority.REVOKE)
    else:
        GatewayKey.objects.filter(pk=gateway_key.pk).update(ends_at=ends_at, priority=Priority.REVOKE)
