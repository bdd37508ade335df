"""When the calls of each usage plan were read: those of one that could not be read are not lost among the others."""

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Max, OuterRef, Subquery


def as_its_figures_say(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    days = apps.get_model("keys", "UsageDay").objects.filter(gateway_key__usage_plan=OuterRef("pk")).order_by()
    newest = days.values("gateway_key__usage_plan").annotate(at=Max("read_at")).values("at")
    apps.get_model("keys", "UsagePlan").objects.update(usage_read_at=Subquery(newest))


class Migration(migrations.Migration):
    dependencies = [("keys", "0015_open_findings")]

    operations = [
        migrations.AddField("usageplan", "usage_read_at", models.DateTimeField(editable=False, null=True, verbose_name="usage read")),
        migrations.RunPython(as_its_figures_say, migrations.RunPython.noop),
    ]
