"""The whole pipeline at one moment, and the alarms that it raises.

The admin's first page, `pipeline_status`, `/metrics` and `/readyz/pipeline` all report from this overview.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from django.conf import settings
from django.utils import timezone

from todos.models import Batch, PollRun
from todos.monitoring import queries
from todos.monitoring.formatting import format_count, format_duration
from todos.monitoring.lag import LogState, PipelineStatus, annotated_ledgers, build_status
from todos.monitoring.probes import KafkaState, ProbeResult, RedisState, Services, services
from todos.monitoring.queries import Delays, PollSchedule, RunningPoll, Series

RETENTION_ALARM = timedelta(hours=1)
QUEUE_ALARM = 10
SILENT_INTERVALS = 3


class CheckState(StrEnum):
    """The state of one component; UNKNOWN while another component's failure hides it."""

    OK = "ok"
    WARNING = "warning"
    BAD = "bad"
    UNKNOWN = "unknown"


class ComponentCheck(NamedTuple):
    """The state of Kafka, Redis, the database, beat or the workers; `seen` is the last sign of life."""

    name: str
    state: CheckState
    text: str
    seen: datetime | None = None


class Alarm(NamedTuple):
    """A condition that needs an operator; `about` names the admin's page: partitionledger, offsetloss and so on."""

    state: CheckState
    text: str
    about: str = ""


@dataclass(frozen=True)
class Overview:
    """The pipeline as the database, Kafka and Redis described it at one moment."""

    at: datetime
    status: PipelineStatus
    kafka: ProbeResult[KafkaState]
    redis: ProbeResult[RedisState]
    last_hour: Series
    last_day: Series
    delays: Delays | None
    dead_letters: Mapping[str, int]
    polls: list[RunningPoll]
    batches: list[Batch]
    last_poll: PollRun | None
    schedule: PollSchedule

    @property
    def lag(self) -> int | None:
        """Records that are not stored yet; never negative."""
        # A partition's lag can be: Kafka may have answered a few seconds before the ledger was read.
        lags = [partition.lag for partition in self.status.partitions]
        return None if self.kafka.error else sum(max(lag, 0) for lag in lags if lag is not None)

    @property
    def deleted_in(self) -> float | None:
        """Seconds until Kafka may delete the oldest unread record."""
        return min((p.deleted_in for p in self.status.partitions if p.deleted_in is not None), default=None)

    @property
    def behind(self) -> float | None:
        """Seconds since the oldest unread record was produced."""
        return max((p.behind for p in self.status.partitions if p.behind is not None), default=None)

    @property
    def paused_schedules(self) -> list[str]:
        """The names of the poll's schedules, if all of them are disabled."""
        return [] if self.schedule.is_enabled else list(self.schedule.names.values())

    @property
    def checks(self) -> list[ComponentCheck]:
        """Every component, from the outside in."""
        return [
            check_kafka(self.kafka),
            check_redis(self.redis),
            ComponentCheck("Database", CheckState.OK, "answers", self.at),
            self._check_beat(),
            self._check_workers(),
        ]

    @property
    def failing(self) -> list[ComponentCheck]:
        """The components that stop the flow of todos; if there are none, those unknown while polling is not paused."""
        bad = [check for check in self.checks if check.state is CheckState.BAD]
        if bad or self.paused_schedules:
            return bad
        return [check for check in self.checks if check.state is CheckState.UNKNOWN]

    @property
    def alarms(self) -> list[Alarm]:
        """Everything that needs an operator."""
        return [
            *self._failing_components(),
            *self._halted_partitions(),
            *self._losses(),
            *self._open_dead_letters(),
            *self._pause(),
        ]

    # --- Components

    def _check_beat(self) -> ComponentCheck:
        """A poll that started proves a tick. A missing tick is beat's fault only where no tick waits in the queue."""

        def beat(state: CheckState, text: str) -> ComponentCheck:
            return ComponentCheck("Beat", state, text, self._last_start)

        if not self.schedule.names:
            return beat(CheckState.BAD, "no schedule for the poll; manage.py create_schedules makes it")
        if not self.schedule.is_enabled:
            return beat(CheckState.WARNING, "polling is paused")
        if not self._is_silent:
            return beat(CheckState.OK, "ticks")
        if self._last_start is None:
            return beat(CheckState.UNKNOWN, "no poll yet")
        if self.redis.value is None:
            return beat(CheckState.UNKNOWN, "unknown while Redis is unavailable")
        if self.redis.value.waiting:
            return beat(CheckState.OK, "its ticks wait in the queue")
        return beat(CheckState.BAD, "silent: no tick waits and no poll starts")

    def _check_workers(self) -> ComponentCheck:
        last_end = self.last_poll.ended_at if self.last_poll else None
        if not self._is_silent:
            if not self.polls:
                return ComponentCheck("Workers", CheckState.OK, "between two polls", last_end)
            processes = format_count(len({poll.worker for poll in self.polls}), "process", "processes")
            polling = f"{format_count(len(self.polls), 'poll')} in {processes}"
            return ComponentCheck("Workers", CheckState.OK, polling, self.at)
        if self.schedule.is_enabled and self.redis.value and self.redis.value.waiting:
            return ComponentCheck("Workers", CheckState.BAD, "no worker takes the waiting ticks", last_end)
        return ComponentCheck("Workers", CheckState.UNKNOWN, "no tick, no poll", last_end)

    @property
    def _last_start(self) -> datetime | None:
        starts = [poll.started_at for poll in self.polls]
        return max([*starts, self.last_poll.started_at] if self.last_poll else starts, default=None)

    @property
    def _is_silent(self) -> bool:
        """Whether no poll started for three intervals, or for one time budget and two intervals if that is longer.

        All workers may be busy for one time budget.
        """
        if self._last_start is None:
            return True
        every, budget = self.schedule.every_seconds, self.schedule.budget_seconds
        patience = max(SILENT_INTERVALS * every, budget + (SILENT_INTERVALS - 1) * every)
        return (self.at - self._last_start).total_seconds() > patience

    # --- Alarms

    def _failing_components(self) -> Iterator[Alarm]:
        for check in self.failing:
            state = CheckState.BAD if check.state is CheckState.BAD else CheckState.WARNING
            yield Alarm(state, f"{check.name}: {check.text}")

    def _halted_partitions(self) -> Iterator[Alarm]:
        for row in self.status.partitions:
            if row.halt_reason:
                yield Alarm(
                    CheckState.BAD, f"partition {row.partition} is halted: {row.halt_reason}", "partitionledger"
                )

    def _losses(self) -> Iterator[Alarm]:
        for row in self.status.partitions:
            if row.recently_deleted:
                deleted = f"Kafka deleted {row.recently_deleted:,} offsets in the last day before they were stored"
                yield Alarm(CheckState.BAD, f"partition {row.partition}: {deleted}", "offsetloss")
        if self.deleted_in is not None and self.deleted_in < RETENTION_ALARM.total_seconds():
            yield Alarm(CheckState.BAD, f"Kafka may delete unread todos in {format_duration(self.deleted_in)}")

    def _open_dead_letters(self) -> Iterator[Alarm]:
        if letters := sum(self.dead_letters.values()):
            more = "or more " if letters == queries.MAX_COUNTED_LETTERS else ""
            text = f"{letters:,} {more}dead letters are open" if letters > 1 else "1 dead letter is open"
            yield Alarm(CheckState.WARNING, text, "deadletter")

    def _pause(self) -> Iterator[Alarm]:
        if self.paused_schedules:
            names = ", ".join(self.paused_schedules)
            waiting = f"; {format_count(self.lag, 'todo waits', 'todos wait')} in Kafka" if self.lag else ""
            yield Alarm(CheckState.WARNING, f"polling is paused: {names}{waiting}", "schedule")


