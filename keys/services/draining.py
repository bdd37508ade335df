"""Draining a gateway: it gets no new keys, and what can move leaves it.

The workers do the moving (``keys.sync.draining``), until nothing is left that can be moved: pools at once, siloed API keys when staff say
so, because their tenants get another credential and another URL, and have to act within the grace period. What was left works for that
long and is removed then.
"""

from django.db import transaction
from django.utils.translation import gettext as _

from keys.models import Gateway
from keys.services.bell import ring
from keys.services.gateways import UnableToChangeGateway
from tenants.audit import Actor, record
from tenants.clock import database_now


def drain(*, gateway: Gateway, actor: Actor) -> Gateway:
    """Make no new keys there from now on, end its spares, and let its pools move. Nothing happens to one that is drained already."""
    with transaction.atomic():
        gateway = Gateway.objects.select_for_update(no_key=True).get(pk=gateway.pk)
        if gateway.draining_since is None:
            gateway.draining_since, gateway.accepts_keys = database_now(), False
            gateway.save(update_fields=["draining_since", "accepts_keys"])
            record(actor=actor, action="gateway.drained", target=gateway)
            ring(gateway.pk)
    return gateway


def undrain(*, gateway: Gateway, actor: Actor) -> Gateway:
    """Let it take new keys again, and stop what moves. What left it stays where it is."""
    with transaction.atomic():
        gateway = Gateway.objects.select_for_update(no_key=True).get(pk=gateway.pk)
        if gateway.draining_since is not None:
            gateway.draining_since, gateway.moves_siloed_since, gateway.accepts_keys = None, None, True
            gateway.save(update_fields=["draining_since", "moves_siloed_since", "accepts_keys"])
            record(actor=actor, action="gateway.undrained", target=gateway)
            ring(gateway.pk)
    return gateway


def move_siloed(*, gateway: Gateway, actor: Actor) -> Gateway:
    """Let the workers move the siloed API keys of a drained gateway, too: all that work and whose credential before this one has ended, and
    the others as soon as that is so. Nothing happens when they do already. Raises UnableToChangeGateway unless the gateway is drained."""
    with transaction.atomic():
        gateway = Gateway.objects.select_for_update(no_key=True).get(pk=gateway.pk)
        if gateway.draining_since is None:
            raise UnableToChangeGateway(_("Drain the gateway first: else the keys would come back to it."))
        if gateway.moves_siloed_since is None:
            gateway.moves_siloed_since = database_now()
            gateway.save(update_fields=["moves_siloed_since"])
            record(actor=actor, action="gateway.siloed_keys_move", target=gateway)
            ring(gateway.pk)
    return gateway
