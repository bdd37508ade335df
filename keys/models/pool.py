"""The POOL gateway keys of one tier, and the places on them."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from keys.models.tier import Tier

# Gateway keys of one pool, at most: half of what an account and Region holds.
LARGEST_POOL = 5_000


class Pool(models.Model):
    """A pooled tier's set of gateway keys. Tenants are spread over them by ticket.

    A ticket is a number drawn for each purchase; ticket ``t`` of a pool of ``size`` keys is slot ``t // size`` on the gateway key at
    position ``t mod size``, so purchases fill the keys evenly without reading any load. On PostgreSQL tickets come from a sequence
    (no row is locked; a rolled-back purchase leaves a gap), on SQLite from ``next_ticket``. See ``keys.models.tickets``.
    """

    tier = models.OneToOneField(Tier, on_delete=models.PROTECT, related_name="pool", verbose_name=_("tier"))
    size = models.PositiveIntegerField(_("gateway keys"))
    next_ticket = models.BigIntegerField(_("next ticket"), default=0, editable=False)
    # Whether more places than the free ones lie below the fullest key's load: the sweep lists them once those are used up.
    lacks_places = models.BooleanField(default=False, editable=False)
    # The sweep for gaps: tickets below swept_ticket are settled; those below sweep_to were drawn before sweep_seen_at.
    swept_ticket = models.BigIntegerField(default=0, editable=False)
    sweep_to = models.BigIntegerField(default=0, editable=False)
    sweep_seen_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        verbose_name = _("pool")
        verbose_name_plural = _("pools")
        constraints = [models.CheckConstraint(condition=Q(size__gte=1), name="pool_has_a_gateway_key")]

    def __str__(self) -> str:
        return f"pool of {self.tier}"


class FreeSlot(models.Model):
    """A place on a pool key that somebody left, or that a rolled-back purchase skipped. Taken before a new ticket is drawn."""

    pool = models.ForeignKey(Pool, on_delete=models.CASCADE, related_name="free_slots")
    gateway_key = models.ForeignKey("keys.GatewayKey", on_delete=models.CASCADE, related_name="free_slots")
    slot = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["gateway_key", "slot"], name="free_slot_once_a_gateway_key")]
        indexes = [models.Index(fields=["pool", "slot"], name="free_slot_lowest_first")]

    def __str__(self) -> str:
        return f"slot {self.slot} of {self.gateway_key_id}"
