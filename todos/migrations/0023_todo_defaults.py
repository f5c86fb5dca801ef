from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    """For COPY, which names only the columns that come from the record."""

    dependencies = [
        ("todos", "0022_todo_by_time"),
    ]

    operations = [
        migrations.AlterField(
            "todo", "is_done", models.BooleanField(db_default=False, default=False, verbose_name="done")
        ),
        migrations.AlterField("todo", "updated_at", models.DateTimeField(auto_now=True, db_default=Now())),
    ]
