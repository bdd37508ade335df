"""API Gateway in one AWS account and Region."""

import uuid
from collections.abc import Iterable

from django.core.validators import MaxValueValidator, RegexValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

# API keys an account and Region holds; AWS does not raise it (developer guide, "Amazon API Gateway quotas").
AWS_KEY_CAP = 10_000
# AWS's own tests wait up to two minutes until a key is answered; an hour is far beyond it, and more is a slip.
LONGEST_PROPAGATION = 3600


class Gateway(models.Model):
    """Where usage plans and gateway keys live; has AWS's limits, and the lease that lets one worker at a time speak to it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(_("name"), max_length=100, unique=True)
    account_id = models.CharField(
        _("AWS account"), max_length=12, validators=[RegexValidator(r"^\d{12}$", _("An AWS account id has 12 digits."))]
    )
    region = models.CharField(
        _("Region"), max_length=32, validators=[RegexValidator(r"^[a-z]{2}(-[a-z]+)+-\d$", _("Write a Region as us-east-1."))]
    )
    capacity = models.PositiveIntegerField(_("key cap"), default=AWS_KEY_CAP, help_text=_("API keys this account and Region may hold."))
    accepts_keys = models.BooleanField(_("accepts new keys"), default=True)
    role_arn = models.CharField(
        _("role to assume"),
        max_length=200,
        blank=True,
        validators=[
            RegexValidator(r"^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+$", _("Write a role as arn:aws:iam::123456789012:role/tollgate."))
        ],
        help_text=_("The workers take on this role through STS; empty: they use the credentials that they have."),
    )
    external_id = models.CharField(
        _("external id"),
        max_length=200,
        blank=True,
        validators=[RegexValidator(r"^[\w+=,.@:/-]{2,}$", _("An external id has 2 or more of the characters a-z, 0-9 and +=,.@:/-."))],
        help_text=_("What the role's trust policy asks for; see AWS, “the confused deputy problem”."),
    )
    uses_imports = models.BooleanField(
        _("makes keys by import"),
        default=True,
        help_text=_("1,000 keys a call (ImportApiKeys). Untick it where the account refuses that: then 5 keys a second, one by one."),
    )
    propagation_seconds = models.PositiveIntegerField(
        _("propagation time"),
        default=60,
        validators=[MaxValueValidator(LONGEST_PROPAGATION, _("At most an hour (3600 seconds)."))],
        help_text=_("Seconds until a key that API Gateway holds is also answered by it. On AWS up to minutes."),
    )
    created_at = models.DateTimeField(_("registered"), default=timezone.now, editable=False)
    # Desired
    reconcile_requested_at = models.DateTimeField(_("reconcile asked for"), null=True, editable=False)
    dry_run_requested_at = models.DateTimeField(_("comparison asked for"), null=True, editable=False)
    check_requested_at = models.DateTimeField(_("check of permissions asked for"), null=True, editable=False)
    draining_since = models.DateTimeField(_("drained since"), null=True, editable=False)
    moves_siloed_since = models.DateTimeField(
        _("siloed API keys move since"),
        null=True,
        editable=False,
        help_text=_("While it is drained: from when the workers move siloed API keys off it, too."),
    )
    # Observed: written by sync alone
    lease_owner = models.CharField(_("lease holder"), max_length=100, blank=True, editable=False)
    lease_expires_at = models.DateTimeField(_("lease until"), null=True, editable=False)
    last_seen_at = models.DateTimeField(_("last answer"), null=True, editable=False)
    last_reconciled_at = models.DateTimeField(_("last reconciled"), null=True, editable=False)
    usage_read_at = models.DateTimeField(_("usage read"), null=True, editable=False)
    observed_keys = models.PositiveIntegerField(_("keys held when last listed"), null=True, editable=False)
    foreign_keys = models.PositiveIntegerField(
        _("keys of others"), default=0, editable=False, help_text=_("API keys there that are not ours, when last listed. They take room.")
    )
    pace = models.FloatField(
        _("pace"), default=1.0, editable=False, help_text=_("The share of AWS's rates that is made use of: less after answers of 429.")
    )
    calls_saved = models.FloatField(
        _("calls saved"),
        default=0.0,
        editable=False,
        help_text=_("Calls that could be made at once when the last holder of the lease left; 0 while somebody holds it."),
    )
    plan_sent_at = models.DateTimeField(
        _("usage plan changed"), null=True, editable=False, help_text=_("When the last change of a usage plan was about to be sent.")
    )
    permissions_checked_at = models.DateTimeField(_("permissions checked"), null=True, editable=False)
    permissions_missing = models.JSONField(_("permissions missing"), default=list, blank=True, editable=False)
    failures = models.PositiveIntegerField(_("failures in a row"), default=0, editable=False)
    resume_at = models.DateTimeField(_("left alone until"), null=True, editable=False, help_text=_("The circuit breaker's end."))
    last_error = models.TextField(_("last error"), blank=True, editable=False)
    last_error_at = models.DateTimeField(_("at"), null=True, editable=False)

    class Meta:
        verbose_name = _("gateway")
        verbose_name_plural = _("gateways")
        constraints = [
            models.UniqueConstraint(fields=["account_id", "region"], name="gateway_once_an_account_and_region"),
            models.CheckConstraint(condition=models.Q(capacity__gte=1), name="gateway_has_room_for_a_key"),
            models.CheckConstraint(condition=models.Q(pace__gt=0, pace__lte=1), name="gateway_pace_is_a_share"),
        ]

    def __str__(self) -> str:
        return self.name


def lock_gateways(gateway_ids: Iterable[uuid.UUID]) -> None:
    """Lock the rows of these gateways until the transaction ends: for who writes several of their keys in an order of their own, as the
    workers do too. Before any row of a gateway key, and before room."""
    rows = Gateway.objects.filter(pk__in=set(gateway_ids)).order_by("pk").select_for_update(no_key=True)
    list(rows.values_list("pk"))