def check_kafka(kafka: ProbeResult[KafkaState]) -> ComponentCheck:
    """Judge the result of the Kafka probe."""
    if kafka.value is None:
        text = f"unreachable at {settings.KAFKA.bootstrap_servers}: {kafka.error}"
        return ComponentCheck("Kafka", CheckState.BAD, text)
    text = f"answers, {format_count(len(kafka.value.log.ranges), 'partition')}"
    return ComponentCheck("Kafka", CheckState.OK, text, _time_of(kafka))


def check_redis(redis: ProbeResult[RedisState]) -> ComponentCheck:
    """Judge the result of the Redis probe."""
    if redis.value is None:
        return ComponentCheck("Redis", CheckState.BAD, f"unreachable: {redis.error}")
    waiting = redis.value.waiting
    state = CheckState.WARNING if waiting > QUEUE_ALARM else CheckState.OK
    text = f"answers, {format_count(waiting, 'tick waits', 'ticks wait')}"
    return ComponentCheck("Redis", state, text, _time_of(redis))


def _time_of(result: ProbeResult[KafkaState] | ProbeResult[RedisState]) -> datetime:
    return datetime.fromtimestamp(result.at, tz=timezone.get_current_timezone())


def fetch_overview(probes: Services | None = None) -> Overview:
    """Query the database once for each panel, and Kafka and Redis meanwhile.

    `probes` default to those that this process shares. Raises a DatabaseError; an unavailable Kafka or Redis is
    part of the overview.
    """
    topic, probes = settings.KAFKA.topic, probes or services()
    ledgers = annotated_ledgers(topic)
    deadline = probes.start({row.partition: row.next_offset for row in ledgers})
    panels: dict[str, Any] = {
        "last_hour": queries.LAST_HOUR.series(topic),
        "last_day": queries.LAST_DAY.series(topic),
        "delays": queries.delays(),
        "dead_letters": queries.open_dead_letters(),
        "polls": queries.running_polls(topic),
        "batches": list(queries.last_batches(topic)),
        "last_poll": queries.last_poll(topic),
        "schedule": queries.poll_schedule(),
    }
    kafka, redis = probes.results(deadline)
    status = build_status(topic, ledgers, kafka.value.log if kafka.value else LogState(), kafka.error or None)
    return Overview(at=timezone.now(), status=status, kafka=kafka, redis=redis, **panels)
