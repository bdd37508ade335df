"""Compare everything on a gateway with the rows, keep what was found, repair it.

Repairs mark rows as out of step, and converge sends them again like any others. Only two things are done here at once, because only the
lists know them: a key is taken out of a usage plan that it shall not be in, and extra keys are quarantined.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from uuid import UUID

import structlog
from django.db import Error
from django.db.models import F, Q, QuerySet
from django.utils.translation import gettext as _

from keys.gateway.errors import GatewayError
from keys.models import Finding, FindingKind, Gateway, GatewayKey, ReconcileRun, UsagePlan
from keys.models.room import recount
from keys.sync import outcome, quarantine
from keys.sync.drift import Difference, Kind, Subject, diff
from keys.sync.forgetting import forget_old_findings
from keys.sync.lease import LeaseLost
from keys.sync.listing import list_remote, read_desired, refuse_unsound_lists
from keys.sync.repairs import LONGEST_TROUBLE, settle
from keys.sync.session import Session
from keys.sync.telling import tell_tenants

log = structlog.get_logger(__name__)

# Keys of others that are told of by name; there may be thousands, and their number stands on the gateway's row.
MOST_FOREIGN = 20
# Of a run that was stopped, which may come again every hour; how many there were stands in its reason.
MOST_KEPT = 1000
CHUNK = 500
IN_STEP = Q(synced_revision=F("revision"))
QUARANTINED = {Kind.EXTRA, Kind.DUPLICATE}
# What is told of and left as it is: it has one finding for as long as it is there.
STANDING = Q(kind=FindingKind.FOREIGN) | Q(kind=FindingKind.DUPLICATE, subject=str(Subject.PLAN))


def reconcile_all(session: Session, *, dry_run: bool = False, most_deletions: int | None = None) -> ReconcileRun:
    """Compare and, unless ``dry_run``, repair. What went wrong stands in the run's ``error``; nothing was changed then.

    ``most_deletions``: how many keys that no row explains one run may disable, and how many delete; by default 5, or 1 % of the keys if
    that is more. A run that would need more of either changes nothing at all, and says so in ``stopped``: then the database or a list
    is wrong, and what else was found with it is no ground to act on.

    Whoever loses the lease writes nothing more, as a worker that is killed: the next run says of such a one that it was broken off.
    """
    session.forgot = False
    run = _begin(session, dry_run=dry_run)
    calls = session.calls.total
    try:
        listed_from = session.now()
        remote = list_remote(session)
        desired = read_desired(session.gateway, listed_from)
        differences = diff(desired, remote)
        refuse_unsound_lists(session, remote, desired, differences)
        run.keys_listed, run.plans_listed = len(remote.keys), len(remote.plans)
        most = max(5, len(remote.keys) // 100) if most_deletions is None else most_deletions
        _conclude(session, run, _still_standing(differences, listed_from), most)
    except GatewayError as error:
        run.error = str(error)
    except LeaseLost:
        raise
    except BaseException:  # the circuit opened, Celery's time is up, the database failed: without an error it would be due again at once
        run.error = _("The comparison was broken off.")
        with suppress(LeaseLost, Error):
            _end(session, run, calls)
        raise
    _end(session, run, calls)
    if not dry_run:
        forget_old_findings(session)
    log.info(
        "reconcile.done",
        gateway_id=str(session.gateway.pk),
        findings=run.findings.count(),
        failed=bool(run.error),
        stopped=bool(run.stopped),
        dry_run=dry_run,
    )
    return run


def _begin(session: Session, *, dry_run: bool) -> ReconcileRun:
    """The row of a new run. One of this gateway that has not ended by now never will: its worker has the lease no more."""
    broken_off = {"ended_at": session.now(), "error": _("The comparison was broken off.")}
    with session.lease.writing():
        ReconcileRun.objects.filter(gateway=session.gateway.pk, ended_at=None).update(**broken_off)
        return ReconcileRun.objects.create(gateway=session.gateway, dry_run=dry_run, started_at=_now(session, dry_run=dry_run))


def _end(session: Session, run: ReconcileRun, calls_before: int) -> None:
    run.ended_at = session.now()
    run.calls = session.calls.total - calls_before
    with session.lease.writing():
        run.save()


def _now(session: Session, *, dry_run: bool) -> datetime:
    """Never before it was asked for: the run is the answer to that."""
    gateway = session.gateway
    asked = gateway.dry_run_requested_at if dry_run else gateway.reconcile_requested_at
    return max(session.now(), asked or gateway.created_at)


def _still_standing(differences: Sequence[Difference], listed_from: datetime) -> list[Difference]:
    """Without those of rows that urgent work changed while the lists were looked into: they are compared the next time."""
    ids = [each.row_id for each in differences if each.subject is Subject.KEY and each.row_id is not None]
    changed: set[UUID] = set()
    for start in range(0, len(ids), CHUNK):
        rows = GatewayKey.objects.filter(pk__in=ids[start : start + CHUNK])
        changed.update(rows.filter(Q(removed_at__isnull=False) | Q(synced_at__gte=listed_from) | ~IN_STEP).values_list("pk", flat=True))
    return [each for each in differences if each.row_id not in changed]


def _conclude(session: Session, run: ReconcileRun, differences: Sequence[Difference], most: int) -> None:
    """Keep what was found and, unless the run only looks or is stopped, repair it.

    What is found and what is done about it are written together, before anything is sent: a worker that is killed leaves both, or neither.
    """
    foreign = [each for each in differences if each.kind is Kind.FOREIGN and each.subject is Subject.KEY]
    strays = [each for each in differences if each.kind in QUARANTINED and each.subject is Subject.KEY]
    plans = [each for each in differences if each.row_id is None and each.subject is Subject.PLAN]
    ours = [each for each in differences if each.row_id is not None]
    seen = {"observed_keys": run.keys_listed, "foreign_keys": len(foreign) + len(strays)}
    care = quarantine.sort_out(session, strays)
    run.stopped = care.refusal(most)
    if run.dry_run or run.stopped:
        action = _("Nothing: the run was stopped.") if run.stopped else _("Nothing: only looked.")
        found = [_finding(run, each, action) for each in (*ours, *plans, *strays, *foreign[:MOST_FOREIGN])]
        _keep(session, run, found[:MOST_KEPT] if run.stopped else found, seen)
        return
    # A key in a plan that it shall not be in cannot be put into its own, so what else is wrong with it waits until it is out of there.
    entangled = {each.row_id for each in ours if each.kind is Kind.WRONG_PLAN}
    marked = [each for each in ours if each.row_id not in entangled]
    repaired = [_finding(run, each, _repair(each), None if each.row_id in entangled else each.row_id) for each in ours]
    isolated = [_finding(run, each, _("To be disabled.")) for each in care.new]
    left_alone = [_finding(run, each, _why_left(each)) for each in _new_ones(run, foreign, plans)]
    settle(session)
    with session.lease.writing():
        _close_earlier(run, [*foreign, *plans])
        Finding.objects.bulk_create([*repaired, *isolated, *left_alone], batch_size=CHUNK)
        _mark(session, marked)
        tell_tenants(ours)
    _disentangle(session, [(finding, each) for finding, each in zip(repaired, ours, strict=True) if each.row_id in entangled])
    quarantine.close(session, care.over)
    quarantine.delete(session, care.ripe)
    quarantine.disable(session, isolated)
    _keep(session, run, [], seen)
    if wrong := recount(session.gateway.pk):
        log.warning("room.recounted", gateway_id=str(session.gateway.pk), wrong=wrong)


def _keep(session: Session, run: ReconcileRun, found: Sequence[Finding], seen: Mapping[str, int]) -> None:
    """Write down what a run found, and what the gateway was seen to hold. A stopped run is over too: the next one comes in its time."""
    columns: dict[str, object] = dict(seen)
    with session.lease.writing():
        if run.stopped and not run.dry_run:
            Finding.objects.filter(gateway=run.gateway_id, run__stopped__gt="", resolved_at=None).update(resolved_at=run.started_at)
        Finding.objects.bulk_create(found, batch_size=CHUNK)
        if not run.dry_run:
            columns["last_reconciled_at"] = session.gateway.last_reconciled_at = run.started_at
        Gateway.objects.filter(pk=session.gateway.pk).update(**columns)


def _new_ones(run: ReconcileRun, foreign: Sequence[Difference], plans: Sequence[Difference]) -> list[Difference]:
    """What is left alone and no open finding tells of: usage plans, and keys of others, up to MOST_FOREIGN findings of keys in all."""
    known = set(_open_standing(run).values_list("kind", "subject", "remote_id"))
    new = [each for each in (*plans, *foreign) if _which(each) not in known]
    keys = [each for each in new if each.subject is Subject.KEY]
    keys_known = sum(subject == Subject.KEY for _kind, subject, _remote_id in known)
    return [*(each for each in new if each.subject is Subject.PLAN), *keys[: max(0, MOST_FOREIGN - keys_known)]]


def _open_standing(run: ReconcileRun) -> QuerySet[Finding]:
    return Finding.objects.filter(STANDING, gateway=run.gateway_id, resolved_at=None, run__dry_run=False)


def _which(difference: Difference) -> tuple[str, str, str]:
    """As its finding's ``kind``, ``subject`` and ``remote_id``."""
    return str(difference.kind), str(difference.subject), difference.remote_id


