"""Writing desired columns of a synced row: the revision grows, earlier failures are forgotten, the bell rings."""

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db.models import F, QuerySet
from django.db.models.functions import Now

from keys.models import GatewayKey, Priority, UsagePlan
from keys.services.bell import ring


def want(row: GatewayKey | UsagePlan, **desired: object) -> None:
    """Set desired columns of ``row`` and mark it pending."""
    want_each(type(row)._default_manager.filter(pk=row.pk), [row.gateway_id], **desired)


def want_each(rows: QuerySet[Any], gateway_ids: Iterable[uuid.UUID], **desired: object) -> int:
    """``want`` for many in one statement, one bell a gateway; how many there were. ``gateway_ids``: of all their gateways.

    A row that the workers write at the same moment is waited for; who wants many of a gateway's rows locks the gateway's row first,
    as the workers do, so that the two never wait for each other.
    """
    count = rows.update(**desired, revision=F("revision") + 1, changed_at=Now(), attempts=0, next_try_at=None, permanent=False)
    for gateway_id in gateway_ids:
        ring(gateway_id)
    return count


def end(gateway_key: GatewayKey, ends_at: datetime, now: datetime) -> None:
    """Let a gateway key be gone from ``ends_at``: now, first of all that waits; or later, when the sweep finds it due.

    Both by the database's clock, as the workers judge the end by it.
    """
    if ends_at <= now:
        want(gateway_key, ends_at=ends_at, priority=Priority.REVOKE)
    else:
        GatewayKey.objects.filter(pk=gateway_key.pk).update(ends_at=ends_at, priority=Priority.REVOKE)
