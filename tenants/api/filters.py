"""Filters of lists, by django-filter. A wrong value is an error that names the parameter, never an empty list."""

import re
from collections.abc import Callable, Iterable
from datetime import UTC
from typing import Any

import django_filters
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.utils import extend_schema_field
from rest_framework.request import Request

from tenants.api.problems import FieldError, Problem
from tenants.models import AuditEvent

SEARCH = "q"


class Filters(DjangoFilterBackend):  # type: ignore[misc]  # django-filter is untyped
    """``filterset_class`` of the view."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        """The form of the filters costs more than a page of rows, so it is made only where a filter is given."""
        filterset = getattr(view, "filterset_class", None)
        if filterset is None or filterset.base_filters.keys().isdisjoint(request.query_params):
            return queryset
        # Nothing may be searched for; but whoever asks for the keys of "" lost a value on the way, and does not mean all keys.
        empty = [name for name in filterset.base_filters if name != SEARCH and request.query_params.get(name) == ""]
        if empty:
            text = _("Give a value, or leave the parameter out.")
            raise Problem("invalid-fields", f"{empty[0]}: {text}", errors=[FieldError(field=name, detail=str(text)) for name in empty])
        filtered: QuerySet[Any] = super().filter_queryset(request, queryset, view)
        return filtered


_WITH_OFFSET = re.compile(r"([Zz]|[+-][0-9]{2}:[0-9]{2})\Z")


class MomentField(django_filters.fields.IsoDateTimeField):  # type: ignore[misc]  # as above
    """Moments that no year has in UTC (before 1, after 9999) are refused: databases fail over them."""

    def clean(self, value: Any) -> Any:
        cleaned = super().clean(value)
        if cleaned and not _WITH_OFFSET.search(value.strip()):
            raise ValidationError(_("Write the offset from UTC, as in 2026-11-21T08:00:00Z."))
        try:
            return cleaned.astimezone(UTC) if cleaned else cleaned
        except (OverflowError, ValueError):
            raise ValidationError(_("Give a moment of the years 1 to 9999.")) from None


class MomentFilter(django_filters.IsoDateTimeFilter):  # type: ignore[misc]  # as above
    """A moment in RFC 3339."""

    field_class = MomentField


class ChoiceFilter(django_filters.ChoiceFilter):  # type: ignore[misc]  # as above
    """One of ``choices``. Whoever gives another word is told which there are."""

    def __init__(self, *, choices: Iterable[tuple[str, Any]], **kwargs: Any) -> None:
        listed = list(choices)
        known = ", ".join(word for word, _label in listed)
        texts = {"invalid_choice": format_lazy(_("There is no such value. Known are: {known}."), known=known)}
        super().__init__(choices=listed, error_messages=texts, **kwargs)


class StateFilter(ChoiceFilter):
    """A word that a function turns into conditions: for what is derived from several columns."""

    def __init__(self, select: Callable[[QuerySet[Any], str], QuerySet[Any]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.select = select

    def filter(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        return self.select(queryset, value) if value else queryset


class YesNoFilter(ChoiceFilter):
    """``true`` or ``false``. (django-filter's own takes anything else for no filter at all.)"""

    def __init__(self, select: Callable[[QuerySet[Any], bool], QuerySet[Any]], **kwargs: Any) -> None:
        super().__init__(choices=[("true", _("Yes")), ("false", _("No"))], **kwargs)
        self.select = select
        extend_schema_field({"type": "boolean", "description": str(kwargs.get("label", ""))})(self)

    def filter(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        return self.select(queryset, value == "true") if value else queryset


class AuditEventFilter(django_filters.FilterSet):  # type: ignore[misc]  # as above
    """What was done, by whom it was done to, and when."""

    action = django_filters.CharFilter(label=_("Dotted, as api_key.revoked"), max_length=60)
    target_id = django_filters.CharFilter(label=_("Id of what it was done to"), max_length=40)
    created_after = MomentFilter(field_name="created_at", lookup_expr="gte", label=_("At this moment or later"))
    created_before = MomentFilter(field_name="created_at", lookup_expr="lt", label=_("Before this moment"))

    class Meta:
        model = AuditEvent
        fields: list[str] = []
