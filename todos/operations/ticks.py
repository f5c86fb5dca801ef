"""Ticks: the messages that start the task of a schedule. The database decides which of them are outdated."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple, Self

from django.db import Error as DatabaseFailure
from django.db import connection, transaction
from django.db.models.functions import Now
from django_celery_beat.models import PeriodicTask

# Headers of a message: the name of its schedule, and when it was sent, by the database's clock.
SCHEDULE_HEADER, SENT_AT_HEADER = "periodic_task_name", "sent_at"
# A running poll asks each second whether it is paused, and must not wait behind a session that locked the schedules.
LOCK_TIMEOUT = "100ms"
BEAT_HEADER = "celery_beat_task"  # Celery's own; a message that an operator sends has none


def database_now() -> datetime:
    """Return the time by the database's clock, which alone counts: those of beat and the workers may differ."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


class _Schedule(NamedTuple):
    """What the database says about the schedule of a tick at the time `now`."""

    is_enabled: bool
    expire_seconds: int | None
    paused_at: datetime | None
    now: datetime


class Tick(NamedTuple):
    """The message that started a task. Without the name of a schedule it may be of any schedule of that task."""

    schedule: str = ""
    sent_at: datetime | None = None
    is_by_hand: bool = False

    @classmethod
    def from_headers(cls, headers: Mapping[str, Any] | None) -> Self:
        """Read the headers of a task's message; a malformed one counts as missing."""
        headers = headers or {}
        name, sent_at = headers.get(SCHEDULE_HEADER), headers.get(SENT_AT_HEADER)
        return cls(str(name or ""), _parse_time(sent_at), is_by_hand=not headers.get(BEAT_HEADER))

    def is_outdated(self, task: str, *, has_started: bool = False) -> bool:
        """Whether the task must end: its schedule is paused or gone, or its tick waited too long before it started.

        While the database does not answer this is False, since the task itself reports that. So it is while the table
        of schedules is locked, which the monitor reports.
        """
        try:
            schedules = self._schedules(task)
        except DatabaseFailure:
            connection.close()
            return False
        if not schedules:
            return bool(self.schedule)
        return not any(self._may_run(schedule, has_started) for schedule in schedules)

    def _schedules(self, task: str) -> list[_Schedule]:
        tasks = PeriodicTask.objects.filter(task=task, **({"name": self.schedule} if self.schedule else {}))
        rows = tasks.values_list("enabled", "expire_seconds", "pausedschedule__paused_at", Now())
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
            return [_Schedule(*row) for row in rows]

    def _may_run(self, schedule: _Schedule, has_started: bool) -> bool:
        if not (schedule.is_enabled or self._was_sent_during_pause(schedule)):
            return False
        if has_started or self.sent_at is None or schedule.expire_seconds is None:
            return True
        return (schedule.now - self.sent_at).total_seconds() <= schedule.expire_seconds

    def _was_sent_during_pause(self, schedule: _Schedule) -> bool:
        """A task sent by hand during a pause runs."""
        if not self.is_by_hand or self.sent_at is None:
            return False
        return schedule.paused_at is None or self.sent_at > schedule.paused_at


def _parse_time(text: Any) -> datetime | None:
    try:
        parsed = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return parsed if parsed.tzinfo else None
