"""The function that finds a purchase its place in a pool, on PostgreSQL. See keys.models.tickets."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

# A function and not a query: its plan is kept by the session, and each of its statements sees what was committed before it, so that
# the pool is read after its lock was had - in one round trip.
TAKE_PLACE = """
CREATE FUNCTION keys_take_place(of_tier uuid, lock_class integer) RETURNS TABLE (gateway_key_id uuid, slot bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    the_pool bigint;
    the_size integer;
    ticket bigint;
BEGIN
    SELECT p.id INTO the_pool FROM keys_pool p WHERE p.tier_id = of_tier;
    PERFORM pg_advisory_xact_lock_shared(lock_class, the_pool::integer);
    RETURN QUERY
        DELETE FROM keys_freeslot f WHERE f.id = (
            SELECT g.id FROM keys_freeslot g WHERE g.pool_id = the_pool ORDER BY g.slot LIMIT 1 FOR UPDATE SKIP LOCKED
        ) RETURNING f.gateway_key_id, f.slot;
    IF NOT FOUND THEN
        SELECT p.size INTO the_size FROM keys_pool p WHERE p.id = the_pool;
        ticket := nextval(('keys_pool_ticket_' || the_pool)::regclass);
        RETURN QUERY
            SELECT k.id, ticket / the_size FROM keys_gatewaykey k
            WHERE k.pool_id = the_pool AND k.position = ticket % the_size AND k.ends_at IS NULL;
    END IF;
END $$
"""


def create(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(TAKE_PLACE, params=None)


def drop(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP FUNCTION keys_take_place(uuid, integer)")


class Migration(migrations.Migration):
    dependencies = [("keys", "0001_initial")]
    operations = [migrations.RunPython(create, drop)]
