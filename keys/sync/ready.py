"""Telling webhooks that an API key became ready, once."""

import uuid
from collections.abc import Collection

from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from keys import selectors
from keys.models import ApiKey, Status
from keys.public import key_data
from tenants.clock import database_now
from tenants.models import EventType
from tenants.webhooks.emit import Happening, emit_each

# API keys told of in one transaction.
_CHUNK = 200


def tell_ready(only: Collection[uuid.UUID] | None = None) -> int:
    """Emit ``key.ready`` for API keys that wait for it (``awaits_ready``) and are ready; how many. ``only``: among these.

    One query on a small index when there is nothing to tell.

    Race: two workers, or a worker and the purchase itself. The rows are locked, and the mark is looked at again under the lock and
    taken off in the same transaction. A row that somebody else holds is left for the next time.
    """
    told = 0
    last: uuid.UUID | None = None
    while True:
        rows = _waiting()
        if only is not None:
            rows = rows.filter(pk__in=only)
        if last is not None:
            rows = rows.filter(pk__gt=last)
        ids = list(rows.order_by("pk").values_list("pk", flat=True)[:_CHUNK])
        if not ids:
            return told
        told += _tell(ids)
        last = ids[-1]


def _waiting() -> QuerySet[ApiKey]:
    rows = ApiKey.objects.filter(awaits_ready=True, revoked_at=None, disabled_at=None, tenant__suspended_at=None)
    return rows.filter(gateway_key__enabled=True, gateway_key__in_service_at__lte=Now())


def _tell(ids: list[uuid.UUID]) -> int:
    with transaction.atomic():
        marked = ApiKey.objects.filter(pk__in=ids, awaits_ready=True).order_by("pk")
        if connection.vendor == "postgresql":
            marked = marked.select_for_update(no_key=True, skip_locked=True)
        held = list(marked.values_list("pk", flat=True))
        # Two queries: one that locks and joins would join what stood there before.
        now = database_now()
        rows = ApiKey.objects.filter(pk__in=held).select_related("tier", "gateway_key", "tenant").order_by("created_at", "pk")
        ready = [row for row in rows if row.status(now) is Status.READY]
        if not ready:
            return 0
        stages = selectors.endpoints_of(ready)
        emit_each(
            [
                Happening(
                    tenant_id=row.tenant_id,
                    type=EventType.KEY_READY,
                    subject=str(row.pk),
                    data=key_data(row, stages.get(row.pk), now, renewing=False),
                )
                for row in ready
            ]
        )
        ApiKey.objects.filter(pk__in=[row.pk for row in ready]).update(awaits_ready=False)
    return len(ready)
