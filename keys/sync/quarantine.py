"""Keys at a gateway that bear our mark and that no row explains: disabled, kept for a while, then deleted.

More of them than a run may touch means that the database or a list is wrong, not the gateway: then the run is stopped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog
from django.conf import settings
from django.utils.translation import gettext as _

from keys.gateway.errors import GatewayError, NotFound
from keys.models import Finding, GatewayKey
from keys.sync.drift import Difference
from keys.sync.names import mark_of
from keys.sync.repairs import LONGEST_TROUBLE
from keys.sync.session import Session
from keys.words import number_of

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Quarantine:
    """What is to be done: keys to disable, findings whose keys are to be deleted, and findings that are over with the reason why."""

    new: Sequence[Difference]
    ripe: Sequence[Finding]
    over: Sequence[tuple[Finding, str]]

    def refusal(self, most: int) -> str:
        """Why a run that may disable ``most`` keys, and delete so many, must not go on; "" when it may."""
        if max(len(self.new), len(self.ripe)) <= most:
            return ""
        words = _(
            "%(new)s keys would have been disabled and %(ripe)s deleted, where a run may do %(most)s of each: so many that the database, "
            "or a list, may be what is wrong. Nothing was changed. Look into it, then raise the limit for one run "
            "(manage.py reconcile --most-deletions)."
        )
        return words % {"new": number_of(len(self.new)), "ripe": number_of(len(self.ripe)), "most": number_of(most)}


def sort_out(session: Session, strays: Sequence[Difference]) -> Quarantine:
    """What is to be done about the keys that no row explains. One that somebody enabled again begins its quarantine anew."""
    there = {each.remote_id: each for each in strays}
    ripe_since = session.now() - timedelta(seconds=settings.QUARANTINE_SECONDS)
    kept, ripe, over = set(), [], []
    for finding in Finding.objects.filter(gateway=session.gateway, quarantined_at__isnull=False, resolved_at=None):
        stray = there.get(finding.remote_id)
        if stray is None:
            over.append((finding, _("Over: it is gone, or known again.")))
        elif stray.enabled:
            over.append((finding, _("Over: somebody enabled it again.")))
        else:
            kept.add(finding.remote_id)
            if finding.quarantined_at and finding.quarantined_at <= ripe_since:
                ripe.append(finding)
    return Quarantine([each for each in strays if each.remote_id not in kept], ripe, over)


def close(session: Session, over: Sequence[tuple[Finding, str]]) -> None:
    """Note of findings that they are over."""
    with session.lease.writing():
        for finding, why in over:
            Finding.objects.filter(pk=finding.pk).update(resolved_at=session.now(), action=why)


def disable(session: Session, findings: Sequence[Finding]) -> None:
    """Disable the keys of new findings, each after one more look at it: their quarantine begins."""
    for finding in findings:
        columns: dict[str, object] = {"action": _("Left alone: it is gone, or somebody's."), "resolved_at": session.now()}
        try:
            if _is_stray(session, finding.remote_id):
                session.client.update_key_enabled(finding.remote_id, enabled=False)
                words = _("Disabled; it will be deleted unless a row explains it by then.")
                columns = {"action": words, "quarantined_at": session.now()}
                log.warning("key.quarantined", gateway_id=str(session.gateway.pk), remote_id=finding.remote_id)
        except GatewayError as error:
            columns = {"trouble": str(error)[:LONGEST_TROUBLE]}
        with session.lease.writing():
            Finding.objects.filter(pk=finding.pk).update(**columns)


def delete(session: Session, ripe: Sequence[Finding]) -> None:
    """Delete keys whose quarantine has passed, each after one more look at it: this cannot be undone. Who is no stray any more is left
    to the next run, which sees what it is."""
    for finding in ripe:
        try:
            if not _is_stray(session, finding.remote_id, enabled=False):
                continue
            session.client.delete_key(finding.remote_id)
        except GatewayError as error:
            log.info("quarantine.postponed", remote_id=finding.remote_id, reason=str(error.kind))
            continue
        close(session, [(finding, _("Deleted after its quarantine."))])
        log.warning("key.deleted_after_quarantine", gateway_id=str(session.gateway.pk), remote_id=finding.remote_id)


def _is_stray(session: Session, remote_id: str, *, enabled: bool | None = None) -> bool:
    """Whether a key is there, bears our mark and has no row; and is enabled or disabled, if that matters. Raises GatewayError."""
    try:
        key = session.client.get_key(remote_id)
    except NotFound:
        return False
    ours = GatewayKey.objects.filter(gateway=session.gateway, remote_id=remote_id, removed_at=None)
    return key.name.startswith(mark_of(session.gateway.pk)) and enabled in (None, key.enabled) and not ours.exists()
