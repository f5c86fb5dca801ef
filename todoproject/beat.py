"""Celery's beat with the schedules of the database, independent of its clock and of outages of Redis and PostgreSQL."""

import logging
import time
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, cast

from celery.beat import SchedulingError
from django.db import Error as DatabaseFailure
from django.db import close_old_connections, connection
from django.utils import timezone
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry
from kombu import Connection, Producer

from edge_api.shared.outages import outage_of
from todos.operations.clocks import BEAT, ClockWatch
from todos.operations.schedules import SINGLE_ATTEMPT, describe_faults, faults_of
from todos.operations.ticks import SENT_AT_HEADER, database_now

logger = logging.getLogger(__name__)

UNREAD = object()  # equals no time of a change, so that the schedules are read until that succeeds


class Entry(ModelEntry):  # type: ignore[misc]
    """A schedule whose next tick is one interval away at most, whatever clock wrote when the last one was sent."""

    last_run_at: datetime

    def __init__(self, model: PeriodicTask, app: Any = None) -> None:
        now = timezone.now()
        for field in ("last_run_at", "date_changed"):
            if (at := getattr(model, field)) and at > now:
                setattr(model, field, now)
        super().__init__(model, app)
        if model.expires is None:
            # Celery would compare the worker's clock with beat's; todos.operations.ticks compares the database's.
            self.options.pop("expires", None)

    def is_due(self) -> Any:
        self.last_run_at = min(self.last_run_at, timezone.now())
        return super().is_due()


class Scheduler(DatabaseScheduler):  # type: ignore[misc]
    """Sends the ticks. It keeps running without Redis and without PostgreSQL, and when its clock is set back."""

    Entry = Entry

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._changed_at: Any = UNREAD
        self._entries: dict[str, ModelEntry] = {}
        self._unusable: dict[str, dict[str, str]] = {}
        self._last_pass = time.time()
        self._clock = DatabaseClock()
        self._clock_watch = ClockWatch(BEAT)
        self._redis, self._postgres = outage_of(logger, "Redis"), outage_of(logger, "PostgreSQL")
        super().__init__(*args, **kwargs)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due and return the seconds to sleep. A clock that was set back makes all plans void."""
        now = time.time()
        if now < self._last_pass:
            self._changed_at = UNREAD
            self.populate_heap()
        self._last_pass = now
        seconds: float = super().tick(*args, **kwargs)
        return seconds

    # --- Redis

    @cached_property
    def connection(self) -> Connection:
        return cast("Connection", self.app.connection_for_write(transport_options=SINGLE_ATTEMPT))

    @cached_property
    def producer(self) -> Producer:
        """Connect at the first tick. Celery's own property waits for Redis, and no schedule could change meanwhile."""
        return cast("Producer", self.Producer(self.connection, auto_declare=False))

    def apply_entry(self, entry: ModelEntry, producer: Any = None) -> None:
        if sent_at := self._clock.now():
            entry.options["headers"][SENT_AT_HEADER] = sent_at.isoformat()
        try:
            self.apply_async(entry, producer=producer, advance=False)
        except SchedulingError as exc:
            self._redis.begin(exc)
        else:
            self._redis.end()

    # --- PostgreSQL

    def enabled_models(self) -> list[PeriodicTask]:
        """Read the enabled schedules, and leave out with one warning those that no worker can run."""
        schedules: list[PeriodicTask] = super().enabled_models()
        unusable = {schedule.name: faults for schedule in schedules if (faults := faults_of(schedule))}
        for name, faults in unusable.items():
            if self._unusable.get(name) != faults:
                logger.warning("the schedule %r is not sent; edit it in the admin. %s", name, describe_faults(faults))
        self._unusable = unusable
        return [schedule for schedule in schedules if schedule.name not in unusable]

    def all_as_schedule(self) -> dict[str, ModelEntry]:
        """Read the schedules; without the database the last ones remain. Times to come are made the present one."""
        try:
            changed_at, now = self.Changes.last_change(), timezone.now()
            with suppress(DatabaseFailure):  # a database that is read-only can be read
                PeriodicTask.objects.filter(last_run_at__gt=now).update(last_run_at=now)
            self._entries = super().all_as_schedule()
            self._changed_at = changed_at
        except DatabaseFailure as exc:
            self._postgres.begin(exc)
        return self._entries

    def schedule_changed(self) -> bool:
        """Whether the schedules have to be read again. Any other time of change counts, since clocks differ."""
        try:
            close_old_connections()
            changed_at = self.Changes.last_change()
            self._clock_watch.observe(self._clock.read())
        except DatabaseFailure as exc:
            connection.close()
            self._postgres.begin(exc)
            return False
        self._postgres.end()
        return bool(changed_at != self._changed_at)


class DatabaseClock:
    """The time by the database's clock, continued by the monotonic clock while the database does not answer."""

    def __init__(self) -> None:
        self._read_at: tuple[datetime, float] | None = None

    def read(self) -> datetime:
        """Query the database for the time. Raises a DatabaseError."""
        now = database_now()
        self._read_at = now, time.monotonic()
        return now

    def now(self) -> datetime | None:
        """Return the time, or None before the first successful `read`."""
        if self._read_at is None:
            return None
        at, monotonic = self._read_at
        return at + timedelta(seconds=time.monotonic() - monotonic)
