"""Keys of a tenant as plain values: of model instances a list would be slower by half, and it has to be quick at 100,000 keys."""

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from django.db import connection
from django.db.models import QuerySet
from django.http import Http404

from keys.models import ApiKey, Tier
from tenants.models import Tenant

Row = Mapping[str, Any]
_COLUMNS = (
    "id",
    "name",
    "description",
    "tier_id",
    "tier__slug",
    "gateway_key_id",
    "gateway_key__last_four",
    "gateway_key__gateway_id",
    "gateway_key__in_service_at",
    "tenant__suspended_at",
    "created_at",
    "disabled_at",
    "revoked_at",
)


def key_rows(tenant: Tenant) -> QuerySet[ApiKey, dict[str, Any]]:
    """Of all keys of the tenant, revoked ones too."""
    rows: QuerySet[ApiKey, dict[str, Any]] = ApiKey.objects.of(tenant).values(*_COLUMNS)
    return rows


def key_row(tenant: Tenant, pk: uuid.UUID) -> Row:
    """Of one key. Raises Http404 for another tenant's exactly as for a missing one."""
    row = key_rows(tenant).filter(pk=pk).first()
    if row is None:
        raise Http404
    return row


def row_of(api_key: ApiKey) -> Row:
    """Of a key that a service gave back: without a query where ``tier``, ``gateway_key`` and ``tenant`` are loaded."""
    return {
        "id": api_key.pk,
        "name": api_key.name,
        "description": api_key.description,
        "tier_id": api_key.tier_id,
        "tier__slug": api_key.tier.slug,
        "gateway_key_id": api_key.gateway_key_id,
        "gateway_key__last_four": api_key.gateway_key.last_four,
        "gateway_key__gateway_id": api_key.gateway_key.gateway_id,
        "gateway_key__in_service_at": api_key.gateway_key.in_service_at,
        "tenant__suspended_at": api_key.tenant.suspended_at,
        "created_at": api_key.created_at,
        "disabled_at": api_key.disabled_at,
        "revoked_at": api_key.revoked_at,
    }


def endpoint_urls(rows: Iterable[Row]) -> dict[tuple[uuid.UUID, uuid.UUID], str]:
    """Where calls go, by tier and gateway, for all the rows in one query: what ``selectors.endpoint_of`` says.

    Written out, since the ORM takes as long to build this query as the rest of a page takes.
    """
    tiers = list({row["tier_id"] for row in rows})
    if not tiers:
        return {}
    sql = _ENDPOINTS.format(", ".join(["%s"] * len(tiers)))
    with connection.cursor() as cursor:
        cursor.execute(sql, [_TIER_ID.get_db_prep_value(tier, connection) for tier in tiers])
        found = cursor.fetchall()
    return {(_TIER_ID.to_python(tier), _TIER_ID.to_python(gateway)): url for tier, gateway, url in found}


_TIER_ID = Tier._meta.pk
# Where a tier serves several stages of a gateway, the first one by these is the last to be put in.
_ENDPOINTS = """
    SELECT served.tier_id, stage.gateway_id, stage.invoke_url
    FROM keys_tier_stages served JOIN keys_stage stage ON stage.id = served.stage_id
    WHERE served.tier_id IN ({})
    ORDER BY stage.rest_api_id DESC, stage.name DESC
"""
