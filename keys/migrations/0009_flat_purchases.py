"""Purchases that cost the same whatever was sold before, also while PostgreSQL's statistics are old."""

import django.db.models.deletion
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

# The function's plans are kept by each session. One that was made while no place was free would read the whole list, however many
# are free by now.
BY_INDEX = ("enable_seqscan", "enable_bitmapscan", "enable_sort")


def read_by_index(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        for setting in BY_INDEX:
            schema_editor.execute(f"ALTER FUNCTION keys_take_place(uuid, integer) SET {setting} = off")


def read_anyhow(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("ALTER FUNCTION keys_take_place(uuid, integer) RESET ALL")


class Migration(migrations.Migration):
    dependencies = [
        ("keys", "0008_calls_saved"),
        ("tenants", "0003_rest_api"),
    ]

    operations = [
        migrations.AlterField(
            model_name="apikey",
            name="tenant",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="api_keys",
                to="tenants.tenant",
                verbose_name="tenant",
            ),
        ),
        migrations.AlterField(
            model_name="apikey",
            name="tier",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="api_keys", to="keys.tier", verbose_name="tier"
            ),
        ),
        migrations.AddIndex(
            model_name="apikey",
            index=models.Index(condition=models.Q(("revoked_at", None)), fields=["tier", "tenant"], name="api_key_live_of_a_tier"),
        ),
        migrations.RunPython(read_by_index, read_anyhow),
    ]
