"""An API key that exists, or shall exist, in API Gateway."""

import uuid
from datetime import datetime

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from keys.models.gateway import Gateway
from keys.models.pool import Pool
from keys.models.synced import Synced
from keys.models.usage_plan import UsagePlan


class KeyRole(models.TextChoices):
    """What a gateway key is for."""

    POOL = "pool", _("Pool: shared by tenants of a pooled tier")
    SILO = "silo", _("Silo: one tenant's own")
    SPARE = "spare", _("Spare: made ahead of demand")
    CANARY = "canary", _("Canary: proves its usage plan")


class Priority(models.IntegerChoices):
    """What the lease holder does first when the gateway's rates are short."""

    REVOKE = 0, _("Revoke or disable")
    PURCHASE = 10, _("Purchase")
    LIMITS = 20, _("Changed limits")
    SPARE = 30, _("Spare")
    NAME = 35, _("Name")
    REPAIR = 40, _("Repair")


class GatewayKeyQuerySet(models.QuerySet["GatewayKey"]):
    def pending(self, now: datetime) -> "GatewayKeyQuerySet":
        """Not yet what it shall be, or past its end; whether or not a retry is due."""
        return self.filter(Q(synced_revision__lt=F("revision")) | Q(ends_at__lte=now, removed_at=None), removed_at=None)

    def due(self, now: datetime) -> "GatewayKeyQuerySet":
        """Pending, and neither postponed nor waiting for a person."""
        return self.pending(now).filter(Q(next_try_at=None) | Q(next_try_at__lte=now), permanent=False)

    def live(self) -> "GatewayKeyQuerySet":
        """Shall exist for good: neither ended nor on the way out."""
        return self.filter(ends_at=None)


class GatewayKey(Synced):
    """One key of API Gateway. Value and name are chosen and stored before the first call, so that every call is safe to repeat.

    Desired: ``enabled``, ``ends_at`` (it shall be gone from then on). Observed: ``in_service_at``, ``removed_at``.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    gateway = models.ForeignKey(Gateway, on_delete=models.PROTECT, related_name="gateway_keys", verbose_name=_("gateway"))
    usage_plan = models.ForeignKey(UsagePlan, on_delete=models.PROTECT, related_name="gateway_keys", verbose_name=_("usage plan"))
    role = models.CharField(_("role"), max_length=10, choices=KeyRole.choices)
    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, null=True, blank=True, related_name="gateway_keys", verbose_name=_("pool"))
    position = models.PositiveIntegerField(_("position in its pool"), null=True, blank=True)
    value_encrypted = models.TextField(editable=False)
    value_sha256 = models.CharField(max_length=64, unique=True, editable=False)
    last_four = models.CharField(_("ends in"), max_length=4, editable=False)
    name = models.CharField(_("name at API Gateway"), max_length=100, blank=True, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    # Desired
    enabled = models.BooleanField(_("shall be enabled"), default=True)
    ends_at = models.DateTimeField(_("shall be gone from"), null=True, blank=True)
    priority = models.SmallIntegerField(_("priority"), choices=Priority.choices, default=Priority.PURCHASE, editable=False)
    # Observed
    in_service_at = models.DateTimeField(
        _("in service from"),
        null=True,
        editable=False,
        help_text=_("When it was seen enabled and in its plan, and its propagation time has passed."),
    )
    removed_at = models.DateTimeField(_("gone since"), null=True, editable=False)

    objects = GatewayKeyQuerySet.as_manager()

    class Meta:
        verbose_name = _("gateway key")
        verbose_name_plural = _("gateway keys")
        constraints = [
            models.CheckConstraint(condition=Q(role__in=KeyRole.values), name="gateway_key_role_is_known"),
            models.CheckConstraint(
                condition=Q(role=KeyRole.POOL, pool__isnull=False, position__isnull=False)
                | (~Q(role=KeyRole.POOL) & Q(pool=None, position=None)),
                name="gateway_key_in_a_pool_has_a_position",
            ),
            models.UniqueConstraint(fields=["pool", "position"], condition=Q(ends_at=None), name="gateway_key_live_once_a_pool_position"),
            models.UniqueConstraint(fields=["gateway", "name"], condition=~Q(name=""), name="gateway_key_name_unique_a_gateway"),
            models.UniqueConstraint(
                fields=["gateway", "remote_id"], condition=~Q(remote_id=""), name="gateway_key_remote_id_unique_a_gateway"
            ),
        ]
        indexes = [
            # With the id: lists go on from a row, also among thousands that were made at the same moment.
            models.Index(fields=["-created_at", "-id"], name="gateway_key_newest_first"),
            models.Index(
                fields=["gateway", "priority", "changed_at"],
                condition=Q(synced_revision__lt=F("revision"), removed_at=None),
                name="gateway_key_pending_first",
            ),
            models.Index(fields=["gateway", "ends_at"], condition=Q(ends_at__isnull=False, removed_at=None), name="gateway_key_to_remove"),
            models.Index(
                fields=["usage_plan", "in_service_at"], condition=Q(role="spare", ends_at=None), name="gateway_key_spares_of_a_plan"
            ),
            models.Index(fields=["usage_plan"], condition=Q(role="canary", ends_at=None), name="gateway_key_canary_of_a_plan"),
            models.Index(fields=["gateway"], condition=Q(name="", removed_at=None) & ~Q(remote_id=""), name="gateway_key_to_be_named"),
        ]

    def __str__(self) -> str:
        return f"...{self.last_four} ({self.role})"

    def is_in_service(self, now: datetime) -> bool:
        """Whether calls with it are answered: seen enabled and in its plan, and propagated."""
        return self.in_service_at is not None and self.in_service_at <= now
