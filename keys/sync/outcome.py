"""Writing what was seen: the observed columns, and only here. Each function is one transaction that begins by renewing the lease.

``synced_revision`` gets the revision that was read before the call: an intent that came meanwhile stays pending by itself.

What a gateway key's columns say of the gateway:
``changed_at`` of a row that is thrown out of step is the moment of that: it says how long something has been waiting, not since when it
was wanted first.
``name`` empty: it is not there. ``name`` without ``remote_id``: it was sent, and nobody knows yet. ``remote_id``: it was seen there;
without a ``name`` it was taken over or renamed there, and bears a name that somebody else gave it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import structlog
from django.db.models import CharField, F, Value
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Cast, Concat, Now, Replace

from keys.gateway.errors import TROUBLE, GatewayError, Permanent
from keys.gateway.patches import plain
from keys.gateway.types import PlanSpec, RemotePlan
from keys.models import GatewayKey, Priority, UsagePlan
from keys.models.room import give_back
from keys.sync.backoff import LONGEST_SECONDS, backoff
from keys.sync.breaker import LONGEST_PAUSE_SECONDS
from keys.sync.names import name_in
from keys.sync.session import Session

log = structlog.get_logger(__name__)

_UNTROUBLED = {"attempts": 0, "next_try_at": None, "permanent": False, "last_error": ""}
_CHUNK = 500
# From when a key is answered; an expression: as many seconds from now, by the database's clock.
InService = datetime | CombinedExpression | None


# --- Gateway keys


def named(session: Session, rows: Sequence[GatewayKey], batch: str) -> None:
    """The names under which ``rows`` are about to be sent: stored first, so that whatever happens they can be found again."""
    for row in rows:
        row.name = name_in(batch, row.pk)
    # One statement for all: the id is written with hyphens in some databases.
    digits = Replace(Cast(F("pk"), CharField()), Value("-"), Value(""))
    _update(session, rows, name=Concat(Value(batch), digits, output_field=CharField()))


def renamed(session: Session, row: GatewayKey, name: str) -> None:
    """The gateway holds a key that was taken over under this name of ours from now on."""
    with session.lease.writing():
        columns = {"name": name, "attempts": 0, "next_try_at": None, "last_error": ""}
        GatewayKey.objects.filter(pk=row.pk, remote_id=row.remote_id, name="").update(**columns)


def misnamed(session: Session, rows: Iterable[GatewayKey]) -> None:
    """The gateway holds these keys under a name that somebody else gave them; they are answered all the same."""
    _update(session, rows, name="")


def confirmed(session: Session, seen: Mapping[GatewayKey, str]) -> None:
    """The gateway holds these keys as they shall be, under these ids.

    A key that was not answered until now is in service once its propagation time has passed.
    """
    now, alike = session.now(), defaultdict[tuple[int, InService], list[GatewayKey]](list)
    propagated_at = Now() + timedelta(seconds=session.gateway.propagation_seconds)
    for row in seen:
        alike[(row.revision, (row.in_service_at or propagated_at) if row.enabled else None)].append(row)
    with session.lease.writing():
        _note_ids(seen)
        for (revision, in_service_at), rows in alike.items():
            _update(session, rows, synced_revision=revision, in_service_at=in_service_at, synced_at=now, **_UNTROUBLED)


def found(session: Session, seen: Mapping[GatewayKey, str]) -> None:
    """The gateway holds these keys, but not as they shall be: they stay pending."""
    with session.lease.writing():
        _note_ids(seen)
        _update(session, seen, in_service_at=None)


def missing(session: Session, rows: Iterable[GatewayKey]) -> None:
    """The gateway does not hold these keys: they are made anew, with the same value."""
    rows = list(rows)
    for row in rows:
        row.name, row.remote_id, row.in_service_at, row.synced_revision = "", "", None, 0
    _update(session, rows, name="", remote_id="", in_service_at=None, synced_revision=0, changed_at=session.now())


def differing(session: Session, rows: Iterable[GatewayKey]) -> None:
    """The gateway holds these keys otherwise than they shall be: they are sent again."""
    _update(session, rows, in_service_at=None, synced_revision=0, changed_at=session.now())


def cut_off(session: Session, rows: Iterable[GatewayKey]) -> None:
    """The gateway holds these keys disabled, until they are removed: which is no hurry any more."""
    _update(session, rows, in_service_at=None, priority=Priority.SPARE)


def removed(session: Session, row: GatewayKey) -> None:
    """The gateway no longer holds the key."""
    now = session.now()
    columns = {"removed_at": now, "in_service_at": None, "synced_revision": row.revision, "synced_at": now, **_UNTROUBLED}
    with session.lease.writing():
        if GatewayKey.objects.filter(pk=row.pk, removed_at=None).update(**columns):
            give_back(row.gateway_id)


def failed(session: Session, rows: Iterable[GatewayKey], error: GatewayError) -> None:
    """A call for these keys failed: they are tried later, together, or wait for a person. A newer intent is not held up by it."""
    _note_failure(session, rows, error, permanent=isinstance(error, Permanent))


def postponed(session: Session, rows: Iterable[GatewayKey], error: GatewayError) -> None:
    """Like ``failed``, but tried again whatever the error is: for what must never be given up."""
    _note_failure(session, rows, error, permanent=False)


# --- Usage plans


def plan_confirmed(session: Session, plan: UsagePlan, remote: RemotePlan) -> None:
    """The gateway holds the plan as it shall be."""
    seen = {"remote_id": remote.id, "observed": shown(remote.spec), "synced_revision": plan.revision, "synced_at": session.now()}
    _update_plan(session, plan, **seen, **_UNTROUBLED)


def plan_found(session: Session, plan: UsagePlan, remote: RemotePlan) -> None:
    """The gateway holds the plan, but otherwise than it shall be."""
    _update_plan(session, plan, remote_id=remote.id, observed=shown(remote.spec), synced_revision=0)


def plan_missing(session: Session, plan: UsagePlan) -> None:
    """The gateway does not hold the plan, and so none of its keys is answered."""
    with session.lease.writing():
        UsagePlan.objects.filter(pk=plan.pk).update(remote_id="", observed={}, synced_revision=0, changed_at=session.now())
        plan.gateway_keys.filter(removed_at=None).update(in_service_at=None)


def plan_failed(session: Session, plan: UsagePlan, error: GatewayError) -> None:
    """A call for the plan failed: it is tried later, or waits for a person."""
    with session.lease.writing():
        trouble = _trouble(session, plan, error, permanent=isinstance(error, Permanent))
        UsagePlan.objects.filter(pk=plan.pk, revision=plan.revision).update(**trouble)


def plan_waits(session: Session, plan: UsagePlan, seconds: float) -> None:
    """It is not the plan's turn yet under the account's rates."""
    _update_plan(session, plan, next_try_at=session.now() + timedelta(seconds=seconds))


def shown(spec: PlanSpec) -> dict[str, object]:
    """A plan's limits and stages as ``UsagePlan.observed`` keeps them. Numbers of requests a second are text, as they are decimals."""
    return {
        "name": spec.name,
        "rate": None if spec.rate is None else plain(spec.rate),
        "burst": spec.burst,
        "quota_limit": spec.quota_limit,
        "quota_period": spec.quota_period,
        "stages": sorted(spec.stages),
    }


