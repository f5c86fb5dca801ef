from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("todos", "0016_owners"),
    ]

    operations = [
        migrations.CreateModel(
            name="ClockSkew",
            fields=[
                ("process", models.CharField(max_length=255, primary_key=True, serialize=False)),
                ("ahead_seconds", models.FloatField()),
                ("since", models.DateTimeField()),
                ("measured_at", models.DateTimeField()),
            ],
        ),
    ]
