"""What pipeline_status tells: the overview that the admin shows, or what is known while the database is away."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.db import Error as DatabaseFailure
from django.db import connection
from django.utils import timezone

from todos.monitoring.lag import PartitionStatus, PipelineStatus
from todos.monitoring.overview import Overview, Part, kafka_part, overview, redis_part
from todos.monitoring.overview import State as PartState
from todos.monitoring.probes import Services


class State(StrEnum):
    """From good to bad."""

    OK = "ok"
    ATTENTION = "attention"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True)
class Report:
    """An error is None while its side answers. While the database does not, only Kafka and Redis are known."""

    parts: list[Part]
    problems: list[str]  # what needs an operator, a line for each
    kafka_error: str | None
    database_error: str | None = None
    now: Overview | None = None
    at: datetime = field(default_factory=timezone.now)

    @property
    def topic(self) -> str:
        return str(settings.KAFKA.topic)

    @property
    def state(self) -> State:
        if self.kafka_error or self.database_error:
            return State.UNREACHABLE
        return State.ATTENTION if self.problems else State.OK

    @property
    def pipeline(self) -> PipelineStatus | None:
        return self.now.status if self.now else None

    @property
    def lag(self) -> int | None:
        return None if self.kafka_error or not self.pipeline else self.pipeline.lag

    @property
    def deleted_in(self) -> float | None:
        """Seconds until Kafka may delete the oldest of all unread records."""
        return self.now.deleted_in if self.now else None

    @property
    def lost(self) -> int | None:
        return sum(row.lost for row in self.pipeline.partitions) if self.pipeline else None

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
            "parts": {part.name.lower(): {"state": part.state, "text": part.text} for part in self.parts},
            "lag": self.lag,
            "lost": self.lost,
            "open_dead_letters": sum(self.now.dead_letters.values()) if self.now else None,
            "paused_schedules": list(self.now.schedule.names.values()) if self.now and self.now.is_paused else [],
            "retention_seconds": retention and retention.seconds,
            "retention_bytes": retention and retention.bytes,
            "deleted_in_seconds": self.deleted_in,
            "partitions": [_partition(row) for row in (self.pipeline.partitions if self.pipeline else [])],
        }


def _partition(row: PartitionStatus) -> dict[str, Any]:
    return {
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


def report(services: Services) -> Report:
    """Raises nothing, whoever is away."""
    try:
        now = overview(services)
    except DatabaseFailure as exc:
        connection.close()  # the next report connects anew
        return _without_database(services, str(exc).strip().splitlines()[0])
    problems = [alarm.text for alarm in now.alarms]
    return Report(now.parts, problems, now.kafka.error or None, now=now)


def _without_database(services: Services, error: str) -> Report:
    kafka, redis = services.answers(services.start({}))
    parts = [kafka_part(kafka), redis_part(redis), Part("Database", PartState.BAD, f"unreachable: {error}")]
    return Report(parts, list(_bad(parts)), kafka.error or None, error)


def _bad(parts: list[Part]) -> Iterator[str]:
    return (f"{part.name}: {part.text}" for part in parts if part.state is PartState.BAD)
