"""The rows of what waits: claiming what is due, writing down how it went.

No transaction is open while something is sent. A claim is a time until which nobody else takes the row; a killed worker's runs out.
"""

import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import connection, transaction
from django.db.models import F, OuterRef, Q, QuerySet, Subquery

from tenants.audit import SYSTEM, record
from tenants.models import DeliveryState, WebhookDelivery, WebhookEndpoint, WebhookEvent
from tenants.webhooks.emit import listening
from tenants.webhooks.schedule import GRACE, TRIED_FOR, next_try, rest_until
from tenants.webhooks.transport import GONE, Answer

log = structlog.get_logger(__name__)

# Longer than one POST and the look at a name can take.
CLAIM = timedelta(seconds=90)
# So many due rows of one endpoint are looked at for some that may go: a bound on the work, whatever is waiting.
WINDOW = 100
# What waits for one of its subject that is being sent is looked at again after this, if nobody woke it.
LOOK_AGAIN = timedelta(seconds=5)
KEPT_FOR = timedelta(days=30)
_CHUNK = 500


def waiting() -> QuerySet[WebhookDelivery]:
    """Neither delivered nor parked."""
    return WebhookDelivery.objects.filter(delivered_at=None, parked_at=None)


def _due(now: datetime) -> QuerySet[WebhookDelivery]:
    # attempts: names the index (see the model).
    return waiting().filter(Q(claimed_until=None) | Q(claimed_until__lte=now), next_try_at__lte=now, attempts__gte=0)


def endpoints_with_work(now: datetime, *, after: uuid.UUID | None, busy: Iterable[uuid.UUID], limit: int) -> list[WebhookEndpoint]:
    """Endpoints that have something due and do not rest, from the one that follows ``after`` round to it: each gets its turn."""
    rows: Any = listening().filter(Q(resume_at=None) | Q(resume_at__lte=now)).exclude(pk__in=list(busy))
    # Not Exists: PostgreSQL may make a join of that which looks at everything that waits, once for each endpoint.
    first_due = _due(now).filter(endpoint=OuterRef("pk")).order_by("endpoint", "next_try_at", "pk").values("pk")[:1]
    rows = rows.alias(first_due=Subquery(first_due)).filter(first_due__isnull=False).order_by("pk")
    if after is None:
        return list(rows[:limit])
    found = list(rows.filter(pk__gt=after)[:limit])
    return found + list(rows.filter(pk__lte=after)[: limit - len(found)]) if len(found) < limit else found


def claim(endpoint: WebhookEndpoint, now: datetime, limit: int) -> list[WebhookDelivery]:
    """Take up to ``limit`` due deliveries of an endpoint, with their events: of each subject the first that waits, and no other.

    Race: two workers. On PostgreSQL the rows are locked with SKIP LOCKED and looked at again under the lock; SQLite has one writer.
    """
    first = waiting().filter(endpoint=endpoint, subject=OuterRef("subject")).order_by("pk")
    window: Any = _due(now).filter(endpoint=endpoint).order_by("next_try_at", "pk")
    window = window.annotate(first=Subquery(first.values("pk")[:1]), first_due=Subquery(first.values("next_try_at")[:1]))
    window = window.annotate(first_claimed_until=Subquery(first.values("claimed_until")[:1]))
    with transaction.atomic():
        chosen: list[int] = []
        behind: dict[datetime, list[int]] = {}
        looked_at: Any = window.values_list("pk", "subject", "first", "first_due", "first_claimed_until")[:WINDOW]
        for pk, subject, first_pk, first_due, first_claimed_until in looked_at:
            if not subject or first_pk == pk:
                chosen.append(pk)
            elif first_due is not None and first_due > now:
                behind.setdefault(first_due, []).append(pk)
            elif first_claimed_until is not None and first_claimed_until > now:
                behind.setdefault(now + LOOK_AGAIN, []).append(pk)
        # What waits for an earlier one of its subject makes room in the window until that one is due, or done (_wake_next).
        for moment, ids in behind.items():
            free = [row.pk for row in _unlocked(ids, now)]
            WebhookDelivery.objects.filter(pk__in=free).update(next_try_at=moment)
        claimed = [row for row in _unlocked(chosen[:limit], now) if row.next_try_at <= now]
        WebhookDelivery.objects.filter(pk__in=[row.pk for row in claimed]).update(claimed_until=now + CLAIM)
    events = WebhookEvent.objects.in_bulk({row.event_id for row in claimed})
    for row in claimed:
        row.claimed_until = now + CLAIM
        row.endpoint, row.event = endpoint, events[row.event_id]
    return claimed


