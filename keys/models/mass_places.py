"""Placing very many tenants in a pool by one statement, on PostgreSQL. See ``keys.services.bulk``.

Why SQL of our own: a million API keys with their credentials and audit events are three million rows, which PostgreSQL writes from one
another about as fast as it copies them from a file. Rows that pass through Python take ten times as long.
"""

import uuid
from datetime import datetime

from django.db import connection
from django.db.models import QuerySet

from keys.models.pool import Pool
from keys.models.tickets import _sequence
from tenants.models import Tenant

# What a tenant has is looked up tenant by tenant, by its own index: OFFSET 0 keeps PostgreSQL from joining, IS NOT DISTINCT from taking
# the index of all keys of the tier. Both it would do where it knows no better, as in a table that was empty a minute ago.
#
# In order: the tenants that lack an API key of the tier; free places, the lowest first; tickets for the others; then the three kinds of
# rows. A ticket whose position has no live key is left as a gap, which the sweep puts on the list of free places.
_PLACE = """
WITH wanted AS MATERIALIZED (
    SELECT t.id, row_number() OVER () AS n FROM ({tenants}) t (id) WHERE NOT EXISTS (
        SELECT FROM keys_apikey a
        WHERE a.tenant_id = t.id AND a.tier_id IS NOT DISTINCT FROM '{tier}' AND a.revoked_at IS NULL OFFSET 0
    )
), freed AS (
    DELETE FROM keys_freeslot WHERE id IN (
        SELECT f.id FROM keys_freeslot f WHERE f.pool_id = {pool}
        ORDER BY f.slot LIMIT (SELECT count(*) FROM wanted) FOR UPDATE SKIP LOCKED
    ) RETURNING gateway_key_id, slot
), free AS MATERIALIZED (
    SELECT gateway_key_id, slot, row_number() OVER (ORDER BY slot) AS n FROM freed
), drawn AS MATERIALIZED (
    SELECT id, nextval('{sequence}') AS ticket FROM wanted WHERE n > (SELECT count(*) FROM free)
), place AS (
    SELECT wanted.id AS tenant_id, free.gateway_key_id, free.slot FROM wanted JOIN free USING (n)
    UNION ALL
    SELECT drawn.id, k.id, drawn.ticket / {size} FROM drawn
    JOIN keys_gatewaykey k ON k.pool_id = {pool} AND k.position = mod(drawn.ticket, {size}) AND k.ends_at IS NULL
), placed AS (
    INSERT INTO keys_apikey (id, tenant_id, tier_id, gateway_key_id, slot, name, description, purchase_token, awaits_ready,
                             created_by_id, created_at)
    SELECT gen_random_uuid(), tenant_id, '{tier}', gateway_key_id, slot, %s, '', gen_random_uuid(), false, %s::uuid, %s FROM place
    RETURNING id, tenant_id, gateway_key_id, name, created_by_id, created_at
), credential AS (
    INSERT INTO keys_credential (id, api_key_id, gateway_key_id, created_at)
    SELECT gen_random_uuid(), id, gateway_key_id, created_at FROM placed
), told AS (
    INSERT INTO tenants_auditevent (id, created_at, tenant_id, actor_id, actor_label, action, target_type, target_id, target_label, data,
                                    request_id)
    SELECT gen_random_uuid(), created_at, tenant_id, created_by_id, %s, %s, 'apikey', id::text, name, %s::jsonb, %s FROM placed
)
SELECT (SELECT count(*) FROM wanted), (SELECT count(*) FROM placed)
"""


def lock(tenants: QuerySet[Tenant]) -> None:
    """Lock the rows of these tenants, in the order of their ids, without reading them. Inside a transaction."""
    sql, parameters = tenants.order_by("pk").select_for_update(no_key=True).values("pk").query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM ({sql}) locked", parameters)  # noqa: S608 - the query is Django's own


def place_each(
    pool: Pool,
    tenants: QuerySet[Tenant],
    *,
    name: str,
    now: datetime,
    created_by: uuid.UUID | None,
    audit: tuple[str, str, str, str],
) -> tuple[int, int]:
    """Give each of the tenants one API key of the pool's tier, unless it has one or is suspended.

    How many wanted one, and how many got one. ``audit``: the events' actor, action, data as JSON, and request id. Inside a transaction
    that has locked the tenants and holds the pool, whose row was read under that.
    """
    tenants_sql, parameters = tenants.filter(suspended_at=None).values("pk").query.sql_with_params()
    parts = {"tier": uuid.UUID(str(pool.tier_id)), "pool": int(pool.pk), "size": int(pool.size), "sequence": _sequence(pool)}
    with connection.cursor() as cursor:
        cursor.execute(_PLACE.format(tenants=tenants_sql, **parts), [*parameters, name, created_by, now, *audit])
        wanted, placed = cursor.fetchone()
    return int(wanted), int(placed)
