from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("keys", "0005_scale"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="adoption",
            name="adoption_one_at_work_a_gateway",
        ),
        migrations.AddField(
            model_name="adoption",
            name="report",
            field=models.JSONField(blank=True, default=dict, editable=False, verbose_name="what was taken over"),
        ),
        migrations.AddField(
            model_name="adoption",
            name="withdrawn_at",
            field=models.DateTimeField(editable=False, null=True, verbose_name="withdrawn"),
        ),
        migrations.AddIndex(
            model_name="gatewaykey",
            index=models.Index(
                condition=models.Q(("ends_at", None), ("role", "canary")), fields=["usage_plan"], name="gateway_key_canary_of_a_plan"
            ),
        ),
        migrations.AddIndex(
            model_name="gatewaykey",
            index=models.Index(
                condition=models.Q(("name", ""), ("removed_at", None), models.Q(("remote_id", ""), _negated=True)),
                fields=["gateway"],
                name="gateway_key_to_be_named",
            ),
        ),
        migrations.AddConstraint(
            model_name="adoption",
            constraint=models.UniqueConstraint(
                condition=models.Q(("applied_at", None), ("error", ""), ("withdrawn_at", None)),
                fields=("gateway",),
                name="adoption_one_at_work_a_gateway",
            ),
        ),
    ]
