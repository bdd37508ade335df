"""Make one gateway equal to the desired columns."""

import uuid
from collections.abc import Callable, Sequence

import structlog
from django.utils import timezone

from keys.models import Priority, ReconcileRun
from keys.sync import due
from keys.sync.heartbeat import beat
from keys.sync.imports import import_keys
from keys.sync.plans import change_plans, make_plans
from keys.sync.ready import tell_ready
from keys.sync.reconcile import reconcile_all
from keys.sync.session import Session, speak_to
from keys.sync.switches import remove_keys, switch_keys
from keys.sync.usage import read_usage

log = structlog.get_logger(__name__)

# What there is to do, the most urgent first. After each step that found work, everything is looked at anew from the top: a revoke
# never waits for more than one step of something else.
STEPS: Sequence[Callable[[Session], bool]] = (
    lambda session: switch_keys(session, Priority.REVOKE),
    lambda session: remove_keys(session, Priority.REVOKE),
    make_plans,
    lambda session: import_keys(session, Priority.PURCHASE),
    lambda session: switch_keys(session, Priority.PURCHASE),
    change_plans,
    lambda session: import_keys(session, Priority.REPAIR),
    lambda session: switch_keys(session, Priority.REPAIR),
    lambda session: remove_keys(session, Priority.REPAIR),
)


def converge(gateway_id: uuid.UUID) -> None:
    """Work on everything that is due on a gateway, tell of the keys that became ready, then return.

    Whoever does not get the lease leaves: its holder sees the new rows by itself. After the release there is one more look, so that a
    row which came between the holder's last look and the release is not forgotten.
    """
    while _hold(gateway_id) and due.has_rows(gateway_id, timezone.now()):
        pass
    tell_ready()


def reconcile(gateway_id: uuid.UUID, *, dry_run: bool = False, most_deletions: int | None = None) -> ReconcileRun | None:
    """Compare everything on a gateway now and, unless ``dry_run``, repair it. None when somebody else holds the gateway's lease.

    ``most_deletions``: see ``reconcile_all``.
    """
    run = None
    with speak_to(gateway_id) as session:
        if session is not None:
            run = reconcile_all(session, dry_run=dry_run, most_deletions=most_deletions)
    if run is not None and not dry_run:
        converge(gateway_id)
    return run


def _hold(gateway_id: uuid.UUID) -> bool:
    """Work under the lease; True when nothing that is due was left."""
    finished = False
    with speak_to(gateway_id) as session:
        if session is not None:
            _work(session)
            finished = not session.is_over
            log.info("converge.done", gateway_id=str(gateway_id), finished=finished)
    return finished


def _work(session: Session) -> None:
    _drain(session)
    if not session.is_over and due.reconcile_is_due(session.gateway, timezone.now()):
        reconcile_all(session)
        _drain(session)
    if not session.is_over and due.usage_is_due(session.gateway, timezone.now()):
        read_usage(session)


def _drain(session: Session) -> None:
    """Do all steps until none finds anything, or the turn is over. A gateway that forgot our plans is compared as a whole first, once."""
    compared = False
    while True:
        beat(session)
        if session.forgot and not compared:
            reconcile_all(session)
            compared = True
        if not any(step(session) for step in STEPS) or session.is_over:
            return
