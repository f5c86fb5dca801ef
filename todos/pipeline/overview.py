"""All of the pipeline at one moment: what the admin's first page shows and what an alarm may be raised for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from django.conf import settings
from django.utils import timezone

from todos.models import Batch
from todos.pipeline import history
from todos.pipeline.history import Delays, PollSchedule, RunningPoll, Series
from todos.pipeline.probe import Answer
from todos.pipeline.services import KafkaView, RedisView, services
from todos.pipeline.words import count, duration
from todos.status import LogView, PipelineStatus, combine, ledger_of

RETENTION_ALARM = timedelta(hours=1)
LOSS_ALARM = timedelta(days=1)
# Beat writes last_run_at every 3 minutes only; a poll that started proves a tick too.
BEAT_REPORTS_EVERY = 200.0
QUEUE_ALARM = 10


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    BAD = "bad"
    UNKNOWN = "unknown"


class Part(NamedTuple):
    """One part of the system; `seen` is when it last gave a sign of life."""

    name: str
    state: State
    text: str
    seen: datetime | None = None


class Alarm(NamedTuple):
    state: State
    text: str
    about: str = ""  # where to look: partitionledger, offsetloss, schedule


@dataclass(frozen=True)
class Overview:
    at: datetime
    status: PipelineStatus
    kafka: Answer[KafkaView]
    redis: Answer[RedisView]
    last_hour: Series
    last_day: Series
    delays: Delays | None
    dead_letters: Mapping[str, int]
    polls: list[RunningPoll]
    batches: list[Batch]
    schedule: PollSchedule

    @property
    def lag(self) -> int | None:
        """Never below 0: Kafka may have been asked a few seconds before the ledger."""
        lags = [partition.lag for partition in self.status.partitions]
        return None if self.kafka.error else sum(max(lag, 0) for lag in lags if lag is not None)

    @property
    def deleted_in(self) -> float | None:
        """Seconds until Kafka may delete the oldest unread todo."""
        return min((p.deleted_in for p in self.status.partitions if p.deleted_in is not None), default=None)

    @property
    def behind(self) -> float | None:
        return max((p.behind for p in self.status.partitions if p.behind is not None), default=None)

    @property
    def parts(self) -> list[Part]:
        return [
            self._kafka(),
            self._redis(),
            Part("Database", State.OK, "answers", self.at),
            self._beat(),
            self._workers(),
        ]

    @property
    def alarms(self) -> list[Alarm]:
        return [*self._standing_still(), *self._losses(), *self._behind()]

    # --- Parts

    def _kafka(self) -> Part:
        if self.kafka.value is None:
            return Part("Kafka", State.BAD, f"unreachable: {self.kafka.error}")
        partitions = len(self.kafka.value.log.spans)
        return Part("Kafka", State.OK, f"answers, {count(partitions, 'partition')}", _at(self.kafka))

    def _redis(self) -> Part:
        if self.redis.value is None:
            return Part("Redis", State.BAD, f"unreachable: {self.redis.error}")
        waiting = self.redis.value.waiting
        state = State.WARNING if waiting > QUEUE_ALARM else State.OK
        return Part("Redis", state, f"answers, {count(waiting, 'tick waits', 'ticks wait')}", _at(self.redis))

    def _beat(self) -> Part:
        if not self.schedule.names:
            return Part("Beat", State.BAD, "no schedule for the poll; manage.py create_schedules makes it")
        if not self.schedule.is_enabled:
            return Part("Beat", State.WARNING, "polling is paused")
        ticks = [poll.started_at for poll in self.polls]
        seen = max([*ticks, *filter(None, [self.schedule.last_run_at])], default=None)
        if seen is None:
            return Part("Beat", State.UNKNOWN, "no tick yet")
        silence = (self.at - seen).total_seconds()
        if silence > BEAT_REPORTS_EVERY + 2 * min(self.schedule.every_seconds, 3600):
            return Part("Beat", State.BAD, "silent: no tick", seen)
        return Part("Beat", State.OK, "ticks", seen)

    def _workers(self) -> Part:
        if self.polls:
            processes = len({poll.worker for poll in self.polls})
            text = f"{count(len(self.polls), 'poll')} in {count(processes, 'process', 'processes')}"
            return Part("Workers", State.OK, text, self.at)
        seen = self.batches[0].created_at if self.batches else None
        if self.schedule.is_enabled and self.redis.value and self.redis.value.waiting:
            return Part("Workers", State.BAD, "no worker takes the waiting ticks", seen)
        return Part("Workers", State.UNKNOWN, "no poll is running", seen)

    # --- Alarms

    def _standing_still(self) -> Iterator[Alarm]:
        for partition in self.status.partitions:
            if partition.alarm:
                yield Alarm(State.BAD, f"Partition {partition.partition}: {partition.alarm}", "partitionledger")

    def _losses(self) -> Iterator[Alarm]:
        recent = [p for p in self.status.partitions if p.lost_at and self.at - p.lost_at < LOSS_ALARM]
        if recent:
            partitions = ", ".join(str(p.partition) for p in recent)
            yield Alarm(State.BAD, f"Offsets of partition {partitions} were never stored.", "offsetloss")
        if self.deleted_in is not None and self.deleted_in < RETENTION_ALARM.total_seconds():
            yield Alarm(State.BAD, f"Kafka may delete unread todos in {duration(self.deleted_in)}.")

    def _behind(self) -> Iterator[Alarm]:
        for part in self.parts:
            if part.state is State.BAD:
                yield Alarm(State.BAD, f"{part.name}: {part.text}.")
        if self.schedule.names and not self.schedule.is_enabled:
            waiting = f"; {count(self.lag, 'todo waits', 'todos wait')} in Kafka" if self.lag else ""
            yield Alarm(State.WARNING, f"Polling is paused{waiting}.", "schedule")
        elif self.lag and not self.polls:
            waiting = count(self.lag, "todo waits", "todos wait")
            yield Alarm(State.WARNING, f"{waiting} in Kafka and no poll is running.", "schedule")


def _at(answer: Answer[KafkaView] | Answer[RedisView]) -> datetime:
    return datetime.fromtimestamp(answer.at, tz=timezone.get_current_timezone())


def overview() -> Overview:
    """One query for each panel. Kafka and Redis are asked meanwhile, and have services.WAIT_SECONDS together."""
    topic = settings.KAFKA.topic
    ledger = ledger_of(topic)
    deadline = services().start({row.partition: row.next_offset for row in ledger})
    panels: dict[str, Any] = {
        "last_hour": history.LAST_HOUR.series(topic),
        "last_day": history.LAST_DAY.series(topic),
        "delays": history.delays(),
        "dead_letters": history.open_dead_letters(),
        "polls": history.running_polls(topic),
        "batches": list(history.last_batches(topic)),
        "schedule": history.poll_schedule(),
    }
    kafka, redis = services().answers(deadline)
    status = combine(topic, ledger, kafka.value.log if kafka.value else LogView(), kafka.error or None)
    return Overview(at=timezone.now(), status=status, kafka=kafka, redis=redis, **panels)
