"""Make one gateway equal to the desired columns."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from keys.models import Priority, ReconcileRun
from keys.sync import due
from keys.sync.adoption import work_on_adoption
from keys.sync.breaker import CircuitOpen
from keys.sync.canaries import keep_canaries
from keys.sync.heartbeat import beat
from keys.sync.imports import make_keys
from keys.sync.naming import name_keys
from keys.sync.permissions import check_permissions
from keys.sync.plans import change_plans, make_plans
from keys.sync.ready import tell_ready
from keys.sync.reconcile import reconcile_all
from keys.sync.repairs import settle
from keys.sync.session import Session, speak_to
from keys.sync.sharing import Share
from keys.sync.spares import keep_spares
from keys.sync.switches import remove_keys, switch_keys
from keys.sync.usage import read_usage
from tenants.clock import database_now

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Step:
    """One kind of work at one level of urgency. ``interrupts``: it is also done between two calls of what is less urgent."""

    level: Priority
    work: Callable[[Session], bool]
    interrupts: bool = False

    def do(self, session: Session, backlog: Priority | None = None) -> bool:
        """Do a batch of it; whether there was anything to do. ``backlog``: see ``Session.at``."""
        with session.at(self.level, backlog):
            return self.work(session)


# What there is to do, the most urgent first. After each step that found work, everything is looked at anew from the top. What people
# wait for does not even wait for a step of something else, which may take many calls.
STEPS: Sequence[Step] = (
    Step(Priority.REVOKE, switch_keys, interrupts=True),
    Step(Priority.REVOKE, remove_keys, interrupts=True),
    Step(Priority.REVOKE, make_keys, interrupts=True),
    Step(Priority.PURCHASE, make_plans),
    Step(Priority.PURCHASE, make_keys, interrupts=True),
    Step(Priority.PURCHASE, switch_keys, interrupts=True),
    Step(Priority.LIMITS, change_plans),
    Step(Priority.SPARE, keep_spares),
    Step(Priority.SPARE, keep_canaries),
    Step(Priority.SPARE, make_keys),
    Step(Priority.SPARE, switch_keys),
    Step(Priority.SPARE, remove_keys),
    Step(Priority.NAME, name_keys),
    Step(Priority.REPAIR, make_keys),
    Step(Priority.REPAIR, switch_keys),
    Step(Priority.REPAIR, remove_keys),
)


def _read_usage(session: Session) -> bool:
    if not due.usage_is_due(session.gateway, session.now()):
        return False
    read_usage(session)
    return True


def _reconcile(session: Session) -> bool:
    if not due.reconcile_is_due(session.gateway, session.now()):
        return False
    reconcile_all(session)
    return True


def _compare(session: Session) -> bool:
    if not due.comparison_is_due(session.gateway):
        return False
    reconcile_all(session, dry_run=True)
    return True


def _check(session: Session) -> bool:
    if not due.check_is_due(session.gateway):
        return False
    check_permissions(session)
    return True


# Columns that say whether a chore is due: written while a turn lasts, by staff and by the chores themselves.
ASKED_AND_DONE = (
    *("usage_read_at", "reconcile_requested_at", "last_reconciled_at"),
    *("dry_run_requested_at", "check_requested_at", "permissions_checked_at"),
)
# What comes due by the clock, or because staff asked: done when there is nothing else to do, and beside a backlog.
CHORES: Sequence[Step] = tuple(Step(Priority.REPAIR, work) for work in (_read_usage, _reconcile, _compare, _check, work_on_adoption))


def converge(gateway_id: uuid.UUID) -> bool:
    """Work on everything that is due on a gateway, tell of the keys that became ready, then return: whether the turn was over before the
    work was, so that somebody should go on at once.

    Whoever does not get the lease leaves: its holder sees the new rows by itself. After the release there is one more look, so that a
    row which came between the holder's last look and the release is not forgotten.
    """
    while (is_over := _hold(gateway_id)) is False and due.has_rows(gateway_id, database_now()):
        pass
    tell_ready()
    return bool(is_over)


def reconcile(gateway_id: uuid.UUID, *, dry_run: bool = False, most_deletions: int | None = None) -> ReconcileRun | None:
    """Compare everything on a gateway now and, unless ``dry_run``, repair it. None when somebody else holds the gateway's lease.

    ``most_deletions``: see ``reconcile_all``.
    """
    run = None
    with speak_to(gateway_id) as session:
        if session is not None:
            session.interrupt = go_first
            run = reconcile_all(session, dry_run=dry_run, most_deletions=most_deletions)
    if run is not None and not dry_run:
        converge(gateway_id)
    return run


def _hold(gateway_id: uuid.UUID) -> bool | None:
    """Work under the lease: False when nothing that is due was left, True when the turn was over first, None when somebody else has the
    lease, or the gateway is left alone."""
    is_over = None
    with speak_to(gateway_id) as session:
        if session is not None:
            session.interrupt = go_first
            try:
                _work(session)
            except CircuitOpen:
                settle(session)  # the reasons why the rest is not repaired
                raise
            settle(session)
            is_over = session.is_over
            log.info("converge.done", gateway_id=str(gateway_id), finished=not is_over)
    return is_over


def _work(session: Session) -> None:
    share = Share((*CHORES, *STEPS))
    _drain(session, share)
    session.gateway.refresh_from_db(fields=ASKED_AND_DONE)
    for chore in CHORES:
        if not session.is_over and chore.do(session):
            _drain(session, share)


def _drain(session: Session, share: Share[Step]) -> None:
    """Do all steps until none finds anything, or the turn is over. A gateway that forgot our plans is compared as a whole first, once."""
    compared = False
    while True:
        beat(session)
        if session.forgot and not compared:
            reconcile_all(session)
            compared = True
        calls = session.calls.total
        done = next((step for step in STEPS if step.do(session)), None)
        if done is None or session.is_over:
            return
        share.spent(session.calls.total - calls)
        if share.is_due:
            _let_others(session, share, done.level)


def _let_others(session: Session, share: Share[Step], backlog: Priority) -> None:
    """A batch of something that is less urgent than ``backlog``, if there is anything."""
    calls, aside = session.calls.total, session.calls_aside
    session.gateway.refresh_from_db(fields=ASKED_AND_DONE)
    next((step for step in share.turns() if step.level > backlog and step.do(session, backlog)), None)
    share.taken(session.calls.total - calls - (session.calls_aside - aside))


def go_first(session: Session) -> None:
    """Do what people wait for, where something less urgent is being done: all of it, or a batch where the turn is over, or where it is
    itself the backlog beside which something has its share. Nobody who revokes a key waits for any of that."""
    rank = session.rank
    for step in STEPS:
        if not step.interrupts or step.level >= max(rank, Priority.PURCHASE) or (session.is_over and step.level > Priority.REVOKE):
            continue
        while step.do(session) and step.level < rank and not session.is_over:
            pass
