"""Purchases of a place that are never compiled, on PostgreSQL. See 0009, and 0011 for the function of spares."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


# Should an index be lacking, the forbidden scan's cost would ask for it at each call.
def never_compile(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("ALTER FUNCTION keys_take_place(uuid, integer) SET jit = off")


def compile_anyhow(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("ALTER FUNCTION keys_take_place(uuid, integer) RESET jit")


class Migration(migrations.Migration):
    dependencies = [("keys", "0013_siloed_keys_move")]
    operations = [migrations.RunPython(never_compile, compile_anyhow)]
