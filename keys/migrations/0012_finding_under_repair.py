"""Which row a finding waits for, and why it is not repaired yet."""

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("keys", "0011_take_spares")]

    operations = [
        migrations.AddField("finding", "row_id", models.UUIDField(editable=False, null=True)),
        migrations.AddField(
            "finding",
            "trouble",
            models.CharField(blank=True, default="", editable=False, max_length=500, verbose_name="why the repair failed"),
            preserve_default=False,
        ),
        migrations.AlterField("finding", "action", models.CharField(max_length=200, verbose_name="what is done")),
        migrations.AddIndex(
            "finding",
            models.Index(condition=Q(row_id__isnull=False, resolved_at=None), fields=["gateway"], name="finding_under_repair"),
        ),
    ]
