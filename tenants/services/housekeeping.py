"""Forgetting what need not be kept."""

from datetime import timedelta

from django.utils import timezone

from tenants.models import IdempotentAnswer

# How long the same Idempotency-Key gets the first answer again.
ANSWERS_KEPT = timedelta(hours=72)
CHUNK = 1000


def forget_old_answers() -> int:
    """Delete answers whose time is over; how many. In chunks, one a call, so that a backlog holds no lock for long."""
    old = IdempotentAnswer.objects.filter(created_at__lt=timezone.now() - ANSWERS_KEPT).order_by("created_at")
    count, _each = IdempotentAnswer.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:CHUNK])).delete()
    return count
