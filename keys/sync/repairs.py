"""What became of repairs: a finding is over once the row that was thrown out of step for it is in step again. It is open, with the reason,
while that fails."""

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce, Left

from keys.models import Finding, GatewayKey, UsagePlan
from keys.sync.drift import Subject
from keys.sync.session import Session

PENDING = Q(synced_revision__lt=F("revision"))
# Of a row's last error: as many characters as a finding keeps.
LONGEST_TROUBLE = 500


def settle(session: Session) -> None:
    """Close the findings on this gateway whose rows are in step again, and note why the others are not. One query when none is under
    repair. Raises LeaseLost."""
    under_repair = Finding.objects.filter(gateway=session.gateway.pk, row_id__isnull=False, resolved_at=None)
    if not under_repair.exists():
        return
    # A key that was found under another name has none of ours until it is renamed.
    keys: QuerySet[GatewayKey] = GatewayKey.objects.filter(PENDING | Q(name=""), removed_at=None)
    with session.lease.writing():
        _settle(session, under_repair.filter(subject=Subject.KEY), keys)
        _settle(session, under_repair.filter(subject=Subject.PLAN), UsagePlan.objects.filter(PENDING))


def _settle(session: Session, findings: QuerySet[Finding], waiting: QuerySet[GatewayKey] | QuerySet[UsagePlan]) -> None:
    """``waiting``: the rows that are not in step."""
    row = waiting.filter(pk=OuterRef("row_id"))
    findings.exclude(Exists(row)).update(resolved_at=session.now(), trouble="")
    error = Coalesce(Subquery(row.annotate(error=Left("last_error", LONGEST_TROUBLE)).values("error")[:1]), Value(""))
    findings.exclude(trouble=error).update(trouble=error)
