"""The default schedules. They are a start for operators, who tune them in the admin; their edits are never touched."""

import json
from collections.abc import Collection
from typing import Any, NamedTuple

from celery import current_app
from django.db import transaction
from django.db.models import QuerySet
from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks
from kombu.exceptions import OperationalError

from todos.ingest.options import Options, PollOptions, TrimOptions
from todos.models import PausedSchedule

POLL_SCHEDULE, POLL_TASK = "Poll todo-create", "todos.tasks.poll_todos"
TRIM_SCHEDULE, TRIM_TASK = "Trim the batch history", "todos.tasks.trim_batches"
TASK_OPTIONS: dict[str, type[Options]] = {POLL_TASK: PollOptions, TRIM_TASK: TrimOptions}
ROUTING = ("queue", "exchange", "routing_key", "priority")
BROKER_SECONDS = 1
ONE_TRY = {
    "socket_timeout": BROKER_SECONDS,
    "socket_connect_timeout": BROKER_SECONDS,
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
}


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


class BrokerUnavailable(Exception):
    """Redis did not take the task: nothing will run."""


def create_default_schedules() -> dict[str, bool]:
    """Create what is missing. By name: False when the schedule was there already, edited or not."""
    return {schedule.name: _create(schedule) for schedule in DEFAULTS}


@transaction.atomic
def _create(schedule: Schedule) -> bool:
    if PeriodicTask.objects.filter(name=schedule.name).exists():
        return False
    _, created = PeriodicTask.objects.get_or_create(
        name=schedule.name,
        defaults={
            "task": schedule.task,
            "interval": interval_of(schedule.every_seconds),
            "kwargs": json.dumps(TASK_OPTIONS[schedule.task]().model_dump()),
            "expire_seconds": schedule.every_seconds,
            "description": schedule.description,
        },
    )
    return bool(created)


def interval_of(seconds: int) -> IntervalSchedule:
    every = {"every": seconds, "period": IntervalSchedule.SECONDS}
    # Not get_or_create: nothing keeps an operator from making the same interval twice.
    return IntervalSchedule.objects.filter(**every).first() or IntervalSchedule.objects.create(**every)


@transaction.atomic
def switch(tasks: "QuerySet[PeriodicTask]", *, enabled: bool) -> int:
    """Pause or resume; beat acts on it within 10 s. Running polls end by themselves."""
    chosen = list(tasks.exclude(enabled=enabled).values_list("pk", flat=True))
    last_run = {} if enabled else {"last_run_at": None}
    PeriodicTask.objects.filter(pk__in=chosen).update(enabled=enabled, **last_run)
    if enabled:
        forget_pause(chosen)
    else:
        PausedSchedule.objects.bulk_create([PausedSchedule(pk=pk) for pk in chosen], ignore_conflicts=True)
    if chosen:
        PeriodicTasks.update_changed()  # update() alone is not noticed by beat
    return len(chosen)


def forget_pause(tasks: Collection[int]) -> None:
    """They are on again, however that came."""
    PausedSchedule.objects.filter(pk__in=tasks).delete()


def run_now(task: PeriodicTask) -> None:
    """One run beside the schedule's own. Raises BrokerUnavailable within about 3 s."""
    headers = {"periodic_task_name": task.name}
    options = {
        name: value for name in ("queue", "exchange", "routing_key", "priority") if (value := getattr(task, name))
    }
    # Celery's own connections try for ever.
    with current_app.connection_for_write(transport_options=ONE_TRY) as connection:
        try:
            connection.ensure_connection(max_retries=1, timeout=BROKER_SECONDS)
            current_app.send_task(
                task.task,
                args=json.loads(task.args or "[]"),
                kwargs=json.loads(task.kwargs or "{}"),
                expires=task.expire_seconds,
                headers=headers,
                connection=connection,
                retry=False,
                **options,
            )
        except OperationalError as exc:
            raise BrokerUnavailable(f"Redis did not take it: {exc}") from exc


# --- The switch of the poll


class UnknownSchedule(LookupError):
    """No such schedule of the poll; the message names those that there are."""


class Switched(NamedTuple):
    schedule: PeriodicTask  # as it was before
    changed: bool


@transaction.atomic
def switch_polling(*, enabled: bool, names: Collection[str] = ()) -> list[Switched]:
    """These schedules of the poll; without names all are paused, or all resumed that a pause switched off.

    Beat notices by itself. Raises UnknownSchedule; then nothing is switched.
    """
    found = {task.name: task for task in poll_schedules().select_for_update(of=["self"])}
    if missing := sorted(set(names) - found.keys()):
        raise UnknownSchedule(f"{', '.join(missing)}: no schedule of the poll; there are {', '.join(found) or 'none'}")
    if not found:
        raise UnknownSchedule("there is no schedule of the poll; manage.py create_schedules makes it")
    asked = [found[name] for name in (names or found)]
    paused = set(PausedSchedule.objects.values_list("pk", flat=True))
    chosen = {task.pk for task in asked if task.enabled != enabled and (names or not enabled or task.pk in paused)}
    switch(PeriodicTask.objects.filter(pk__in=chosen), enabled=enabled)
    return [Switched(task, task.pk in chosen) for task in asked]


def poll_schedules() -> Any:  # a QuerySet[PeriodicTask], which has no types
    return PeriodicTask.objects.filter(task=POLL_TASK).select_related("interval").order_by("name")
