from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("keys", "0006_adoption")]
    operations = [
        migrations.AddField(model_name="pool", name="lacks_places", field=models.BooleanField(default=False, editable=False)),
    ]
