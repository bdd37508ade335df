"""Filters of lists, by django-filter. A wrong value is an error that names the parameter, never an empty list."""

import django_filters
from django.utils.translation import gettext_lazy as _
from django_filters.rest_framework import DjangoFilterBackend

from tenants.models import AuditEvent


class Filters(DjangoFilterBackend):  # type: ignore[misc]  # django-filter is untyped
    """``filterset_class`` of the view."""


class MomentFilter(django_filters.IsoDateTimeFilter):  # type: ignore[misc]  # as above
    """A moment in RFC 3339."""


class AuditEventFilter(django_filters.FilterSet):  # type: ignore[misc]  # as above
    """What was done, by whom it was done to, and when."""

    action = django_filters.CharFilter(label=_("Dotted, as api_key.revoked"), max_length=60)
    target_id = django_filters.CharFilter(label=_("Id of what it was done to"), max_length=40)
    created_after = MomentFilter(field_name="created_at", lookup_expr="gte", label=_("At this moment or later"))
    created_before = MomentFilter(field_name="created_at", lookup_expr="lt", label=_("Before this moment"))

    class Meta:
        model = AuditEvent
        fields: list[str] = []
