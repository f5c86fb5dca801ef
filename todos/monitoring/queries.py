"""The monitor's queries to the database: each is a single bounded query, and none reads all todos."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connection
from django.db.models import QuerySet
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from todos.bounds import interval_seconds
from todos.models import Batch, PartitionLedger, PollRun
from todos.operations.schedules import POLL_TASK, poll_options

RECENT_TODOS = 1_000
MAX_COUNTED_LETTERS = 10_000
LAST_BATCHES = 8
MAX_FAILED_POLLS = 1_000
# A batch's created_at is the time of its last statement. Its commit follows within this time.
SETTLED = timedelta(minutes=2)

# --- Stored over time

STORED = """
    SELECT date_bin(%(seconds)s * interval '1 second', created_at, %(since)s), sum(stored)
    FROM todos_batch
    WHERE topic = %(topic)s AND created_at >= %(since)s
    GROUP BY 1
"""


@dataclass(frozen=True)
class Series:
    """The number of todos in each period of `width`. The last period is still running, as of `now`."""

    start: datetime
    width: timedelta
    counts: list[int]
    now: datetime

    @property
    def per_minute(self) -> float:
        """Average over the last complete period and the running one."""
        since = self.start + (len(self.counts) - 2) * self.width
        return sum(self.counts[-2:]) * 60 / (self.now - since).total_seconds()


class StoredOverTime:
    """Counts stored todos by period, and queries each finished period once, since its count never changes."""

    def __init__(self, width: timedelta, periods: int) -> None:
        self.width, self.periods = width, periods
        self._settled: dict[str, dict[datetime, int]] = {}

    def series(self, topic: str) -> Series:
        """Return the counts of the last periods, up to now."""
        now = timezone.now()
        starts = periods_before(now, self.width, self.periods)
        first = starts[0]
        known = {start: stored for start, stored in self._settled.get(topic, {}).items() if start >= first}
        missing = [start for start in starts if start not in known]
        stored = known | _stored(topic, missing[0], self.width)
        self._settled[topic] = {start: stored.get(start, 0) for start in starts if start + self.width < now - SETTLED}
        return Series(first, self.width, [stored.get(start, 0) for start in starts], now)


HOUR, DAY = (timedelta(minutes=1), 60), (timedelta(minutes=15), 96)  # width and number of periods
LAST_HOUR, LAST_DAY = StoredOverTime(*HOUR), StoredOverTime(*DAY)


def periods_before(now: datetime, width: timedelta, periods: int) -> list[datetime]:
    """Return the starts of the last `periods` periods, oldest first; the last one is running."""
    seconds = width.total_seconds()
    running = datetime.fromtimestamp(now.timestamp() // seconds * seconds, tz=now.tzinfo)
    return [running - number * width for number in reversed(range(periods))]


def _stored(topic: str, since: datetime, width: timedelta) -> dict[datetime, int]:
    with connection.cursor() as cursor:
        cursor.execute(STORED, {"topic": topic, "since": since, "seconds": width.total_seconds()})
        return {start: int(stored) for start, stored in cursor.fetchall()}


# --- From the edge to the database

DELAYS = """
    SELECT count(*), percentile_disc(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY delay)
    FROM (SELECT greatest(extract(epoch FROM stored_at - created_at), 0) AS delay FROM todos_todo
          WHERE created_at > now() - interval '1 hour' AND created_at <= now()
          ORDER BY created_at DESC, id DESC LIMIT %s) recent
"""


class Delays(NamedTuple):
    """Percentiles of the seconds from created_at to stored_at, over the newest `todos` todos of the last hour."""

    todos: int
    p50: float
    p99: float


def delays() -> Delays | None:
    """Return how long the newest RECENT_TODOS todos of the last hour took to be stored; None when there are none."""
    with connection.cursor() as cursor:
        cursor.execute(DELAYS, [RECENT_TODOS])
        todos, percentiles = cursor.fetchone()
    return Delays(todos, *map(float, percentiles)) if todos else None


# --- Dead letters

OPEN_LETTERS = """
    SELECT reason, count(*) FROM (
        SELECT reason FROM todos_deadletter WHERE status = 'open' ORDER BY id DESC LIMIT %s) open
    GROUP BY reason ORDER BY count(*) DESC
