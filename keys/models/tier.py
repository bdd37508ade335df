"""What is sold."""

import uuid
from decimal import Decimal

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from keys.models.stage import Stage


class Isolation(models.TextChoices):
    """How a tier's tenants are kept apart at the gateway. Tenants are never told; staff always are."""

    SILOED = "siloed", _("Siloed: a gateway key a tenant")
    POOLED = "pooled", _("Pooled: tenants share a set of gateway keys")


class QuotaPeriod(models.TextChoices):
    """The periods API Gateway knows (botocore, QuotaSettings)."""

    DAY = "DAY", _("day")
    WEEK = "WEEK", _("week")
    MONTH = "MONTH", _("month")


class TierQuerySet(models.QuerySet["Tier"]):
    def for_sale(self) -> "TierQuerySet":
        """Open to buyers, in the order of the price page."""
        return self.filter(retired_at=None).order_by("position", "name")


class Tier(models.Model):
    """Limits, price and isolation under one name. Its limits are provisioned as one usage plan a gateway."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    slug = models.SlugField(_("slug"), max_length=40, unique=True, validators=[RegexValidator(r"^[a-z0-9-]+$")])
    name = models.CharField(_("name"), max_length=60)
    description = models.CharField(_("description"), max_length=200, blank=True)
    position = models.PositiveSmallIntegerField(_("place on the price page"), default=0)
    price_minor = models.PositiveIntegerField(_("price a month"), default=0, help_text=_("In the currency's minor unit: 1999 is 19.99."))
    currency = models.CharField(_("currency"), max_length=3, default="USD", validators=[RegexValidator(r"^[A-Z]{3}$")])
    isolation = models.CharField(_("isolation"), max_length=10, choices=Isolation.choices)
    throttle_rate = models.DecimalField(
        _("rate"),
        max_digits=10,
        decimal_places=3,
        validators=[MinValueValidator(Decimal("0.001"))],
        help_text=_("Requests a second that refill the bucket."),
    )
    throttle_burst = models.PositiveIntegerField(
        _("burst"), validators=[MinValueValidator(1), MaxValueValidator(10_000_000)], help_text=_("The bucket's size, in requests.")
    )
    quota_limit = models.PositiveIntegerField(_("quota"), null=True, blank=True, help_text=_("Requests a period; empty for no quota."))
    quota_period = models.CharField(_("quota period"), max_length=5, choices=QuotaPeriod.choices, blank=True)
    max_api_keys = models.PositiveIntegerField(
        _("API keys a tenant"), default=10, help_text=_("How many live API keys of this tier one tenant may have.")
    )
    spare_target = models.PositiveIntegerField(
        _("spares"), default=0, help_text=_("Ready keys kept ahead of demand on each gateway; siloed tiers only.")
    )
    stages = models.ManyToManyField(Stage, related_name="tiers", verbose_name=_("stages served"))
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    retired_at = models.DateTimeField(_("closed to buyers since"), null=True, editable=False)

    objects = TierQuerySet.as_manager()

    class Meta:
        verbose_name = _("tier")
        verbose_name_plural = _("tiers")
        constraints = [
            models.CheckConstraint(condition=Q(isolation__in=Isolation.values), name="tier_isolation_is_known"),
            models.CheckConstraint(condition=Q(throttle_rate__gt=0, throttle_burst__gte=1), name="tier_limits_let_a_request_through"),
            models.CheckConstraint(
                # quota_limit IS NOT NULL stands there because a CHECK that comes out as NULL passes.
                condition=Q(quota_limit=None, quota_period="")
                | Q(quota_limit__isnull=False, quota_limit__gte=1, quota_period__in=QuotaPeriod.values),
                name="tier_quota_has_a_period",
                violation_error_message=_("quota_limit and quota_period: give both, with a quota of at least 1, or leave both empty."),
            ),
            models.CheckConstraint(condition=Q(max_api_keys__gte=1), name="tier_allows_an_api_key"),
            models.CheckConstraint(
                condition=Q(isolation=Isolation.SILOED) | Q(spare_target=0),
                name="tier_spares_only_if_siloed",
                violation_error_message=_("spare_target: only a siloed tier has spares; set it to 0."),
            ),
            models.CheckConstraint(condition=Q(retired_at=None) | Q(retired_at__gte=F("created_at")), name="tier_retired_after_created"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_pooled(self) -> bool:
        return self.isolation == Isolation.POOLED

    @property
    def has_own_credentials(self) -> bool:
        """Whether an API key of this tier has a credential that nobody else holds: only then can one tenant's calls be cut off."""
        return self.isolation == Isolation.SILOED
