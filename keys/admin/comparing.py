"""Comparing gateways with the database, asked for on their pages: to look only, or to repair what differs."""

from datetime import timedelta

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from keys import words
from keys.admin.verbs import Inputs, Verb
from keys.models import Gateway
from keys.services import gateways
from tenants.audit import Actor

_LISTS = gettext_lazy("All usage plans and keys are listed and compared with the database: about 40 calls for 10,000 keys.")


def compare(gateway: Gateway, _inputs: Inputs, actor: Actor) -> str:
    """Ask for a comparison that changes nothing."""
    gateways.request_reconcile(gateway=gateway, dry_run=True, actor=actor)
    return _("Everything on %(gateway)s is compared as soon as its worker gets to it, and nothing is changed; the run appears below.") % {
        "gateway": gateway
    }


def repair(gateway: Gateway, _inputs: Inputs, actor: Actor) -> str:
    """Ask for a comparison whose findings are repaired."""
    gateways.request_reconcile(gateway=gateway, actor=actor)
    return _("Everything on %(gateway)s is compared and repaired as soon as its worker gets to it; the run appears below.") % {
        "gateway": gateway
    }


COMPARE: Verb[Gateway] = Verb(
    slug="compare",
    word=gettext_lazy("Compare only"),
    act=compare,
    effect=lambda _gateway: [str(_LISTS), _("What differs is kept as findings. Nothing is changed.")],
    tone="",
    asks=False,
)
RECONCILE: Verb[Gateway] = Verb(
    slug="reconcile",
    word=gettext_lazy("Compare and repair"),
    act=repair,
    effect=lambda _gateway: [
        str(_LISTS),
        _("What is missing or differs is repaired. Keys with our mark that no row explains are disabled, and deleted %(time)s later.")
        % {"time": words.duration_text(timedelta(seconds=settings.QUARANTINE_SECONDS))},
        _("Keys that are not ours are never touched. Where more than 1 % of the keys would have to go, nothing is changed."),
    ],
    tone="",
    asks=False,
)