def _note_ids(seen: Mapping[GatewayKey, str]) -> None:
    changed = []
    for row, remote_id in seen.items():
        if row.remote_id != remote_id:
            row.remote_id = remote_id
            changed.append(row)
    if changed:
        GatewayKey.objects.bulk_update(changed, ["remote_id"], batch_size=_CHUNK)


def _trouble(session: Session, row: GatewayKey | UsagePlan, error: GatewayError, *, permanent: bool) -> dict[str, object]:
    log.warning("row.failed", row=type(row).__name__, id=str(row.pk), reason=str(error.kind or "not_found"), permanent=permanent)
    attempts = row.attempts + 1
    # When the gateway itself is in trouble, the circuit breaker keeps calls few; the row shall be done soon after the trouble is over.
    longest = LONGEST_PAUSE_SECONDS if error.kind in TROUBLE else LONGEST_SECONDS
    next_try_at = session.now() + backoff(attempts, longest=longest)
    return {"attempts": attempts, "next_try_at": next_try_at, "permanent": permanent, "last_error": str(error)}


def _note_failure(session: Session, rows: Iterable[GatewayKey], error: GatewayError, *, permanent: bool) -> None:
    alike: dict[tuple[int, int], list[GatewayKey]] = defaultdict(list)
    for row in rows:
        alike[(row.revision, row.attempts)].append(row)
    with session.lease.writing():
        for (revision, _attempts), group in alike.items():
            trouble = _trouble(session, group[0], error, permanent=permanent)
            for start in range(0, len(group), _CHUNK):
                ids = [row.pk for row in group[start : start + _CHUNK]]
                GatewayKey.objects.filter(pk__in=ids, revision=revision).update(**trouble)


def _update(session: Session, rows: Iterable[GatewayKey], **columns: object) -> None:
    ids = [row.pk for row in rows]
    with session.lease.writing():
        for start in range(0, len(ids), _CHUNK):
            GatewayKey.objects.filter(pk__in=ids[start : start + _CHUNK]).update(**columns)


def _update_plan(session: Session, plan: UsagePlan, **columns: object) -> None:
    with session.lease.writing():
        UsagePlan.objects.filter(pk=plan.pk).update(**columns)
