"""The default schedule. It is a start for operators, who tune it in the admin; their edits are never touched."""

import json

from django.db import transaction
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from todos.options import PollOptions

POLL_SCHEDULE = "Poll todo-create"
POLL_TASK = "todos.tasks.poll_todos"
# Half the default time budget: there is always a next poll at hand when one ends, and two run at a time.
POLL_INTERVAL_SECONDS = 5


@transaction.atomic
def create_default_schedules() -> bool:
    """Create what is missing. False when the schedule was there already, edited or not."""
    if PeriodicTask.objects.filter(name=POLL_SCHEDULE).exists():
        return False
    every = {"every": POLL_INTERVAL_SECONDS, "period": IntervalSchedule.SECONDS}
    # Not get_or_create: nothing keeps an operator from making the same interval twice.
    interval = IntervalSchedule.objects.filter(**every).first() or IntervalSchedule.objects.create(**every)
    _, created = PeriodicTask.objects.get_or_create(
        name=POLL_SCHEDULE,
        defaults={
            "task": POLL_TASK,
            "interval": interval,
            "kwargs": json.dumps(PollOptions().model_dump()),
            "expire_seconds": POLL_INTERVAL_SECONDS,
            "description": "Long-polls Kafka and stores todos in bulk. Interval and keyword arguments act within 10 s.",
        },
    )
    return bool(created)
