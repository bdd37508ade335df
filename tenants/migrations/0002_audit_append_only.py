"""PostgreSQL itself refuses to change or delete audit events. Row triggers: TRUNCATE, which test runs use, is not concerned."""

from django.db import migrations

CREATE = """
CREATE FUNCTION tenants_audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'Audit events are append-only.' USING ERRCODE = 'integrity_constraint_violation';
END
$$;
CREATE TRIGGER tenants_audit_append_only BEFORE UPDATE OR DELETE ON tenants_auditevent
    FOR EACH ROW EXECUTE FUNCTION tenants_audit_is_append_only();
"""
DROP = """
DROP TRIGGER tenants_audit_append_only ON tenants_auditevent;
DROP FUNCTION tenants_audit_is_append_only();
"""


def create(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(CREATE)


def drop(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(DROP)


class Migration(migrations.Migration):
    dependencies = [("tenants", "0001_initial")]

    operations = [migrations.RunPython(create, drop)]