def _close_earlier(run: ReconcileRun, standing: Sequence[Difference]) -> None:
    """What an earlier run found and this one did not find again is over; what is still there stands among the new ones. What is left alone
    has one finding for as long as it is there, and what is still under repair was not compared."""
    earlier = Finding.objects.filter(gateway=run.gateway_id, row_id=None, quarantined_at=None, resolved_at=None)
    earlier.exclude(STANDING, run__dry_run=False).update(resolved_at=run.started_at)
    still_there = {_which(each) for each in standing}
    rows = _open_standing(run).values_list("pk", "kind", "subject", "remote_id")
    gone = [pk for pk, *which in rows if tuple(which) not in still_there]
    Finding.objects.filter(pk__in=gone).update(resolved_at=run.started_at)


def _disentangle(session: Session, found: Sequence[tuple[Finding, Difference]]) -> None:
    """Take keys out of usage plans that they shall not be in, which only the lists know of; then repair what else is wrong with them.

    A key that cannot be taken out stays as it is, and is found again by the next run.
    """
    by_row: dict[UUID | None, list[tuple[Finding, Difference]]] = defaultdict(list)
    for finding, difference in found:
        by_row[difference.row_id].append((finding, difference))
    for row_id, pairs in by_row.items():
        wrong = [(finding, each) for finding, each in pairs if each.kind is Kind.WRONG_PLAN]
        others = [(finding, each) for finding, each in pairs if each.kind is not Kind.WRONG_PLAN]
        done = [_detach(session, finding, each) for finding, each in wrong]
        if all(done) and others:
            with session.lease.writing():
                Finding.objects.filter(pk__in=[finding.pk for finding, _each in others]).update(row_id=row_id)
                _mark(session, [each for _finding, each in others])


