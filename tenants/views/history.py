"""The audit trail as tenants read it on the page of a thing."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _

from tenants.models import AuditEvent


@dataclass(frozen=True, kw_only=True)
class HistoryLine:
    """One thing that was done."""

    at: datetime
    who: str
    what: str


def lines_of(events: Iterable[AuditEvent], words: Callable[[AuditEvent], str]) -> list[HistoryLine]:
    """The audit trail in plain past tense, which ``words`` finds. The events' actors must be selected with them."""
    return [HistoryLine(at=event.created_at, who=_who(event), what=words(event)) for event in events]


def _who(event: AuditEvent) -> str:
    """A tenant reads the addresses of its own people only: those who run the portal have no names here, nor do its commands."""
    if event.actor is None:
        return _("System")
    return _("Tollgate staff") if event.actor.is_staff else event.actor_label
