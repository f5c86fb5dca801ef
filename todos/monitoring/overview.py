"""The whole pipeline at one moment, as the database, Kafka and Redis describe it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction

from todos.ledger.held_rows import HeldRow, held_rows
from todos.ledger.unpublished import Unpublished, unpublished_offsets
from todos.models import Batch, PollRun
from todos.monitoring import queries
from todos.monitoring.database import TableLock, WriteError, find_write_error, limit_lock_waits, locked_tables
from todos.monitoring.lag import LogState, PipelineStatus, annotated_ledgers, build_status
from todos.monitoring.probes import KafkaState, ProbeResult, RedisState, Services, services
from todos.monitoring.problems import PREVENTS_POLLS, LastSeen
from todos.monitoring.queries import Delays, PollSchedule, RunningPoll, Series
from todos.operations.clocks import Clock, wrong_clocks
from todos.operations.ticks import database_now

SILENT_INTERVALS = 3


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
    failing_since: datetime | None
    schedule: PollSchedule
    write_error: WriteError | None
    locks: list[TableLock]
    clocks: list[Clock]
    held_rows: list[HeldRow]
    unpublished: list[Unpublished] | None  # None while the coordinator of the consumer group does not answer
    last_seen: LastSeen

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
    def ticks_wait(self) -> bool:
        """Whether Redis holds ticks that no worker has taken."""
        return bool(self.redis.value and self.redis.value.waiting)

    @property
    def last_start(self) -> datetime | None:
        """When the newest poll started, whether it has ended or not."""
        starts = [poll.started_at for poll in self.polls]
        return max([*starts, self.last_poll.started_at] if self.last_poll else starts, default=None)

    @property
    def patience_seconds(self) -> float:
        """Three intervals, or one time budget and two intervals if that is longer: all workers may be busy."""
        every, budget = self.schedule.every_seconds, self.schedule.budget_seconds
        return max(SILENT_INTERVALS * every, budget + (SILENT_INTERVALS - 1) * every)

    @property
    def error(self) -> str:
        """Why the last poll stored nothing; empty if it did not fail, or if a partition has advanced since."""
        poll, moves = self.last_poll, [row.moved_at for row in self.status.partitions if row.moved_at]
        if poll is None or poll.batches or not poll.failures or any(moved > poll.ended_at for moved in moves):
            return ""
        return poll.last_error

    @property
    def is_silent(self) -> bool:
        """Whether no poll started for `patience_seconds`, in which one could start."""
        if self.last_start is None:
            return True
        seen = [self.last_start]
        if self.last_poll and self.last_poll.failures:
            seen.append(self.last_poll.ended_at)  # its last attempt may have outlasted its time budget
        if prevented := self.last_seen.last(PREVENTS_POLLS, self.at):
            seen.append(prevented)
        return (self.at - max(seen)).total_seconds() > self.patience_seconds


def fetch_overview(probes: Services | None = None) -> Overview:
    """Query the database once for each panel, and Kafka and Redis meanwhile.

    `probes` default to those that this process shares. Raises a DatabaseError; an unavailable Kafka or Redis is
    part of the overview.
    """
    topic, probes = settings.KAFKA.topic, probes or services()
    with transaction.atomic():
        limit_lock_waits()
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
            "failing_since": queries.failing_since(topic),
            "schedule": queries.poll_schedule(),
            "write_error": find_write_error(topic),
            "locks": locked_tables(),
            "clocks": wrong_clocks(),
            "held_rows": held_rows(topic),
        }
    kafka, redis = probes.results(deadline)
    panels["last_seen"] = probes.last_seen
    panels["unpublished"] = _unpublished(topic, kafka.value) if kafka.value else []
    status = build_status(topic, ledgers, kafka.value.log if kafka.value else LogState(), kafka.error or None)
    return Overview(at=database_now(), status=status, kafka=kafka, redis=redis, **panels)


def _unpublished(topic: str, kafka: KafkaState) -> list[Unpublished] | None:
    return None if kafka.published is None else unpublished_offsets(topic, kafka.published)