"""


def open_dead_letters() -> dict[str, int]:
    """Count open dead letters by reason, among the newest MAX_COUNTED_LETTERS."""
    with connection.cursor() as cursor:
        cursor.execute(OPEN_LETTERS, [MAX_COUNTED_LETTERS])
        return dict(cursor.fetchall())


# --- Polls, batches, schedule

POLLS = """
    SELECT p.worker, p.started_at, array_remove(array_agg(l.partition ORDER BY l.partition), NULL)
    FROM todos_poller p
    LEFT JOIN todos_partitionledger l ON l.holder = p.id AND l.topic = p.topic
    WHERE p.topic = %s AND p.expires_at > now()
    GROUP BY p.id, p.worker, p.started_at ORDER BY p.started_at, p.worker
"""


class RunningPoll(NamedTuple):
    """A poll that holds leases now."""

    worker: str
    started_at: datetime
    partitions: list[int]


def running_polls(topic: str) -> list[RunningPoll]:
    """Return the polls whose lease has not expired, each with the partitions that it holds."""
    with connection.cursor() as cursor:
        cursor.execute(POLLS, [topic])
        return [RunningPoll(*row) for row in cursor.fetchall()]


def last_batches(topic: str) -> QuerySet[Batch]:
    """Select the newest LAST_BATCHES batches, without the anchors of chains."""
    return Batch.objects.filter(topic=topic, first_offset__isnull=False).order_by("-created_at")[:LAST_BATCHES]


def last_poll(topic: str) -> PollRun | None:
    """Return the poll that ended last."""
    return PollRun.objects.filter(topic=topic).first()


FAILING_SINCE = """
    WITH newest AS (
        SELECT id, started_at, failures > 0 AND batches = 0 AS has_failed FROM todos_pollrun
        WHERE topic = %s ORDER BY id DESC LIMIT %s)
    SELECT min(started_at), count(*) FROM newest
    WHERE id > (SELECT coalesce(max(id), 0) FROM newest WHERE NOT has_failed)
"""


def failing_since(topic: str) -> datetime | None:
    """Return when the first poll of those started that have failed without a break.

    None if the last poll has not failed, or if none of the newest MAX_FAILED_POLLS has not.
    """
    with connection.cursor() as cursor:
        cursor.execute(FAILING_SINCE, [topic, MAX_FAILED_POLLS])
        since, polls = cursor.fetchone()
    return None if polls == MAX_FAILED_POLLS else since


def batch_of(topic: str, partition: int, offset: int) -> Batch | None:
    """Return the batch that stored this offset first; None when the history was trimmed since.

    Costs one index probe for each rewind of the partition.
    """
    ledger = PartitionLedger.objects.filter(topic=topic, partition=partition).first()
    for generation in range(ledger.generation + 1 if ledger else 0):
        chain = Batch.objects.filter(topic=topic, partition=partition, generation=generation)
        batch = chain.filter(next_offset__gt=offset).order_by("next_offset").first()
        if batch and batch.first_offset is not None and batch.first_offset <= offset:
            return batch
    return None


class PollSchedule(NamedTuple):
    """All schedules of the poll task, by primary key, with the shortest interval and longest budget of the enabled.

    `paused_at` is when the last one was paused; None while one is enabled, or where an edit disabled it.
    """

    names: Mapping[int, str]
    is_enabled: bool
    every_seconds: float
    budget_seconds: float
    paused_at: datetime | None


def poll_schedule() -> PollSchedule:
    """Read the schedules of the poll task, the enabled ones first."""
    related = ("interval", "crontab", "solar", "clocked", "pausedschedule")
    tasks = PeriodicTask.objects.filter(task=POLL_TASK).select_related(*related)
    tasks = sorted(tasks, key=lambda task: not task.enabled)
    enabled = [task for task in tasks if task.enabled]
    intervals = [interval_seconds(task.interval) for task in enabled if task.interval]
    pauses = [task.pausedschedule.paused_at for task in tasks if hasattr(task, "pausedschedule")]
    return PollSchedule(
        {task.pk: task.name for task in tasks},
        bool(enabled),
        min(intervals, default=math.inf),
        max((poll_options(task).time_budget_seconds for task in enabled), default=0.0),
        None if enabled else max(pauses, default=None),
    )
