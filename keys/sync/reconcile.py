"""Compare everything on a gateway with the rows, keep what was found, repair it.

Repairs mark rows as out of step, and converge sends them again like any others. Only two things are done here at once, because only the
lists know them: a key is taken out of a usage plan that it shall not be in, and extra keys are quarantined.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import structlog
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from keys.gateway.errors import GatewayError
from keys.models import Finding, FindingKind, Gateway, GatewayKey, ReconcileRun, UsagePlan
from keys.sync import outcome
from keys.sync.breaker import CircuitOpen
from keys.sync.drift import Difference, Kind, Remote, diff
from keys.sync.lease import LeaseLost
from keys.sync.listing import list_remote, read_desired, refuse_short_list
from keys.sync.quarantine import quarantine
from keys.sync.session import Session

log = structlog.get_logger(__name__)

PLAN_KINDS = {Kind.PLAN_MISSING, Kind.PLAN_DIFFERS, Kind.PLAN_EXTRA}
FINDING_KINDS = {
    Kind.PLAN_MISSING: FindingKind.MISSING,
    Kind.MISSING: FindingKind.MISSING,
    Kind.PLAN_EXTRA: FindingKind.EXTRA,
    Kind.EXTRA: FindingKind.EXTRA,
}


def reconcile_all(session: Session, *, dry_run: bool = False, most_deletions: int | None = None) -> ReconcileRun:
    """Compare and, unless ``dry_run``, repair. What went wrong stands in the run's ``error``; nothing was changed then.

    ``most_deletions``: how many extra keys one run may disable, and how many delete; by default 5, or 1 % of the keys if that is more.
    """
    session.forgot = False
    run = ReconcileRun.objects.create(gateway=session.gateway)
    try:
        remote = list_remote(session)
        desired = read_desired(session.gateway)
        differences = _without_pending(diff(desired, remote))
        refuse_short_list(session, remote, desired, differences)
        _apply(session, run, remote, differences, dry_run=dry_run, most_deletions=most_deletions)
    except GatewayError as error:
        run.error = str(error)
    except (CircuitOpen, LeaseLost):
        run.error = _("The comparison was broken off.")
        raise
    finally:
        run.ended_at = timezone.now()
        run.save()
    log.info("reconcile.done", gateway_id=str(session.gateway.pk), findings=run.findings.count(), failed=bool(run.error), dry_run=dry_run)
    return run


def _without_pending(differences: Sequence[Difference]) -> list[Difference]:
    """Leave out plans that are known to differ, because a change of theirs waits for its turn."""
    pending = set(UsagePlan.objects.filter(synced_revision__lt=F("revision")).values_list("pk", flat=True))
    return [each for each in differences if each.kind is not Kind.PLAN_DIFFERS or each.row_id not in pending]


def _apply(
    session: Session, run: ReconcileRun, remote: Remote, differences: Sequence[Difference], *, dry_run: bool, most_deletions: int | None
) -> None:
    extras = [each for each in differences if each.kind is Kind.EXTRA]
    others = [each for each in differences if each.kind is not Kind.EXTRA]
    if dry_run:
        actions = [_("Nothing: only looked.")] * len(others)
        findings = [_finding(run, each, _("Nothing: only looked.")) for each in extras]
    else:
        actions = [_repair(session, each) for each in others]
        _mark(session, others)
        most = max(5, len(remote.keys) // 100) if most_deletions is None else most_deletions
        findings = [_finding(run, each, action, at) for each, action, at in quarantine(session, extras, most)]
    findings += [_finding(run, each, action) for each, action in zip(others, actions, strict=True)]
    run.keys_listed, run.plans_listed = len(remote.keys), len(remote.plans)
    with session.lease.writing():
        if not dry_run:
            # What an earlier run found and this one did not find again is over; what is still there stands among the new ones.
            earlier = Finding.objects.filter(gateway=session.gateway, quarantined_at=None, resolved_at=None)
            earlier.update(resolved_at=run.started_at)
        Finding.objects.bulk_create(findings, batch_size=500)
        seen: dict[str, object] = {"observed_keys": len(remote.keys)}
        if not dry_run:
            seen["last_reconciled_at"] = session.gateway.last_reconciled_at = run.started_at
        Gateway.objects.filter(pk=session.gateway.pk).update(**seen)


def _repair(session: Session, difference: Difference) -> str:
    """Do what can only be done now, and say what was or will be done."""
    if difference.kind is Kind.WRONG_PLAN:
        try:
            session.client.detach(difference.plan_id, difference.remote_id)
        except GatewayError as error:
            return _("Could not be taken out of it: %(error)s") % {"error": error}
        return _("Taken out of that usage plan.")
    return {
        Kind.PLAN_MISSING: _("Made anew."),
        Kind.PLAN_DIFFERS: _("Changed to what its tier says."),
        Kind.PLAN_EXTRA: _("Left alone. Delete it at API Gateway if nobody needs it."),
        Kind.MISSING: _("Made anew with the same credential."),
    }.get(difference.kind, _("Sent again as it shall be."))


def _mark(session: Session, differences: Sequence[Difference]) -> None:
    """Mark rows as out of step, so that converge sends them again."""
    ids: dict[Kind, list[UUID]] = {kind: [] for kind in Kind}
    for each in differences:
        if each.row_id is not None:
            ids[each.kind].append(each.row_id)
    for plan in UsagePlan.objects.filter(pk__in=ids[Kind.PLAN_MISSING]):
        outcome.plan_missing(session, plan)
    if ids[Kind.PLAN_DIFFERS]:
        with session.lease.writing():
            UsagePlan.objects.filter(pk__in=ids[Kind.PLAN_DIFFERS]).update(synced_revision=0, changed_at=timezone.now())
    if ids[Kind.MISSING]:
        outcome.missing(session, [GatewayKey(pk=pk) for pk in ids[Kind.MISSING]])
    differing = {*ids[Kind.DISABLED], *ids[Kind.ENABLED], *ids[Kind.DETACHED]}
    if differing:
        outcome.differing(session, [GatewayKey(pk=pk) for pk in differing])


def _finding(run: ReconcileRun, difference: Difference, action: str, quarantined_at: datetime | None = None) -> Finding:
    if difference.before and difference.after:
        detail = _("It was %(before)s; it shall be %(after)s.") % {"before": difference.before, "after": difference.after}
    else:
        detail = str(FindingKind(FINDING_KINDS[difference.kind]).label)
    return Finding(
        run=run,
        gateway_id=run.gateway_id,
        kind=FINDING_KINDS.get(difference.kind, FindingKind.DIFFERS),
        subject=_("usage plan") if difference.kind in PLAN_KINDS else _("gateway key"),
        remote_id=difference.remote_id,
        label=difference.name,
        detail=detail[:500],
        action=action[:200],
        quarantined_at=quarantined_at,
    )
