"""The function that finds a purchase its spares, on PostgreSQL. See keys.models.spares."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

# A function and not a query: its plans are kept by the session, and each of its statements sees what was committed before it, so that
# the tier's plans are read after its lock was had - in one round trip. Always by index: a plan that was made while there were few gateway
# keys would go on reading them all. Never compiled: should an index be lacking, the forbidden scan's cost would ask for it at each call.
TAKE_SPARES = """
CREATE FUNCTION keys_take_spares(
    of_tier uuid, lock_class integer, tier_lock integer, ready_at timestamptz, most integer, only_gateway uuid
) RETURNS SETOF uuid LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
    the_plan uuid;
    taken integer;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(lock_class, tier_lock);
    FOR the_plan IN
        SELECT p.id FROM keys_usageplan p JOIN keys_gateway g ON g.id = p.gateway_id JOIN keys_room r ON r.gateway_id = g.id
        WHERE p.tier_id = of_tier AND g.accepts_keys AND (only_gateway IS NULL OR g.id = only_gateway)
        AND EXISTS (SELECT FROM keys_tier_stages t JOIN keys_stage s ON s.id = t.stage_id WHERE t.tier_id = of_tier AND s.gateway_id = g.id)
        ORDER BY g.capacity - g.foreign_keys - r.held DESC, p.id
    LOOP
        RETURN QUERY
            UPDATE keys_gatewaykey k SET role = 'silo', priority = 10 WHERE k.id = ANY (ARRAY(
                SELECT s.id FROM keys_gatewaykey s
                WHERE s.usage_plan_id = the_plan AND s.role = 'spare' AND s.ends_at IS NULL AND s.in_service_at <= ready_at
                ORDER BY s.in_service_at LIMIT most FOR NO KEY UPDATE SKIP LOCKED
            )) RETURNING k.id;
        GET DIAGNOSTICS taken = ROW_COUNT;
        most := most - taken;
        EXIT WHEN most = 0;
    END LOOP;
END $$
"""


def create(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(TAKE_SPARES, params=None)


def drop(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP FUNCTION keys_take_spares(uuid, integer, integer, timestamptz, integer, uuid)")


class Migration(migrations.Migration):
    dependencies = [("keys", "0010_propagation_bound")]
    operations = [migrations.RunPython(create, drop)]