def _unlocked(ids: Iterable[int], now: datetime) -> list[WebhookDelivery]:
    """Those of these that wait unclaimed and that nobody else holds, locked: many at once, and never a wait in a circle.

    The rows are asked for by their ids alone, and looked at here: an index of what waits would be read as a whole (see the model).
    """
    rows = WebhookDelivery.objects.filter(pk__in=list(ids)).order_by("pk")
    if connection.vendor == "postgresql":  # SQLite has one writer
        rows = rows.select_for_update(skip_locked=True, of=("self",))
    return [row for row in rows if row.state is DeliveryState.WAITING and (row.claimed_until is None or row.claimed_until <= now)]


def note(delivery: WebhookDelivery, answer: Answer, now: datetime) -> None:
    """Write down how it went."""
    seen = {
        "attempts": F("attempts") + 1,
        "last_status": answer.status,
        "last_error": answer.error[:300],
        "last_tried_at": now,
        "last_milliseconds": answer.milliseconds,
        "claimed_until": None,
    }
    if answer.is_delivered:
        _note_delivered(delivery, seen, now)
    else:
        _note_failed(delivery, seen, now, gone=answer.status == GONE)
    log.info(
        "webhook.delivered" if answer.is_delivered else "webhook.failed",
        delivery=delivery.pk,
        endpoint=str(delivery.endpoint_id),
        event_id=str(delivery.event_id),
        status=answer.status,
        milliseconds=answer.milliseconds,
    )


def _note_delivered(delivery: WebhookDelivery, seen: Mapping[str, object], now: datetime) -> None:
    with transaction.atomic():
        # The endpoint first, as everywhere: two workers never wait for each other in a circle.
        WebhookEndpoint.objects.filter(pk=delivery.endpoint_id).update(last_delivered_at=now, failures=0, resume_at=None)
        # Whoever holds the claim by now: it has arrived.
        WebhookDelivery.objects.filter(pk=delivery.pk).update(**seen, delivered_at=now, parked_at=None)
        _wake_next(delivery, now)


def _note_failed(delivery: WebhookDelivery, seen: Mapping[str, object], now: datetime, *, gone: bool) -> None:
    again_at = None if gone else next_try(delivery, delivery.attempts + 1, now)
    outcome = {"parked_at": now} if again_at is None else {"next_try_at": again_at}
    with transaction.atomic():
        # Locked: several of its deliveries may fail at the same moment.
        endpoint = WebhookEndpoint.objects.select_for_update(no_key=True).get(pk=delivery.endpoint_id)
        endpoint.last_failed_at, endpoint.failures = now, endpoint.failures + 1
        endpoint.resume_at = rest_until(endpoint.failures, now)
        if gone and endpoint.disabled_at is None:
            endpoint.disabled_at = now
            record(actor=SYSTEM, action="webhook.disabled", target=endpoint, tenant=endpoint.tenant, data={"answer": GONE})
        endpoint.save(update_fields=["last_failed_at", "failures", "resume_at", "disabled_at"])
        # Not when the claim ran out meanwhile and another worker has it.
        WebhookDelivery.objects.filter(pk=delivery.pk, claimed_until=delivery.claimed_until).update(**seen, **outcome)
        if again_at is None:
            _wake_next(delivery, now)
    if again_at is None:
        log.warning("webhook.parked", delivery=delivery.pk, endpoint=str(delivery.endpoint_id))


def _wake_next(delivery: WebhookDelivery, now: datetime) -> None:
    """It is the turn of the next one of this subject."""
    if delivery.subject:
        following = waiting().filter(endpoint=delivery.endpoint_id, subject=delivery.subject).order_by("pk").values("pk")[:1]
        WebhookDelivery.objects.filter(pk=Subquery(following), next_try_at__gt=now).update(next_try_at=now)


def park_overdue(now: datetime) -> int:
    """Park what stands in line for longer than it is tried and could not be: its endpoint rests or is disabled. How many."""
    ids = list(
        waiting().filter(created_at__lte=now - TRIED_FOR - GRACE, pk__gte=0).order_by("created_at").values_list("pk", flat=True)[:_CHUNK]
    )
    if not ids:
        return 0
    with transaction.atomic():
        free = [row.pk for row in _unlocked(ids, now)]
        return WebhookDelivery.objects.filter(pk__in=free).update(parked_at=now, claimed_until=None)


def prune(now: datetime) -> int:
    """Delete events that are older than KEPT_FOR, with their deliveries, a chunk at a time; how many."""
    old = WebhookEvent.objects.filter(created_at__lt=now - KEPT_FOR).order_by("created_at")
    ids = set(old.values_list("pk", flat=True)[:_CHUNK])
    # A replay may have put one in line again.
    ids -= set(waiting().filter(event__in=ids).values_list("event", flat=True))
    if not ids:
        return 0
    with transaction.atomic():
        if connection.vendor == "postgresql":  # another worker may be at it
            ids = set(
                WebhookEvent.objects.filter(pk__in=ids).select_for_update(skip_locked=True, of=("self",)).values_list("pk", flat=True)
            )
        WebhookDelivery.objects.filter(event__in=ids).delete()
        WebhookEvent.objects.filter(pk__in=ids).delete()
    return len(ids)
