"""What pipeline_status tells: where the pipeline stands, what of it needs an operator, and what cannot be told."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db import Error as DatabaseFailure
from django.db import connection
from django.db.models import F, Sum
from django.utils import timezone

from todos.log import Log, LogUnavailable
from todos.models import DeadLetter, OffsetLoss
from todos.schedules import poll_schedules
from todos.status import PipelineStatus, pipeline_status

LOSS_MATTERS_FOR = timedelta(days=1)  # it stays on record for ever, but not a reason to call somebody
RETENTION_ALARM_SECONDS = 3600.0


class State(StrEnum):
    """From good to bad."""

    OK = "ok"
    ATTENTION = "attention"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True)
class Report:
    """An error is None while its side answers. While the database does not, nothing is known but Kafka's state."""

    topic: str
    kafka_error: str | None
    database_error: str | None = None
    pipeline: PipelineStatus | None = None
    open_dead_letters: int | None = None
    lost_lately: dict[int, int] = field(default_factory=dict)  # offsets that Kafka deleted unread, by partition
    paused: list[str] = field(default_factory=list)  # the poll's schedules, when all of them are off
    at: datetime = field(default_factory=timezone.now)

    @property
    def state(self) -> State:
        if self.kafka_error or self.database_error:
            return State.UNREACHABLE
        return State.ATTENTION if self.problems else State.OK

    @property
    def lag(self) -> int | None:
        return None if self.kafka_error or not self.pipeline else self.pipeline.lag

    @property
    def deleted_in(self) -> float | None:
        """Seconds until Kafka may delete the oldest of all unread records."""
        partitions = self.pipeline.partitions if self.pipeline else []
        return min((row.deleted_in for row in partitions if row.deleted_in is not None), default=None)

    @property
    def lost(self) -> int | None:
        return sum(row.lost for row in self.pipeline.partitions) if self.pipeline else None

    @property
    def problems(self) -> list[str]:
        """What needs an operator, a line for each."""
        return list(self._problems())

    def _problems(self) -> Iterator[str]:
        for row in self.pipeline.partitions if self.pipeline else []:
            if row.alarm:
                yield f"partition {row.partition} stands still: {row.alarm}"
        for partition, lost in sorted(self.lost_lately.items()):
            yield f"partition {partition}: Kafka deleted {lost:,} offsets in the last day before they were stored"
        if self.deleted_in is not None and self.deleted_in < RETENTION_ALARM_SECONDS:
            yield f"Kafka may delete unread records in {timedelta(seconds=int(self.deleted_in))}"
        if self.open_dead_letters:
            yield f"{self.open_dead_letters:,} dead letters are open"
        if self.paused:
            yield f"polling is paused: {', '.join(self.paused)}"

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON. Keys are added, never changed or taken away: scripts depend on them."""
        retention = self.pipeline.retention if self.pipeline else None
        return {
            "at": self.at.isoformat(timespec="seconds"),
            "topic": self.topic,
            "state": self.state,
            "problems": self.problems,
            "kafka_error": self.kafka_error,
            "database_error": self.database_error,
            "lag": self.lag,
            "lost": self.lost,
            "open_dead_letters": self.open_dead_letters,
            "paused_schedules": self.paused,
            "retention_seconds": retention and retention.seconds,
            "retention_bytes": retention and retention.bytes,
            "deleted_in_seconds": self.deleted_in,
            "partitions": [
                {
                    "partition": row.partition,
                    "next_offset": row.next_offset,
                    "end": row.end,
                    "lag": row.lag,
                    "moved_at": row.moved_at and row.moved_at.isoformat(timespec="seconds"),
                    "leased_by": row.holder,
                    "deleted_in_seconds": row.deleted_in,
                    "lost": row.lost,
                    "alarm": row.alarm or None,
                }
                for row in (self.pipeline.partitions if self.pipeline else [])
            ],
        }


def report(log: Log) -> Report:
    """Raises nothing, whoever is away."""
    try:
        status = pipeline_status(log)
        return Report(
            log.topic,
            status.kafka_error,
            pipeline=status,
            open_dead_letters=DeadLetter.objects.filter(status=DeadLetter.Status.OPEN).count(),
            lost_lately=_lost_lately(log.topic),
            paused=_paused(),
        )
    except DatabaseFailure as exc:
        connection.close()  # the next report connects anew
        return Report(log.topic, _kafka_error(log), database_error=str(exc).strip().splitlines()[0])


def _lost_lately(topic: str) -> dict[int, int]:
    since = timezone.now() - LOSS_MATTERS_FOR
    losses = OffsetLoss.objects.filter(topic=topic, created_at__gte=since, cause=OffsetLoss.Cause.DELETED)
    partitions = losses.order_by().values_list("partition")
    return dict(partitions.annotate(lost=Sum(F("next_offset") - F("first_offset"))))


def _paused() -> list[str]:
    switches = dict(poll_schedules().values_list("name", "enabled"))
    return [] if any(switches.values()) else list(switches)


def _kafka_error(log: Log) -> str | None:
    try:
        log.partitions()
    except LogUnavailable as exc:
        return str(exc)
    return None
