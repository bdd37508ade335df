"""Open findings are found by an index: most are over."""

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("keys", "0014_take_place_uncompiled")]

    operations = [
        migrations.AddIndex("finding", models.Index(fields=["gateway", "kind"], condition=Q(resolved_at=None), name="finding_open")),
    ]
