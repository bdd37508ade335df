"""When a worker looks again what there is to adopt, after a look that failed."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("keys", "0016_usage_read")]

    operations = [migrations.AddField("adoption", "next_try_at", models.DateTimeField(editable=False, null=True, verbose_name="next try"))]
