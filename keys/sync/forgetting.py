"""Forgetting what comparisons found that has long been over: there is one every hour, for ever."""

from datetime import timedelta

from django.db.models import Exists, OuterRef, QuerySet

from keys.models import Finding, ReconcileRun
from keys.sync.session import Session

KEPT = timedelta(days=90)
CHUNK = 1000
MOST_CHUNKS = 20


def forget_old_findings(session: Session) -> None:
    """Delete this gateway's findings that have been over for KEPT, and runs that are as old and have none. Raises LeaseLost.

    The newest of those that only looked stays: it is the answer to who asked for it last, and without it that would be made again.
    """
    before = session.now() - KEPT
    runs = ReconcileRun.objects.filter(gateway=session.gateway.pk, started_at__lt=before)
    _delete(session, Finding.objects.filter(run__in=runs, resolved_at__lt=before))
    answer = runs.filter(dry_run=True).order_by("-started_at").values_list("pk", flat=True)[:1]
    empty = runs.exclude(pk__in=list(answer)).filter(~Exists(Finding.objects.filter(run=OuterRef("pk"))))
    _delete(session, empty)


def _delete(session: Session, rows: QuerySet[Finding] | QuerySet[ReconcileRun]) -> None:
    """In chunks, so that a backlog holds no lock for long, and not without end."""
    for _turn in range(MOST_CHUNKS):
        chunk = list(rows.values_list("pk", flat=True)[:CHUNK])
        if chunk:
            with session.lease.writing():
                rows.filter(pk__in=chunk).delete()
        if len(chunk) < CHUNK:
            break
