"""The report of pipeline_status: the admin's overview, or Kafka and Redis alone while the database is unavailable."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.db import Error as DatabaseFailure
from django.db import connection
from django.utils import timezone

from todos.monitoring.lag import PartitionStatus, PipelineStatus
from todos.monitoring.overview import (
    CheckState,
    ComponentCheck,
    Overview,
    check_kafka,
    check_redis,
    fetch_overview,
)
from todos.monitoring.probes import Services


class ReportState(StrEnum):
    """The state of the whole pipeline, from good to bad."""

    OK = "ok"
    ATTENTION = "attention"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True)
class Report:
    """What needs an operator, and why. `overview` is None while the database does not answer."""

    checks: list[ComponentCheck]
    problems: list[str]  # one line each
    kafka_error: str | None
    database_error: str | None = None
    overview: Overview | None = None
    at: datetime = field(default_factory=timezone.now)

    @property
    def topic(self) -> str:
        return str(settings.KAFKA.topic)

    @property
    def state(self) -> ReportState:
        if self.kafka_error or self.database_error:
            return ReportState.UNREACHABLE
        return ReportState.ATTENTION if self.problems else ReportState.OK

    @property
    def pipeline(self) -> PipelineStatus | None:
        return self.overview.status if self.overview else None

    @property
    def lag(self) -> int | None:
        return None if self.kafka_error or not self.pipeline else self.pipeline.lag

    @property
    def deleted_in(self) -> float | None:
        """Seconds until Kafka may delete the oldest unread record."""
        return self.overview.deleted_in if self.overview else None

    @property
    def lost(self) -> int | None:
        return sum(row.lost for row in self.pipeline.partitions) if self.pipeline else None

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON. Scripts depend on its keys: they may be added, never changed or removed."""
        retention = self.pipeline.retention if self.pipeline else None
        return {
            "at": self.at.isoformat(timespec="seconds"),
            "topic": self.topic,
            "state": self.state,
            "problems": self.problems,
            "kafka_error": self.kafka_error,
            "database_error": self.database_error,
            "parts": {check.name.lower(): {"state": check.state, "text": check.text} for check in self.checks},
            "lag": self.lag,
            "lost": self.lost,
            "open_dead_letters": sum(self.overview.dead_letters.values()) if self.overview else None,
            "paused_schedules": self.overview.paused_schedules if self.overview else [],
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
        "alarm": row.halt_reason or None,
    }


def build_report(probes: Services) -> Report:
    """Report on the pipeline, whichever of its components is unavailable. Raises no exception."""
    try:
        overview = fetch_overview(probes)
    except DatabaseFailure as exc:
        connection.close()  # so that the next report connects again
        return _report_without_database(probes, str(exc).strip().splitlines()[0])
    problems = [alarm.text for alarm in overview.alarms]
    return Report(overview.checks, problems, overview.kafka.error or None, overview=overview)


def _report_without_database(probes: Services, error: str) -> Report:
    kafka, redis = probes.results(probes.start({}))
    database = ComponentCheck("Database", CheckState.BAD, f"unreachable: {error}")
    checks = [check_kafka(kafka), check_redis(redis), database]
    problems = [f"{check.name}: {check.text}" for check in checks if check.state is CheckState.BAD]
    return Report(checks, problems, kafka.error or None, error)
