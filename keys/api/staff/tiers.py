"""``/staff/tiers``: what is sold, its limits, and where it is served."""

import math
import uuid
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import django_filters
from django.core.validators import RegexValidator
from django.db.models import Prefetch, QuerySet
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keys import sales, selectors
from keys.api.staff.base import LARGEST_INTEGER, GatewayRef, Identifier, StaffListView, StaffView, gateway_ref
from keys.api.staff.examples import with_example
from keys.models import Isolation, QuotaPeriod, Stage, Tier, UsagePlan
from keys.models.pool import LARGEST_POOL
from keys.services import catalog
from tenants.api import etags
from tenants.api.fields import Input, Nothing, Several, Text, Whole
from tenants.api.filters import ChoiceFilter, YesNoFilter
from tenants.api.idempotency import idempotent
from tenants.api.problems import invalid
from tenants.models import Scope


@extend_schema_field({"type": "number", "format": "double", "minimum": 0.001, "maximum": 9_999_999, "multipleOf": 0.001})
class Rate(serializers.DecimalField):
    """Requests a second: a number with at most three decimal places."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_digits=10, decimal_places=3, min_value=Decimal("0.001"), coerce_to_string=False, **kwargs)

    def to_internal_value(self, data: Any) -> Decimal:
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid")
        # 1001 * 0.001 is 1.0009999999999999 as a binary number: what stands beside a thousandth by so little is meant to be it.
        nearest = round(data, 3)
        return super().to_internal_value(repr(nearest if math.isclose(nearest, data, rel_tol=1e-12) else data))


COUNTED = f"Live API keys that were sold of it: counted up to {sales.MOST_COUNTED:,}, an estimate beyond, with the loads of two keys."


@with_example
class StaffTierShape(serializers.Serializer[Any]):
    """A tier as staff see it. Its ETag stands for what PATCH changes and for `retired_at`."""

    id = serializers.UUIDField()
    slug = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField(allow_blank=True)
    position = serializers.IntegerField(help_text="Its place on the price page.")
    price_minor = serializers.IntegerField(help_text="A month, in the currency's minor unit: 1999 is 19.99.")
    currency = serializers.CharField()
    isolation = serializers.ChoiceField(choices=Isolation.values, help_text="Chosen for good. Tenants are never told.")
    throttle_rate = serializers.FloatField(help_text="Requests a second that refill the bucket.")
    throttle_burst = serializers.IntegerField(help_text="The bucket's size, in requests.")
    quota_limit = serializers.IntegerField(allow_null=True, help_text="Requests a period; null for no quota.")
    quota_period = serializers.ChoiceField(choices=QuotaPeriod.values, allow_null=True)
    max_api_keys = serializers.IntegerField(help_text="How many live API keys of this tier one tenant may have.")
    spare_target = serializers.IntegerField(help_text="Ready keys kept ahead of demand on each gateway; siloed tiers only.")
    stages = serializers.ListField(child=serializers.UUIDField(), help_text="Ids of the stages that it serves.")
    created_at = serializers.DateTimeField()
    retired_at = serializers.DateTimeField(allow_null=True, help_text="Closed to buyers since.")
    pool_size = serializers.IntegerField(allow_null=True, help_text="Shared gateway keys; null for a siloed tier.")
    api_keys = serializers.IntegerField(help_text=COUNTED)
    load_min = serializers.IntegerField(allow_null=True, help_text="API keys on the emptiest key of its pool.")
    load_max = serializers.IntegerField(allow_null=True, help_text="API keys on the fullest key of its pool.")
    blast_radius = serializers.FloatField(
        allow_null=True, help_text="The largest share of its API keys that one gateway key carries, 0 to 1; null while none is sold."
    )
    usage_plans_pending = serializers.IntegerField(help_text="Its usage plans that are not yet what it says: see /staff/usage-plans.")


def tier_shown(tier: Any) -> dict[str, Any]:
    """``StaffTierShape``. Load it by ``_tiers``."""
    sold = sales.sales_of(tier)
    facts = {
        "pool_size": tier.pool.size if tier.is_pooled else None,
        "api_keys": sold.sold,
        "load_min": sold.load_min,
        "load_max": sold.load_max,
        "blast_radius": sold.largest_share,
        "usage_plans_pending": sum(plan.is_pending for plan in tier.usage_plans.all()),
    }
    return {**tier_version(tier), **facts}


def tier_version(tier: Tier) -> dict[str, Any]:
    """The part of ``StaffTierShape`` that staff decide."""
    return {
        "id": tier.pk,
        "slug": tier.slug,
        "name": tier.name,
        "description": tier.description,
        "position": tier.position,
        "price_minor": tier.price_minor,
        "currency": tier.currency,
        "isolation": tier.isolation,
        "throttle_rate": float(tier.throttle_rate),
        "throttle_burst": tier.throttle_burst,
        "quota_limit": tier.quota_limit,
        "quota_period": tier.quota_period or None,
        "max_api_keys": tier.max_api_keys,
        "spare_target": tier.spare_target,
        "stages": sorted(stage.pk for stage in tier.stages.all()),
        "created_at": tier.created_at,
        "retired_at": tier.retired_at,
    }


_QUOTA_HELP = "With its period: both, or neither."


@with_example
class StaffTierChange(Input):
    """What can be changed of a tier. Its pool is resized at /staff/pools."""

    name = Text(max_length=60, required=False)
    description = Text(max_length=200, allow_blank=True, required=False)
    position = Whole(min_value=0, max_value=32_767, required=False)
    price_minor = Whole(min_value=0, max_value=LARGEST_INTEGER, required=False)
    currency = Text(max_length=3, validators=[RegexValidator(r"^[A-Z]{3}$", gettext_lazy("Write a currency as USD."))], required=False)
    max_api_keys = Whole(min_value=1, max_value=LARGEST_INTEGER, required=False)
    spare_target = Whole(min_value=0, max_value=10_000, required=False)
    throttle_rate = Rate(required=False)
    throttle_burst = Whole(min_value=1, max_value=10_000_000, required=False)
    quota_limit = Whole(min_value=1, max_value=LARGEST_INTEGER, allow_null=True, required=False, help_text=_QUOTA_HELP)
    quota_period = serializers.ChoiceField(choices=QuotaPeriod.choices, allow_null=True, required=False)
    stages = Several(child=Identifier(), min_length=1, max_length=1000, required=False)


@with_example
class StaffTierInput(StaffTierChange):
    """A tier to put up for sale."""

    slug = Text(max_length=40, validators=[RegexValidator(r"^[a-z0-9-]+$", gettext_lazy("Use a to z, 0 to 9 and -."))])
    name = Text(max_length=60)
    description = Text(max_length=200, allow_blank=True, default="")
    position = Whole(min_value=0, max_value=32_767, default=0)
    price_minor = Whole(min_value=0, max_value=LARGEST_INTEGER)
    currency = Text(max_length=3, validators=[RegexValidator(r"^[A-Z]{3}$", gettext_lazy("Write a currency as USD."))])
    isolation = serializers.ChoiceField(choices=Isolation.choices)
    max_api_keys = Whole(min_value=1, max_value=LARGEST_INTEGER, default=10)
    spare_target = Whole(min_value=0, max_value=10_000, default=0)
    pool_size = Whole(min_value=1, max_value=LARGEST_POOL, allow_null=True, default=None)
    throttle_rate = Rate()
    throttle_burst = Whole(min_value=1, max_value=10_000_000)
    quota_limit = Whole(min_value=1, max_value=LARGEST_INTEGER, allow_null=True, default=None, help_text=_QUOTA_HELP)
    quota_period = serializers.ChoiceField(choices=QuotaPeriod.choices, allow_null=True, default=None)
    stages = Several(child=Identifier(), min_length=1, max_length=1000)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """What belongs together."""
        pooled = attrs["isolation"] == Isolation.POOLED
        wrong = {}
        if attrs["quota_limit"] and not attrs["quota_period"]:
            wrong["quota_period"] = _("Choose the period of the quota, or leave the quota out.")
        if attrs["quota_period"] and not attrs["quota_limit"]:
            wrong["quota_limit"] = _("Give the quota of the period, or leave the period out.")
        if pooled and not attrs["pool_size"]:
            wrong["pool_size"] = _("A pooled tier needs a pool size of at least 1.")
        if pooled and attrs["spare_target"]:
            wrong["spare_target"] = _("Only a siloed tier has spares; set it to 0.")
        if not pooled and attrs["pool_size"]:
            wrong["pool_size"] = _("A siloed tier has no pool; leave this out.")
        if wrong:
            raise serializers.ValidationError(wrong)
        return attrs


class TierPreviewShape(serializers.Serializer[Any]):
    """What a change of limits does on one gateway."""

    gateway = GatewayRef()
    gateway_keys = serializers.IntegerField(help_text="Gateway keys that the new limits hold for.")
    seconds = serializers.IntegerField(help_text="About how long it takes: API Gateway lets one usage plan be changed every 20 seconds.")


@with_example
class TierPreviewsShape(serializers.Serializer[Any]):
    """What a change of a tier's limits will do."""

    gateways = TierPreviewShape(many=True)


