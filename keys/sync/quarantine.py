"""Keys at a gateway that bear our mark and that no row explains: disabled, kept for a while, then deleted.

More of them than a run may touch means that the database or a list is wrong, not the gateway: then none is touched.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from keys.gateway.errors import GatewayError
from keys.models import Finding
from keys.sync.drift import Difference
from keys.sync.session import Session

log = structlog.get_logger(__name__)


def quarantine(session: Session, extras: Sequence[Difference], most: int) -> list[tuple[Difference, str, datetime | None]]:
    """Deal with extra keys, at most ``most`` disabled and ``most`` deleted. Returns those that were not known yet: (key, what was done,
    since when it is in quarantine); what is done about the known ones is written to the findings they have."""
    now = timezone.now()
    open_findings = {finding.remote_id: finding for finding in _open(session)}
    _close_explained(session, open_findings, {each.remote_id for each in extras}, now)
    new = [each for each in extras if each.remote_id not in open_findings]
    ripe_since = now - timedelta(seconds=settings.QUARANTINE_SECONDS)
    ripe = [open_findings[each.remote_id] for each in extras if each.remote_id in open_findings]
    _delete(session, [finding for finding in ripe if finding.quarantined_at and finding.quarantined_at <= ripe_since], most)
    return [(each, *_disable(session, each, now, refused=len(new) > most)) for each in new]


def _open(session: Session) -> QuerySet[Finding]:
    return Finding.objects.filter(gateway=session.gateway, quarantined_at__isnull=False, resolved_at=None)


def _close_explained(session: Session, findings: dict[str, Finding], extra_ids: set[str], now: datetime) -> None:
    """Findings whose key is gone, or has a row now, are over."""
    over = [finding.pk for remote_id, finding in findings.items() if remote_id not in extra_ids]
    if over:
        with session.lease.writing():
            Finding.objects.filter(pk__in=over).update(resolved_at=now, action=_("Over: it is gone, or known again."))


def _disable(session: Session, extra: Difference, now: datetime, *, refused: bool) -> tuple[str, datetime | None]:
    if refused:
        return _(
            "Left alone: there are so many that the database may be what is wrong. Look into it, then raise the limit for one run."
        ), None
    try:
        session.client.update_key_enabled(extra.remote_id, enabled=False)
    except GatewayError as error:
        return _("Could not be disabled: %(error)s") % {"error": error}, None
    log.warning("key.quarantined", gateway_id=str(session.gateway.pk), remote_id=extra.remote_id)
    return _("Disabled; it will be deleted unless a row explains it by then."), now


def _delete(session: Session, ripe: Sequence[Finding], most: int) -> None:
    if len(ripe) > most:
        log.warning("quarantine.refused", gateway_id=str(session.gateway.pk), keys=len(ripe), most=most)
        return
    for finding in ripe:
        try:
            session.client.delete_key(finding.remote_id)
        except GatewayError as error:
            log.info("quarantine.postponed", remote_id=finding.remote_id, reason=str(error.kind))
            continue
        with session.lease.writing():
            Finding.objects.filter(pk=finding.pk).update(resolved_at=timezone.now(), action=_("Deleted after its quarantine."))
        log.warning("key.deleted_after_quarantine", gateway_id=str(session.gateway.pk), remote_id=finding.remote_id)
