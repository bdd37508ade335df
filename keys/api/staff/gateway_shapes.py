"""Gateways as the staff's endpoints show them and take them."""

from datetime import datetime
from typing import Any

from django.core.validators import RegexValidator
from django.utils.translation import gettext_lazy
from rest_framework import serializers

from keys.api.staff.base import LARGEST_INTEGER
from keys.api.staff.examples import with_example
from keys.models import Gateway
from keys.models.gateway import AWS_KEY_CAP, LONGEST_PROPAGATION
from keys.queues import Backlog
from tenants.api.fields import Input, Text, Whole, YesNo


class LeaseShape(serializers.Serializer[Any]):
    """Which worker speaks to a gateway."""

    owner = serializers.CharField()
    expires_at = serializers.DateTimeField()


class BreakerShape(serializers.Serializer[Any]):
    """The circuit breaker of a gateway: after failures it is left alone for a while."""

    open = serializers.BooleanField()
    failures = serializers.IntegerField(help_text="In a row.")
    resume_at = serializers.DateTimeField(allow_null=True, help_text="Until when it is left alone; null while closed.")


class BacklogShape(serializers.Serializer[Any]):
    """What waits at a gateway for its turn. What waits for a person is not in it."""

    gateway_keys = serializers.IntegerField(help_text="To be made, repaired, switched, renamed or removed; wanted spares are among them.")
    usage_plans = serializers.IntegerField(help_text="To be made or changed.")
    calls = serializers.IntegerField(help_text="How many that takes, under 10 a second.")
    seconds = serializers.FloatField(allow_null=True, help_text="About how long that takes; null while the gateway is left alone.")


class MissingPermissionShape(serializers.Serializer[Any]):
    """A right that the workers lack at a gateway."""

    operation = serializers.CharField(help_text="What it is needed for.")
    words = serializers.CharField(help_text="What to add to their policy, and what does not work without it.")


class PermissionsShape(serializers.Serializer[Any]):
    """What the workers may do at a gateway, when that was last looked up."""

    requested_at = serializers.DateTimeField(allow_null=True)
    checked_at = serializers.DateTimeField(allow_null=True)
    missing = MissingPermissionShape(many=True)


