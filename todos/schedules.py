"""The default schedules. They are a start for operators, who tune them in the admin; their edits are never touched."""

import json
from collections.abc import Collection
from typing import Any, NamedTuple

from django.db import transaction
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from todos.options import Options, PollOptions, TrimOptions

POLL_SCHEDULE, POLL_TASK = "Poll todo-create", "todos.tasks.poll_todos"
TRIM_SCHEDULE, TRIM_TASK = "Trim the batch history", "todos.tasks.trim_batches"
TASK_OPTIONS: dict[str, type[Options]] = {POLL_TASK: PollOptions, TRIM_TASK: TrimOptions}


class Schedule(NamedTuple):
    """A tick is void when the next one is due."""

    name: str
    task: str
    every_seconds: int
    description: str


DEFAULTS = [
    Schedule(
        POLL_SCHEDULE,
        POLL_TASK,
        # Half the default time budget: there is always a next poll at hand when one ends, and two run at a time.
        5,
        "Long-polls Kafka and stores todos in bulk. Interval and keyword arguments act within 10 s.",
    ),
    Schedule(TRIM_SCHEDULE, TRIM_TASK, 3600, "Forgets batches that are older than keep_days, for 5 s at most."),
]


def create_default_schedules() -> dict[str, bool]:
    """Create what is missing. By name: False when the schedule was there already, edited or not."""
    return {schedule.name: _create(schedule) for schedule in DEFAULTS}


@transaction.atomic
def _create(schedule: Schedule) -> bool:
    if PeriodicTask.objects.filter(name=schedule.name).exists():
        return False
    every = {"every": schedule.every_seconds, "period": IntervalSchedule.SECONDS}
    # Not get_or_create: nothing keeps an operator from making the same interval twice.
    interval = IntervalSchedule.objects.filter(**every).first() or IntervalSchedule.objects.create(**every)
    _, created = PeriodicTask.objects.get_or_create(
        name=schedule.name,
        defaults={
            "task": schedule.task,
            "interval": interval,
            "kwargs": json.dumps(TASK_OPTIONS[schedule.task]().model_dump()),
            "expire_seconds": schedule.every_seconds,
            "description": schedule.description,
        },
    )
    return bool(created)


# --- The switch of the poll


class UnknownSchedule(LookupError):
    """No such schedule of the poll; the message names those that there are."""


class Switched(NamedTuple):
    schedule: PeriodicTask
    changed: bool  # False when it was like that already


@transaction.atomic
def switch_polling(*, enabled: bool, names: Collection[str] = ()) -> list[Switched]:
    """These schedules of the poll, or all. Beat notices by itself. Raises UnknownSchedule; then nothing is switched."""
    found = {task.name: task for task in poll_schedules().select_for_update(of=["self"])}
    if missing := sorted(set(names) - found.keys()):
        raise UnknownSchedule(f"{', '.join(missing)}: no schedule of the poll; there are {', '.join(found) or 'none'}")
    if not found:
        raise UnknownSchedule("there is no schedule of the poll; manage.py create_schedules makes it")
    return [_switch(found[name], enabled=enabled) for name in (names or found)]


def poll_schedules() -> Any:  # a QuerySet[PeriodicTask], which has no types
    return PeriodicTask.objects.filter(task=POLL_TASK).select_related("interval").order_by("name")


def _switch(schedule: PeriodicTask, *, enabled: bool) -> Switched:
    changed = schedule.enabled != enabled
    if changed:
        schedule.enabled = enabled
        schedule.save()  # which tells beat; update() would not
    return Switched(schedule, changed)
