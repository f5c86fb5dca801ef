"""The schedules of the tasks: create the defaults, pause, resume, and run once. Operators' edits are never changed."""

import json
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from celery import current_app
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks
from kombu.exceptions import OperationalError

from todos.ingest.options import InvalidOptions, Options, PollOptions, TrimOptions
from todos.models import PausedSchedule
from todos.operations.ticks import SCHEDULE_HEADER, SENT_AT_HEADER, database_now

POLL_SCHEDULE, POLL_TASK = "Poll todo-create", "todos.tasks.poll_todos"
TRIM_SCHEDULE, TRIM_TASK = "Trim the batch history", "todos.tasks.trim_batches"
TASK_OPTIONS: dict[str, type[Options]] = {POLL_TASK: PollOptions, TRIM_TASK: TrimOptions}
BROKER_SECONDS = 1
# Celery's own connections retry forever; a page of the admin and beat cannot wait for that.
SINGLE_ATTEMPT = {
    "socket_timeout": BROKER_SECONDS,
    "socket_connect_timeout": BROKER_SECONDS,
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
}


class Schedule(NamedTuple):
    """A default schedule; a tick expires when the next one is due."""

    name: str
    task: str
    every_seconds: int
    description: str


DEFAULTS = [
    Schedule(
        POLL_SCHEDULE,
        POLL_TASK,
        # Half the default time budget: two polls run at a time, so one is always running when another ends.
        5,
        "Long-polls Kafka and stores todos in bulk. A change takes effect within 10 s.",
    ),
    Schedule(TRIM_SCHEDULE, TRIM_TASK, 3600, "Deletes batches that are older than keep_days, for 5 s at most."),
]


class BrokerUnavailable(Exception):
    """Redis did not accept the task, so it will not run."""


class UnusableSchedule(ValueError):
    """No worker can run what the schedule names; the message says why."""


def faults_of(schedule: PeriodicTask) -> dict[str, str]:
    """Return why no worker could run what the schedule sends, by the name of the field at fault; empty if one can.

    The options in kwargs are not checked: a task that gets invalid ones reports them, and the poll takes its defaults.
    """
    faults, queue = {}, settings.CELERY_TASK_DEFAULT_QUEUE
    if schedule.task not in TASK_OPTIONS:
        faults["task"] = f"Must be {' or '.join(TASK_OPTIONS)}. Workers run no other task for a schedule."
    for name in ("queue", "exchange", "routing_key"):
        if getattr(schedule, name) not in {None, "", queue}:
            faults[name] = f"Must be empty. Workers read the queue {queue} alone."
    if _json(schedule.args or "[]") != []:
        faults["args"] = "Must be []. This task takes keyword arguments only."
    if not isinstance(_json(schedule.kwargs or "{}"), dict):
        faults["kwargs"] = "Must be a JSON object."
    if _json(schedule.headers or "{}") != {}:
        faults["headers"] = "Must be {}. No task reads headers of a schedule."
    return faults


def describe_faults(faults: Mapping[str, str]) -> str:
    """Return the faults of a schedule as one text."""
    return " ".join(f"{field}: {message}" for field, message in faults.items())


def _json(text: str) -> Any:
    """Parse the text; None for what is not JSON, and for null."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def create_default_schedules() -> dict[str, bool]:
    """Create the missing default schedules. Return, by name, whether each was created."""
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
    """Return an interval of so many seconds, created if there is none."""
    every = {"every": seconds, "period": IntervalSchedule.SECONDS}
    # Not get_or_create, which fails where an operator has created the same interval twice.
    return IntervalSchedule.objects.filter(**every).first() or IntervalSchedule.objects.create(**every)


@transaction.atomic
def switch(tasks: "QuerySet[PeriodicTask]", *, enabled: bool) -> int:
    """Pause or resume schedules, and return how many changed. Beat notices within 10 s.

    A pause also ends running polls after the batch that they store, and outdates the ticks in the queue.
    """
    changed = list(tasks.exclude(enabled=enabled).values_list("pk", flat=True))
    last_run = {} if enabled else {"last_run_at": None}
    PeriodicTask.objects.filter(pk__in=changed).update(enabled=enabled, **last_run)
    if enabled:
        clear_pauses(changed)
    else:
        PausedSchedule.objects.bulk_create(
            [PausedSchedule(pk=pk) for pk in changed],
            update_conflicts=True,
            update_fields=["paused_at"],
            unique_fields=["schedule"],
        )
    if changed:
        PeriodicTasks.update_changed()  # beat does not notice update() alone
    return len(changed)


def clear_pauses(tasks: Collection[int]) -> None:
    """Forget that these schedules were paused, after they were enabled."""
    PausedSchedule.objects.filter(pk__in=tasks).delete()


def run_now(task: PeriodicTask) -> None:
    """Send the task of a schedule once, with its arguments.

    Raises UnusableSchedule, or BrokerUnavailable within about 3 s.
    """
    if faults := faults_of(task):
        raise UnusableSchedule(describe_faults(faults))
    headers = {SCHEDULE_HEADER: task.name, SENT_AT_HEADER: database_now().isoformat()}
    with current_app.connection_for_write(transport_options=SINGLE_ATTEMPT) as connection:
        try:
            connection.ensure_connection(max_retries=1, timeout=BROKER_SECONDS)
            current_app.send_task(
                task.task,
                kwargs=json.loads(task.kwargs or "{}"),
                headers=headers,
                connection=connection,
                retry=False,
                priority=task.priority,
            )
        except OperationalError as exc:
            raise BrokerUnavailable(f"Redis did not accept it: {exc}") from exc


# --- Pausing and resuming the poll


class UnknownSchedule(LookupError):
    """The poll has no such schedule; the message names those that it has."""


class Switched(NamedTuple):
    """A schedule as it was before, and whether the switch changed it."""

    schedule: PeriodicTask
    changed: bool


@transaction.atomic
def switch_polling(*, enabled: bool, names: Collection[str] = ()) -> list[Switched]:
    """Pause or resume schedules of the poll; beat notices by itself.

    Without `names` this pauses all of them, or resumes those that a pause disabled. Raises UnknownSchedule; then no
    schedule is switched.
    """
    schedules = {task.name: task for task in poll_schedules().select_for_update(of=["self"])}
    if unknown := sorted(set(names) - schedules.keys()):
        existing = ", ".join(schedules) or "none"
        raise UnknownSchedule(f"{', '.join(unknown)}: no schedule of the poll; there are {existing}")
    if not schedules:
        raise UnknownSchedule("there is no schedule of the poll; manage.py create_schedules makes it")
    selected = [schedules[name] for name in (names or schedules)]
    paused = set(PausedSchedule.objects.values_list("pk", flat=True))
    changing = {task.pk for task in selected if task.enabled != enabled and (names or not enabled or task.pk in paused)}
    switch(PeriodicTask.objects.filter(pk__in=changing), enabled=enabled)
    return [Switched(task, task.pk in changing) for task in selected]


def poll_schedules() -> Any:  # a QuerySet[PeriodicTask], which has no types
    """Select the schedules of the poll task, by name."""
    return PeriodicTask.objects.filter(task=POLL_TASK).select_related("interval").order_by("name")


def poll_options(schedule: PeriodicTask) -> PollOptions:
    """Return the options that the poll takes from its schedule: the defaults if the stored ones are invalid."""
    try:
        return PollOptions.parse(json.loads(schedule.kwargs or "{}"))
    except (InvalidOptions, ValueError, TypeError):
        return PollOptions()
