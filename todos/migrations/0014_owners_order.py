from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models
from django.db.models import F, Q

ORDER = ("owner", F("created_at").desc(nulls_last=True), F("id").desc(nulls_last=True))


class Migration(migrations.Migration):
    """Blocks nobody; the old indexes serve until the new ones are there."""

    atomic = False

    dependencies = [
        ("todos", "0013_paused_schedules"),
    ]

    operations = [
        AddIndexConcurrently("todo", models.Index(*ORDER, name="todo_by_owner", condition=~Q(owner=""))),
        AddIndexConcurrently(
            "todo", models.Index(*ORDER, name="todo_by_owner_done", condition=Q(is_done=True) & ~Q(owner=""))
        ),
        RemoveIndexConcurrently("todo", "todo_of_owner"),
        RemoveIndexConcurrently("todo", "todo_of_owner_done"),
    ]
