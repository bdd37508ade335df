"""Filters of a tenant's lists."""

import django_filters
from django.core.validators import RegexValidator
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from keys import selectors, staff_selectors
from keys.models import ApiKey, Status, Tier
from tenants.api.filters import MomentFilter, StateFilter, YesNoFilter
from tenants.api.problems import invalid


def _of_tier(rows: QuerySet[ApiKey], _name: str, slug: str) -> QuerySet[ApiKey]:
    tier_id = Tier.objects.filter(slug=slug).values_list("pk", flat=True).first()
    if tier_id is None:
        raise invalid("tier", _("There is no tier “%(slug)s”.") % {"slug": slug})
    return rows.filter(tier_id=tier_id)


def _holding(rows: QuerySet[ApiKey], _name: str, text: str) -> QuerySet[ApiKey]:
    return rows.filter(selectors.holds(text))


class ApiKeyFilter(django_filters.FilterSet):  # type: ignore[misc]  # django-filter is untyped
    """Of which tier, how they stand, what they are called, and when they were bought."""

    tier = django_filters.CharFilter(method=_of_tier, max_length=40, label=gettext_lazy("Slug of the tier"))
    status = StateFilter(
        lambda rows, status: staff_selectors.api_keys_with_status(rows, status, timezone.now()),
        choices=Status.choices,
        label=gettext_lazy("How they stand at this moment"),
    )
    q = django_filters.CharFilter(
        method=_holding, max_length=100, label=gettext_lazy("Part of the name or description, or the last four characters")
    )
    last_four = django_filters.CharFilter(
        field_name="gateway_key__last_four",
        validators=[RegexValidator(r"\A[A-Za-z0-9]{4}\Z", gettext_lazy("Give the last four characters of a credential, no more."))],
        label=gettext_lazy("The end of the credential"),
    )
    created_after = MomentFilter(field_name="created_at", lookup_expr="gte", label=gettext_lazy("At this moment or later"))
    created_before = MomentFilter(field_name="created_at", lookup_expr="lt", label=gettext_lazy("Before this moment"))

    class Meta:
        model = ApiKey
        fields: list[str] = []


class TierFilter(django_filters.FilterSet):  # type: ignore[misc]  # as above
    """Those that are no longer sold."""

    retired = YesNoFilter(
        lambda tiers, yes: tiers.filter(retired_at__isnull=not yes),
        label=gettext_lazy("`true`: those that are no longer sold; without it, those that are sold"),
    )

    class Meta:
        model = Tier
        fields: list[str] = []
