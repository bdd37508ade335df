"""What the staff's endpoints have in common."""

import uuid
from collections.abc import Mapping
from typing import Any, ClassVar

import django_filters
from django.core.exceptions import ImproperlyConfigured
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import serializers
from rest_framework.response import Response

from keys.models import Gateway, Tier
from tenants.api import etags
from tenants.api.pagination import KeysetPagination
from tenants.api.problems import Problem, invalid
from tenants.api.views import ApiView
from tenants.models import Tenant

LARGEST_INTEGER = 2_147_483_647  # of an integer column in PostgreSQL


class StaffView(ApiView):
    """An endpoint for those who run the portal. Beside its scope each method asks for the permission that the staff page asks for.

    ``own``: about rows of the caller alone, for which no permission is needed.
    """

    needs_tenant = False
    own: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        missing = sorted(set(cls.scopes).difference(cls.permissions))
        if missing and not cls.own:
            raise ImproperlyConfigured(f"{cls.__name__}.permissions lacks {', '.join(missing)}.")

    def versioned(self, shown: Mapping[str, Any], version: Mapping[str, Any], **options: Any) -> Response:
        """The answer with the ETag of ``version``, which is what PATCH changes.

        What workers observe and what buyers do is in the answer and not in its version, or no change could ever be made with
        ``If-Match``. For the same reason it is never answered with 304.
        """
        headers = {**options.pop("headers", {}), "ETag": etags.etag_of(version)}
        return Response(shown, headers=headers, **options)

    def need(self, permission: str) -> None:
        """Ask for one permission more than ``permissions`` says. Raises Problem."""
        if not self.caller.user.has_perm(permission):
            raise Problem("forbidden", _("This needs the right %(permission)s.") % {"permission": permission})


class StaffListView(StaffView):
    """A URL that lists, page by page."""

    pagination_class = KeysetPagination

    def page(self) -> list[Any]:
        """The rows of this page, filtered."""
        return self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []


class Identifier(serializers.UUIDField):
    """The id of something, as a text."""

    def to_internal_value(self, data: Any) -> uuid.UUID:
        if not isinstance(data, str):
            self.fail("invalid", value=data)
        identifier: uuid.UUID = super().to_internal_value(data)
        return identifier


class TierSlugFilter(django_filters.CharFilter):  # type: ignore[misc]  # django-filter is untyped
    """Rows of one tier, by its slug; ``field_name`` leads to the tier's id. A slug that no tier has is an error."""

    def __init__(self, field_name: str) -> None:
        super().__init__(field_name=field_name, max_length=40, label=gettext_lazy("Slug of the tier"))

    def filter(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        if not value:
            return queryset
        tier_id = Tier.objects.filter(slug=value).values_list("pk", flat=True).first()
        if tier_id is None:
            raise invalid("tier", _("There is no tier “%(slug)s”.") % {"slug": value})
        return queryset.filter(**{self.field_name: tier_id})


# --- Things that others name ----------------------------------------------------------------------------------------------------


class GatewayRef(serializers.Serializer[Any]):
    """Which gateway."""

    id = serializers.UUIDField()
    name = serializers.CharField()


class TierRef(serializers.Serializer[Any]):
    """Which tier."""

    id = serializers.UUIDField()
    slug = serializers.CharField()


class TenantRef(serializers.Serializer[Any]):
    """Which tenant."""

    id = serializers.UUIDField()
    name = serializers.CharField()


def gateway_ref(gateway: Gateway) -> dict[str, Any]:
    """``GatewayRef``."""
    return {"id": gateway.pk, "name": gateway.name}


def tier_ref(tier: Tier) -> dict[str, Any]:
    """``TierRef``."""
    return {"id": tier.pk, "slug": tier.slug}


def tenant_ref(tenant: Tenant) -> dict[str, Any]:
    """``TenantRef``."""
    return {"id": tenant.pk, "name": tenant.name}
