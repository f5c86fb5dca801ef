from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """Blocks nobody; the old index serves until the new one is there."""

    atomic = False

    dependencies = [
        ("todos", "0021_erased_owners"),
    ]

    operations = [
        AddIndexConcurrently("todo", models.Index(fields=["created_at", "id"], name="todo_by_time")),
        RemoveIndexConcurrently("todo", "todo_newest_first"),
    ]