@with_example
class StaffGatewayShape(serializers.Serializer[Any]):
    """API Gateway in one AWS account and Region. Its ETag stands for what PATCH changes."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    account_id = serializers.CharField()
    region = serializers.CharField()
    capacity = serializers.IntegerField(help_text="API keys that this account and Region may hold.")
    accepts_keys = serializers.BooleanField(help_text="Whether new gateway keys are made here.")
    uses_imports = serializers.BooleanField(help_text="Whether keys are made 1,000 a call; else 5 a second, one by one.")
    propagation_seconds = serializers.IntegerField(help_text="Until a key that API Gateway holds is also answered by it.")
    role_arn = serializers.CharField(allow_blank=True, help_text="The role that the workers take on; empty: their own credentials.")
    external_id = serializers.CharField(allow_blank=True, help_text="What the role's trust policy asks for.")
    created_at = serializers.DateTimeField()
    keys_held = serializers.IntegerField(help_text="Gateway keys that it holds or shall hold.")
    foreign_keys = serializers.IntegerField(help_text="Keys of others there, when last listed. They take room.")
    headroom = serializers.IntegerField(help_text="How many more it may hold.")
    draining_since = serializers.DateTimeField(allow_null=True, help_text="Null unless it is drained.")
    permissions = PermissionsShape()
    usage_plans_pending = serializers.IntegerField(help_text="Not yet what they shall be.")
    gateway_keys_pending = serializers.IntegerField(help_text="Not yet what they shall be.")
    backlog = BacklogShape()
    pace = serializers.FloatField(help_text="Share of AWS's rates that is made use of: less after answers of 429.")
    lease = LeaseShape(allow_null=True, help_text="Null while no worker speaks to it.")
    breaker = BreakerShape()
    last_seen_at = serializers.DateTimeField(allow_null=True, help_text="Its last answer.")
    last_error = serializers.CharField(allow_blank=True)
    last_error_at = serializers.DateTimeField(allow_null=True)
    reconcile_requested_at = serializers.DateTimeField(allow_null=True)
    dry_run_requested_at = serializers.DateTimeField(allow_null=True, help_text="A comparison that changes nothing.")
    last_reconciled_at = serializers.DateTimeField(allow_null=True)
    usage_read_at = serializers.DateTimeField(allow_null=True)


def gateway_shown(gateway: Any, backlog: Backlog, now: datetime) -> dict[str, Any]:
    """``StaffGatewayShape``. Load it by ``staff_selectors.gateways_with_facts``, and ``backlog`` by ``queues.backlogs_of``."""
    leased = bool(gateway.lease_owner) and gateway.lease_expires_at is not None and gateway.lease_expires_at > now
    is_open = gateway.resume_at is not None and gateway.resume_at > now
    return {
        **gateway_version(gateway),
        "keys_held": gateway.held,
        "foreign_keys": gateway.foreign_keys,
        "headroom": max(0, gateway.capacity - gateway.foreign_keys - gateway.held),
        "draining_since": gateway.draining_since,
        "permissions": {
            "requested_at": gateway.check_requested_at,
            "checked_at": gateway.permissions_checked_at,
            "missing": gateway.permissions_missing,
        },
        "usage_plans_pending": gateway.plans_pending,
        "gateway_keys_pending": gateway.keys_pending,
        "backlog": {
            "gateway_keys": backlog.queue.keys,
            "usage_plans": backlog.queue.plans,
            "calls": backlog.calls,
            "seconds": None if backlog.seconds is None else round(backlog.seconds, 1),
        },
        "pace": gateway.pace,
        "lease": {"owner": gateway.lease_owner, "expires_at": gateway.lease_expires_at} if leased else None,
        "breaker": {"open": is_open, "failures": gateway.failures, "resume_at": gateway.resume_at if is_open else None},
        "last_seen_at": gateway.last_seen_at,
        "last_error": gateway.last_error,
        "last_error_at": gateway.last_error_at,
        "reconcile_requested_at": gateway.reconcile_requested_at,
        "dry_run_requested_at": gateway.dry_run_requested_at,
        "last_reconciled_at": gateway.last_reconciled_at,
        "usage_read_at": gateway.usage_read_at,
    }


def gateway_version(gateway: Gateway) -> dict[str, Any]:
    """The part of ``StaffGatewayShape`` that staff decide."""
    return {
        "id": gateway.pk,
        "name": gateway.name,
        "account_id": gateway.account_id,
        "region": gateway.region,
        "capacity": gateway.capacity,
        "accepts_keys": gateway.accepts_keys,
        "uses_imports": gateway.uses_imports,
        "propagation_seconds": gateway.propagation_seconds,
        "role_arn": gateway.role_arn,
        "external_id": gateway.external_id,
        "created_at": gateway.created_at,
    }


_ROLE = RegexValidator(
    r"^(arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]+)?$",
    gettext_lazy("Write a role of the gateway's account as arn:aws:iam::123456789012:role/tollgate."),
)
_EXTERNAL_ID = RegexValidator(
    r"^([A-Za-z0-9_+=,.@:/-]{2,})?$", gettext_lazy("An external id has 2 or more of the characters a-z, 0-9 and +=,.@:/-.")
)


@with_example
class StaffGatewayChange(Input):
    """What can be changed of a gateway."""

    name = Text(max_length=100, required=False)
    capacity = Whole(min_value=1, max_value=LARGEST_INTEGER, required=False)
    propagation_seconds = Whole(min_value=0, max_value=LONGEST_PROPAGATION, required=False)
    accepts_keys = YesNo(required=False, help_text="False: no new keys are made here; those it holds go on working.")
    uses_imports = YesNo(required=False, help_text="False where the account refuses ImportApiKeys: keys are made one by one then.")
    role_arn = Text(max_length=200, validators=[_ROLE], required=False, allow_blank=True, help_text="A role of the gateway's account.")
    external_id = Text(max_length=200, validators=[_EXTERNAL_ID], required=False, allow_blank=True, help_text="Only with a role.")


@with_example
class StaffGatewayInput(Input):
    """A gateway to register. Account and Region are chosen for good."""

    name = Text(max_length=100, help_text="How staff call it.")
    account_id = Text(max_length=12, validators=[RegexValidator(r"^[0-9]{12}$", gettext_lazy("An AWS account id has 12 digits."))])
    region = Text(max_length=32, validators=[RegexValidator(r"^[a-z]{2}(-[a-z]+)+-[0-9]$", gettext_lazy("Write a Region as us-east-1."))])
    capacity = Whole(min_value=1, max_value=LARGEST_INTEGER, default=AWS_KEY_CAP)
    propagation_seconds = Whole(min_value=0, max_value=LONGEST_PROPAGATION, default=60)
    role_arn = Text(max_length=200, validators=[_ROLE], default="", allow_blank=True, help_text="A role of the gateway's account.")
    external_id = Text(max_length=200, validators=[_EXTERNAL_ID], default="", allow_blank=True, help_text="Only with a role.")