class TierFilter(django_filters.FilterSet):  # type: ignore[misc]  # django-filter is untyped
    """Of which kind, and whether they are for sale."""

    isolation = ChoiceFilter(choices=Isolation.choices, label=gettext_lazy("How its tenants are kept apart"))
    retired = YesNoFilter(lambda tiers, yes: tiers.filter(retired_at__isnull=not yes), label=gettext_lazy("Closed to buyers"))

    class Meta:
        model = Tier
        fields: list[str] = []


def _tiers() -> QuerySet[Any]:
    plans = Prefetch("usage_plans", UsagePlan.objects.only("tier", "revision", "synced_revision"))
    return sales.tiers_with_facts(Tier.objects.all()).prefetch_related(plans, "stages")


def _prepared(data: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs as services take them."""
    period = {"quota_period": data["quota_period"] or ""} if "quota_period" in data else {}
    stages = {"stages": _stages(data["stages"])} if "stages" in data else {}
    return {**data, **period, **stages}


def _stages(ids: Iterable[uuid.UUID]) -> list[Stage]:
    found = Stage.objects.in_bulk(ids)
    missing = [str(pk) for pk in ids if pk not in found]
    if missing:
        raise invalid("stages", _("There is no stage with the id %(id)s.") % {"id": missing[0]})
    return list(found.values())


class _Tiers(StaffView):
    refusals = {catalog.UnableToChangeTier: "refused"}

    def answer(self, pk: uuid.UUID, **options: Any) -> Response:
        """The tier as it is now."""
        tier = get_object_or_404(_tiers(), pk=pk)
        return self.versioned(tier_shown(tier), tier_version(tier), **options)


@extend_schema(tags=["Staff: tiers"])
class TierList(_Tiers, StaffListView):
    scopes = {"GET": Scope.STAFF_READ, "POST": Scope.STAFF_WRITE}
    permissions = {"GET": "keys.view_tier", "POST": "keys.add_tier"}
    serializer_class = StaffTierInput
    filterset_class = TierFilter

    def get_queryset(self) -> QuerySet[Any]:
        return _tiers()

    @extend_schema(operation_id="staff_list_tiers", summary="List tiers", responses=StaffTierShape(many=True))
    def get(self, request: Request) -> Response:
        """All tiers, newest first, retired ones too."""
        return self.get_paginated_response([tier_shown(tier) for tier in self.page()])

    @extend_schema(operation_id="staff_create_tier", summary="Create a tier", request=StaffTierInput, responses={201: StaffTierShape})
    @idempotent
    def post(self, request: Request) -> Response:
        """Puts it up for sale; the gateways of its stages get its usage plan, and its pool keys or spares."""
        data = _prepared(self.valid())
        tier = catalog.create_tier(**{**data, "isolation": Isolation(data["isolation"])}, actor=self.caller.actor())
        return self.answer(tier.pk, status=201, headers={"Location": reverse("api:staff_tier", args=[tier.pk])})


@extend_schema(tags=["Staff: tiers"])
class TierDetail(_Tiers):
    scopes = {"GET": Scope.STAFF_READ, "PATCH": Scope.STAFF_WRITE}
    permissions = {"GET": "keys.view_tier", "PATCH": "keys.change_tier"}
    serializer_class = StaffTierChange

    @extend_schema(operation_id="staff_get_tier", summary="Look at a tier", responses=StaffTierShape)
    def get(self, request: Request, pk: uuid.UUID) -> Response:
        """With what was sold of it, and how its pool is loaded."""
        return self.answer(pk)

    @extend_schema(operation_id="staff_change_tier", summary="Change a tier", request=StaffTierChange, responses=StaffTierShape)
    def patch(self, request: Request, pk: uuid.UUID) -> Response:
        """Everything that is named, or nothing. New limits reach API Gateway by one call a gateway: preview them first."""
        tier = get_object_or_404(Tier, pk=pk)
        changes = _prepared(self.valid())
        stages = changes.pop("stages", None)
        catalog.change_tier(tier=tier, changes=changes, stages=stages, check=self._check_version, actor=self.caller.actor())
        return self.answer(pk)

    def _check_version(self, tier: Tier) -> None:
        etags.check_unchanged(self.request, etags.etag_of(tier_version(tier)))


@extend_schema(tags=["Staff: tiers"])
class TierRetire(_Tiers):
    scopes = {"POST": Scope.STAFF_WRITE}
    permissions = {"POST": "keys.change_tier"}
    serializer_class = Nothing

    @extend_schema(operation_id="staff_retire_tier", summary="Retire a tier", request=Nothing, responses=StaffTierShape)
    @idempotent
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """Closes it to buyers. Keys that were sold go on working; its spares are removed. Repeating it changes nothing."""
        self.valid()
        catalog.retire_tier(tier=get_object_or_404(Tier, pk=pk), actor=self.caller.actor())
        return self.answer(pk)


@extend_schema(tags=["Staff: tiers"])
class TierReopen(_Tiers):
    scopes = {"POST": Scope.STAFF_WRITE}
    permissions = {"POST": "keys.change_tier"}
    serializer_class = Nothing

    @extend_schema(operation_id="staff_reopen_tier", summary="Reopen a tier", request=Nothing, responses=StaffTierShape)
    @idempotent
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """Puts a retired tier up for sale again. Repeating it changes nothing."""
        self.valid()
        catalog.reopen_tier(tier=get_object_or_404(Tier, pk=pk), actor=self.caller.actor())
        return self.answer(pk)


@extend_schema(tags=["Staff: tiers"])
class TierPreview(StaffView):
    scopes = {"GET": Scope.STAFF_READ}
    permissions = {"GET": "keys.view_tier"}
    serializer_class = TierPreviewsShape

    @extend_schema(operation_id="staff_preview_tier", summary="Preview new limits", responses=TierPreviewsShape)
    def get(self, request: Request, pk: uuid.UUID) -> Response:
        """What a change of its limits will concern, gateway by gateway, and about how long it takes. Nothing is changed."""
        previews = selectors.preview_limits(get_object_or_404(Tier, pk=pk), timezone.now())
        gateways = [{"gateway": gateway_ref(each.gateway), "gateway_keys": each.gateway_keys, "seconds": each.seconds} for each in previews]
        return Response({"gateways": gateways})
