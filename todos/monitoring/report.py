"""The report that the admin's first page, `pipeline_status`, `/metrics` and `/readyz/pipeline` share.

It is of the whole overview, or of Kafka and Redis alone while the database cannot be read.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.db import Error as DatabaseFailure
from django.db import connection
from django.utils import timezone

from todos.ingest.errors import LOCK_NOT_AVAILABLE, sqlstate
from todos.monitoring.checks import (
    ComponentCheck,
    check_components,
    check_kafka,
    check_redis,
    database_blocked,
    database_down,
)
from todos.monitoring.database import TableLock, first_line, locked_tables
from todos.monitoring.diagnosis import diagnose, failing_components, locked
from todos.monitoring.lag import PartitionStatus, PipelineStatus
from todos.monitoring.overview import Overview, fetch_overview
from todos.monitoring.probes import Services, services
from todos.monitoring.problems import Problem


class ReportState(StrEnum):
    """The state of the whole pipeline, from good to bad."""

    OK = "ok"
    ATTENTION = "attention"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True)
class Report:
    """The state of each component, and every problem. `overview` is None while the database cannot be read."""

    checks: list[ComponentCheck]
    problems: list[Problem]
    kafka_error: str | None
    database_error: str | None = None
    overview: Overview | None = None
    at: datetime = field(default_factory=timezone.now)

    @property
    def needs_operator(self) -> bool:
        """Whether todos are not stored, or will be lost, until an operator acts."""
        return any(problem.code.needs_operator for problem in self.problems)

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
            "problems": [problem.text for problem in self.problems],
            "diagnosis": [problem.as_dict() for problem in self.problems],
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
        "alarm": row.halt_text or None,
    }


def build_report(probes: Services | None = None) -> Report:
    """Report on the pipeline, whichever of its components is unavailable. Raises no exception.

    `probes` default to those that this process shares.
    """
    probes = probes or services()
    try:
        report = report_on(fetch_overview(probes))
    except DatabaseFailure as exc:
        report = _report_without_overview(probes, exc)
    probes.last_seen.update(report.problems)
    return report


def report_on(overview: Overview) -> Report:
    """Report on the pipeline as the overview describes it."""
    checks = check_components(overview)
    return Report(checks, diagnose(overview, checks), overview.kafka.error or None, overview=overview)


def _report_without_overview(probes: Services, exc: DatabaseFailure) -> Report:
    """Report on Kafka and Redis, and on why the database cannot be read: it is unavailable, or a table is locked."""
    connection.close()  # so that the next query connects again
    state = sqlstate(exc)
    error = f"{'cannot be read' if state else 'unreachable'}: {first_line(exc)}"
    locks: list[TableLock] = []
    if state == LOCK_NOT_AVAILABLE:
        with suppress(DatabaseFailure):
            locks = locked_tables(held_seconds=0)  # a query has waited for it already
    kafka, redis = probes.results(probes.start({}))
    checks = [check_kafka(kafka), check_redis(redis), database_blocked(error) if locks else database_down(error)]
    return Report(checks, [*failing_components(checks), *locked(locks)], kafka.error or None, error)
