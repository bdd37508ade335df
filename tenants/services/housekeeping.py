"""Forgetting what need not be kept."""

from datetime import timedelta

from django.db import connection, transaction
from django.db.models.functions import Now

from tenants.models import IdempotentAnswer

# How long the same Idempotency-Key gets the first answer again.
ANSWERS_KEPT = timedelta(hours=72)
CHUNK = 1000
MOST_CHUNKS = 20


def forget_old_answers() -> int:
    """Delete answers whose time is over; how many. In chunks, so that a backlog holds no lock for long, and not without end."""
    total = 0
    for _turn in range(MOST_CHUNKS):
        count = _forget_some()
        total += count
        if count < CHUNK:
            break
    return total


def _forget_some() -> int:
    old = IdempotentAnswer.objects.filter(created_at__lt=Now() - ANSWERS_KEPT).order_by("created_at")
    chunk = list(old.values_list("pk", flat=True)[:CHUNK])
    if not chunk:
        return 0
    with transaction.atomic():
        rows = IdempotentAnswer.objects.filter(pk__in=chunk)
        if connection.vendor == "postgresql":  # another worker may be at it
            chunk = list(rows.select_for_update(skip_locked=True).values_list("pk", flat=True))
        return IdempotentAnswer.objects.filter(pk__in=chunk).delete()[0]
