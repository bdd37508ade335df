"""The outbox: what there is to tell is written in the transaction of what happened, so there is never one without the other."""

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, Q, QuerySet, TextField
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast
from django.utils import timezone

from tenants.models import EventType, WebhookDelivery, WebhookEndpoint, WebhookEvent
from tenants.webhooks.bell import ring

# Rows a statement: a pool key can have thousands of tenants.
_CHUNK = 500


@dataclass(frozen=True, kw_only=True)
class Happening:
    """One thing that happened; the fields are those of WebhookEvent. ``data`` may be a function: it is called when somebody listens."""

    tenant_id: uuid.UUID
    type: EventType
    subject: str
    data: dict[str, Any] | Callable[[], dict[str, Any]]
    once: str = ""


def emit(
    tenant_id: uuid.UUID,
    type: EventType,  # noqa: A002 - as the event calls it
    subject: str,
    data: dict[str, Any] | Callable[[], dict[str, Any]],
    once: str = "",
) -> WebhookEvent | None:
    """Write one event with a delivery for each endpoint that wants it; None, after one query, when nobody does.

    Call it inside the transaction of the change. ``data`` is public: never a credential or another secret. An event whose ``once`` was
    written before is not written again.
    """
    events = emit_each([Happening(tenant_id=tenant_id, type=type, subject=subject, data=data, once=once)])
    return events[0] if events else None


def emit_each(happenings: Sequence[Happening]) -> list[WebhookEvent]:
    """``emit`` for many, in order, with a number of queries that does not grow with them (but in chunks); what was written."""
    if not happenings:
        return []
    wanted_by = _wanted_by({each.tenant_id for each in happenings})
    heard = [each for each in happenings if (each.tenant_id, str(each.type)) in wanted_by]
    heard = _not_told_yet(heard)
    if not heard:
        return []
    now = timezone.now()
    events = _written([_event(each, now) for each in heard])
    deliveries = [
        WebhookDelivery(endpoint_id=endpoint_id, event=event, subject=event.subject, created_at=now, next_try_at=now)
        for event in events
        for endpoint_id in wanted_by[event.tenant_id, event.type]
    ]
    WebhookDelivery.objects.bulk_create(deliveries, batch_size=_CHUNK)
    if events:
        ring()
    return events


def listening() -> QuerySet[WebhookEndpoint]:
    """Endpoints that are told: neither disabled nor deleted."""
    return WebhookEndpoint.objects.filter(disabled_at=None, deleted_at=None)


def wants(*types: EventType, tenant: Combinable) -> Exists:
    """For an annotation: whether the tenant has an endpoint that wants one of these types. ``tenant`` is an OuterRef to its id."""
    return Exists(_wanting(types).filter(tenant=tenant))


def tenants_that_want(*types: EventType) -> QuerySet[WebhookEndpoint, uuid.UUID]:
    """Ids of the tenants with an endpoint that wants one of these types; for ``filter(tenant__in=...)``."""
    return _wanting(types).values_list("tenant_id", flat=True)


def _wanting(types: Iterable[EventType]) -> QuerySet[WebhookEndpoint]:
    # SQLite has no "contains" for JSON. As text the list reads ["key.ready", "key.revoked"] in every database.
    any_of = Q()
    for each in types:
        any_of |= Q(types_as_text__contains=f'"{each}"')
    return listening().alias(types_as_text=Cast("types", TextField())).filter(any_of)


def _wanted_by(tenant_ids: Iterable[uuid.UUID]) -> dict[tuple[uuid.UUID, str], list[uuid.UUID]]:
    """Ids of the endpoints by tenant and type."""
    asked = list(tenant_ids)
    found: dict[tuple[uuid.UUID, str], list[uuid.UUID]] = defaultdict(list)
    for start in range(0, len(asked), _CHUNK):
        rows = listening().filter(tenant__in=asked[start : start + _CHUNK]).order_by("created_at", "pk")
        for pk, tenant_id, types in rows.values_list("pk", "tenant_id", "types"):
            for each in types:
                found[tenant_id, each].append(pk)
    return found


def _not_told_yet(happenings: list[Happening]) -> list[Happening]:
    asked = [each.once for each in happenings if each.once]
    told: set[str] = set()
    for start in range(0, len(asked), _CHUNK):
        told.update(WebhookEvent.objects.filter(once__in=asked[start : start + _CHUNK]).values_list("once", flat=True))
    return [each for each in happenings if not each.once or each.once not in told]


def _event(happening: Happening, now: Any) -> WebhookEvent:
    data = happening.data() if callable(happening.data) else happening.data
    return WebhookEvent(
        tenant_id=happening.tenant_id, type=str(happening.type), subject=happening.subject, data=data, once=happening.once, created_at=now
    )


def _written(events: list[WebhookEvent]) -> list[WebhookEvent]:
    """Insert them; which are there. Race: another worker tells the same at the same moment: the constraint lets one of them through."""
    if not any(event.once for event in events):
        return WebhookEvent.objects.bulk_create(events, batch_size=_CHUNK)
    WebhookEvent.objects.bulk_create(events, batch_size=_CHUNK, ignore_conflicts=True)
    there = _present(event.pk for event in events)
    return [event for event in events if event.pk in there]


def _present(ids: Iterable[uuid.UUID]) -> set[uuid.UUID]:
    asked = list(ids)
    found: set[uuid.UUID] = set()
    for start in range(0, len(asked), _CHUNK):
        found.update(WebhookEvent.objects.filter(pk__in=asked[start : start + _CHUNK]).values_list("pk", flat=True))
    return found
