from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """Build the new index before dropping the old one. Neither step blocks a query."""

    atomic = False

    dependencies = [
        ("todos", "0021_erased_owners"),
    ]

    operations = [
        AddIndexConcurrently("todo", models.Index(fields=["created_at", "id"], name="todo_by_time")),
        RemoveIndexConcurrently("todo", "todo_newest_first"),
    ]
