"""All of the pipeline at one moment: what the admin's first page shows and what an alarm may be raised for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from django.conf import settings
from django.utils import timezone

from todos.models import Batch, PollRun
from todos.monitoring import queries as history
from todos.monitoring.formatting import count, duration
from todos.monitoring.lag import LogView, PipelineStatus, combine, ledger_of
from todos.monitoring.probe import Answer
from todos.monitoring.probes import KafkaView, RedisView, Services, services
from todos.monitoring.queries import Delays, PollSchedule, RunningPoll, Series

RETENTION_ALARM = timedelta(hours=1)
QUEUE_ALARM = 10
SILENT_INTERVALS = 3


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
    about: str = ""  # where to look: partitionledger, offsetloss, deadletter, schedule


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
    last_poll: PollRun | None
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
            kafka_part(self.kafka),
            redis_part(self.redis),
            Part("Database", State.OK, "answers", self.at),
            self._beat(),
            self._workers(),
        ]

    @property
    def faults(self) -> list[Part]:
        """What keeps todos from flowing, or, if that is all, what cannot be told. Somebody's pause excuses that."""
        bad = [part for part in self.parts if part.state is State.BAD]
        return bad or [part for part in self.parts if part.state is State.UNKNOWN and not self.is_paused]

    @property
    def is_paused(self) -> bool:
        return bool(self.schedule.names) and not self.schedule.is_enabled

    @property
    def alarms(self) -> list[Alarm]:
        """All that needs an operator; the admin's page, pipeline_status and /readyz/pipeline know no other."""
        return [*self._faults(), *self._standing_still(), *self._losses(), *self._waiting()]

    # --- Parts

    def _beat(self) -> Part:
        """A poll that started proves a tick. One that is missing is beat's fault where no tick waits either."""
        if not self.schedule.names:
            return Part("Beat", State.BAD, "no schedule for the poll; manage.py create_schedules makes it")
        if not self.schedule.is_enabled:
            return Part("Beat", State.WARNING, "polling is paused", self._last_start)
        if not self._is_silent:
            return Part("Beat", State.OK, "ticks", self._last_start)
        if self._last_start is None:
            return Part("Beat", State.UNKNOWN, "no poll yet")
        if self.redis.value is None:
            return Part("Beat", State.UNKNOWN, "cannot be told without Redis", self._last_start)
        if self.redis.value.waiting:
            return Part("Beat", State.OK, "its ticks wait in the queue", self._last_start)
        return Part("Beat", State.BAD, "silent: no tick waits and no poll starts", self._last_start)

    def _workers(self) -> Part:
        last_end = self.last_poll.ended_at if self.last_poll else None
        if not self._is_silent:
            names = {poll.worker for poll in self.polls}
            here = f"{count(len(self.polls), 'poll')} in {count(len(names), 'process', 'processes')}"
            seen = self.at if self.polls else last_end
            return Part("Workers", State.OK, here if self.polls else "between two polls", seen)
        if self.schedule.is_enabled and self.redis.value and self.redis.value.waiting:
            return Part("Workers", State.BAD, "no worker takes the waiting ticks", last_end)
        return Part("Workers", State.UNKNOWN, "no tick, no poll", last_end)

    @property
    def _last_start(self) -> datetime | None:
        starts = [poll.started_at for poll in self.polls]
        return max([*starts, self.last_poll.started_at] if self.last_poll else starts, default=None)

    @property
    def _is_silent(self) -> bool:
        """No poll started for three intervals, or for as long as all workers may be busy with one, and two more."""
        if self._last_start is None:
            return True
        every, budget = self.schedule.every_seconds, self.schedule.budget_seconds
        patience = max(SILENT_INTERVALS * every, budget + (SILENT_INTERVALS - 1) * every)
        return (self.at - self._last_start).total_seconds() > patience

    # --- Alarms

    def _faults(self) -> Iterator[Alarm]:
        for part in self.faults:
            state = State.BAD if part.state is State.BAD else State.WARNING
            yield Alarm(state, f"{part.name}: {part.text}")

    def _standing_still(self) -> Iterator[Alarm]:
        for row in self.status.partitions:
            if row.alarm:
                yield Alarm(State.BAD, f"partition {row.partition} stands still: {row.alarm}", "partitionledger")

    def _losses(self) -> Iterator[Alarm]:
        for row in self.status.partitions:
            if row.deleted_lately:
                lost = f"Kafka deleted {row.deleted_lately:,} offsets in the last day before they were stored"
                yield Alarm(State.BAD, f"partition {row.partition}: {lost}", "offsetloss")
        if self.deleted_in is not None and self.deleted_in < RETENTION_ALARM.total_seconds():
            yield Alarm(State.BAD, f"Kafka may delete unread todos in {duration(self.deleted_in)}")

    def _waiting(self) -> Iterator[Alarm]:
        if letters := sum(self.dead_letters.values()):
            more = "or more " if letters == history.MAX_COUNTED_LETTERS else ""
            text = f"{letters:,} {more}dead letters are open" if letters > 1 else "1 dead letter is open"
            yield Alarm(State.WARNING, text, "deadletter")
        if self.is_paused:
            names = ", ".join(self.schedule.names.values())
            waiting = f"; {count(self.lag, 'todo waits', 'todos wait')} in Kafka" if self.lag else ""
            yield Alarm(State.WARNING, f"polling is paused: {names}{waiting}", "schedule")


def kafka_part(kafka: Answer[KafkaView]) -> Part:
    if kafka.value is None:
        return Part("Kafka", State.BAD, f"unreachable at {settings.KAFKA.bootstrap_servers}: {kafka.error}")
    partitions = len(kafka.value.log.spans)
    return Part("Kafka", State.OK, f"answers, {count(partitions, 'partition')}", _at(kafka))


def redis_part(redis: Answer[RedisView]) -> Part:
    if redis.value is None:
        return Part("Redis", State.BAD, f"unreachable: {redis.error}")
    waiting = redis.value.waiting
    state = State.WARNING if waiting > QUEUE_ALARM else State.OK
    return Part("Redis", state, f"answers, {count(waiting, 'tick waits', 'ticks wait')}", _at(redis))


def _at(answer: Answer[KafkaView] | Answer[RedisView]) -> datetime:
    return datetime.fromtimestamp(answer.at, tz=timezone.get_current_timezone())


def overview(asked: Services | None = None) -> Overview:
    """One query for each panel. Kafka and Redis are asked meanwhile, by default through what this process shares."""
    topic, asked = settings.KAFKA.topic, asked or services()
    ledger = ledger_of(topic)
    deadline = asked.start({row.partition: row.next_offset for row in ledger})
    panels: dict[str, Any] = {
        "last_hour": history.LAST_HOUR.series(topic),
        "last_day": history.LAST_DAY.series(topic),
        "delays": history.delays(),
        "dead_letters": history.open_dead_letters(),
        "polls": history.running_polls(topic),
        "batches": list(history.last_batches(topic)),
        "last_poll": history.last_poll(topic),
        "schedule": history.poll_schedule(),
    }
    kafka, redis = asked.answers(deadline)
    status = combine(topic, ledger, kafka.value.log if kafka.value else LogView(), kafka.error or None)
    return Overview(at=timezone.now(), status=status, kafka=kafka, redis=redis, **panels)
