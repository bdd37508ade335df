"""What staff do with a gateway beside comparing it: check the workers' rights there, and drain it."""

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from keys import words
from keys.admin import cells
from keys.admin.verbs import Inputs, Verb
from keys.drains import drain_of
from keys.models import Gateway
from keys.services import draining, gateways
from tenants.audit import Actor


def rights_cell(gateway: Gateway) -> SafeString:
    """What the workers may do there, when that was last looked up."""
    asked, checked = gateway.check_requested_at, gateway.permissions_checked_at
    if asked is not None and (checked is None or checked < asked):
        return cells.status("waiting", _("Asked for, not checked yet"))
    if checked is None:
        return cells.status("off", _("Not checked"))
    if not gateway.permissions_missing:
        return cells.lines(cells.status("good", _("All that is needed")), cells.moment(checked, ""))
    lacking = cells.status("bad", _("Rights lack: add these to the workers' policy (deploy/iam)"))
    return cells.lines(lacking, *[each["words"] for each in gateway.permissions_missing])


def _left(held: int) -> str:
    return ngettext("%(count)s key left", "%(count)s keys left", held) % {"count": words.number_of(held)}


def drain_cell(gateway: Gateway) -> SafeString:
    """How far the drain is."""
    drain = drain_of(gateway)
    if drain.since is None:
        return cells.status("off", _("Not drained"))
    state = cells.status("good", _("Empty")) if not drain.held else cells.status("waiting", _left(drain.held))
    return cells.lines(state, *(drain.lines if drain.held else ()))


def _check(gateway: Gateway, _inputs: Inputs, actor: Actor) -> str:
    gateways.request_check(gateway=gateway, actor=actor)
    return _("Its worker tries every right as soon as it gets to it; what lacks appears below.")


def _drain(gateway: Gateway, _inputs: Inputs, actor: Actor) -> str:
    draining.drain(gateway=gateway, actor=actor)
    return _("%(gateway)s gets no new keys from now on; how far the drain is stands below.") % {"gateway": gateway}


def _undrain(gateway: Gateway, _inputs: Inputs, actor: Actor) -> str:
    draining.undrain(gateway=gateway, actor=actor)
    return _("%(gateway)s takes new keys again.") % {"gateway": gateway}


def _move_siloed(gateway: Gateway, _inputs: Inputs, actor: Actor) -> str:
    draining.move_siloed(gateway=gateway, actor=actor)
    return _("The workers move the siloed API keys of %(gateway)s now; how far that is stands below.") % {"gateway": gateway}


def _siloed_there(gateway: Gateway) -> str:
    drain = drain_of(gateway)
    text = ngettext(
        "%(count)s siloed API key is on this gateway, and %(stuck)s cannot move for now.",
        "%(count)s siloed API keys are on this gateway, and %(stuck)s cannot move for now.",
        drain.siloed,
    )
    return text % {"count": words.number_of(drain.siloed), "stuck": words.number_of(drain.siloed_stuck)}


CHECK: Verb[Gateway] = Verb(slug="check", word=gettext_lazy("Check rights"), act=_check, tone="", asks=False)
DRAIN: Verb[Gateway] = Verb(
    slug="drain",
    word=gettext_lazy("Drain"),
    act=_drain,
    effect=lambda gateway: [
        _("No new keys are made on this gateway, and its spares are removed."),
        _("Tenants of its pool keys move to the tiers' other gateways and get another credential and URL; the old ones work 7 days."),
        words.who_is_told(),
        _("Siloed API keys stay until you let them move, too."),
        *drain_of(gateway).lines,
    ],
    offered=lambda gateway: gateway.draining_since is None,
)
MOVE_SILOED: Verb[Gateway] = Verb(
    slug="move-siloed",
    word=gettext_lazy("Move siloed keys"),
    act=_move_siloed,
    effect=lambda gateway: [
        _("Each siloed API key gets a new credential on another gateway of its tier, with another URL, in parts."),
        _("The old credential and URL work for 7 days, so their tenants have to act within that time."),
        words.who_is_told(),
        _("Keys that are disabled, being prepared or being rotated follow when they can."),
        _siloed_there(gateway),
    ],
    offered=lambda gateway: gateway.draining_since is not None and gateway.moves_siloed_since is None,
)
UNDRAIN: Verb[Gateway] = Verb(
    slug="undrain",
    word=gettext_lazy("End the drain"),
    act=_undrain,
    offered=lambda gateway: gateway.draining_since is not None,
    tone="",
    asks=False,
)