def _detach(session: Session, finding: Finding, difference: Difference) -> bool:
    """Take a key out of a usage plan; whether it could be done."""
    columns: dict[str, object] = {}
    try:
        session.client.detach(difference.plan_id, difference.remote_id)
        columns = {"resolved_at": session.now()}
    except GatewayError as error:
        columns = {"trouble": str(error)[:LONGEST_TROUBLE]}
    with session.lease.writing():
        Finding.objects.filter(pk=finding.pk).update(**columns)
    return "resolved_at" in columns


def _repair(difference: Difference) -> str:
    """What is done about it: true while it is being done, and afterwards."""
    if difference.subject is Subject.PLAN:
        return {
            Kind.MISSING: _("Is made anew."),
            Kind.WRONG_LIMITS: _("Is changed to what its tier says."),
            Kind.WRONG_STAGE: _("Is changed to the stages of its tier."),
            Kind.STALE_NAME: _("Is named as it was again."),
        }[difference.kind]
    return {
        Kind.MISSING: _("Is made anew with the same credential."),
        Kind.WRONG_PLAN: _("Is taken out of that usage plan."),
        Kind.STALE_NAME: _("Is named as it was again, when nothing else is to do."),
    }.get(difference.kind, _("Is sent again as it shall be."))


def _why_left(difference: Difference) -> str:
    if difference.subject is Subject.KEY:
        return _("Left alone.")
    if difference.kind is Kind.DUPLICATE:
        return _("Left alone. Delete it at API Gateway if nobody needs it.")
    return _(
        "Left alone: no usage plan here has this id. It may be another Tollgate's in this account, or one of a database that was restored; "
        "delete it at API Gateway only if nobody needs it."
    )


def _mark(session: Session, differences: Sequence[Difference]) -> None:
    """Mark rows as out of step, so that converge sends them again."""
    rows: dict[tuple[Subject, Kind], set[UUID]] = defaultdict(set)
    for each in differences:
        if each.row_id is not None:
            rows[(each.subject, each.kind)].add(each.row_id)
    for plan in UsagePlan.objects.filter(pk__in=rows.pop((Subject.PLAN, Kind.MISSING), ())):
        outcome.plan_missing(session, plan)
    plans = {pk for (subject, _kind), ids in rows.items() if subject is Subject.PLAN for pk in ids}
    if plans:
        with session.lease.writing():
            UsagePlan.objects.filter(pk__in=plans).update(synced_revision=0, changed_at=session.now())
    missing = rows.pop((Subject.KEY, Kind.MISSING), set())
    if missing:
        outcome.missing(session, [GatewayKey(pk=pk) for pk in missing])
    stale = rows.pop((Subject.KEY, Kind.STALE_NAME), set())
    differing = {pk for (subject, _kind), ids in rows.items() if subject is Subject.KEY for pk in ids}
    stale -= differing | missing  # they get a new name anyway
    if differing:
        outcome.differing(session, [GatewayKey(pk=pk) for pk in differing])
    if stale:
        outcome.misnamed(session, [GatewayKey(pk=pk) for pk in stale])


def _finding(run: ReconcileRun, difference: Difference, action: str, row_id: UUID | None = None) -> Finding:
    if difference.before and difference.after:
        detail = _("It was %(before)s; it shall be %(after)s.") % {"before": difference.before, "after": difference.after}
    else:
        detail = str(FindingKind(difference.kind).label)
    return Finding(
        run=run,
        gateway_id=run.gateway_id,
        kind=FindingKind(difference.kind),
        subject=str(difference.subject),
        remote_id=difference.remote_id,
        label=difference.name,
        before=difference.before[:500],
        after=difference.after[:500],
        detail=detail[:500],
        action=action[:200],
        row_id=row_id,
    )
