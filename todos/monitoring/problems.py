"""The problems that the admin's first page, `pipeline_status`, `/metrics` and `/readyz/pipeline` report, by code.

The runbook has a section for each code.
"""

import time
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

RUNBOOK = "docs/runbook.md"


class ProblemCode(StrEnum):
    """What is wrong. Causes come first. While one lasts, its consequences are not reported."""

    DATABASE_UNAVAILABLE = "database-unavailable"
    DATABASE_READ_ONLY = "database-read-only"
    DATABASE_REFUSES_WRITES = "database-refuses-writes"
    KAFKA_UNAVAILABLE = "kafka-unavailable"
    REDIS_UNAVAILABLE = "redis-unavailable"
    REDIS_READ_ONLY = "redis-read-only"
    REDIS_REFUSES_WRITES = "redis-refuses-writes"
    TABLE_LOCKED = "table-locked"
    ROW_HELD = "row-held"
    NO_SCHEDULE = "no-schedule"
    POLLING_PAUSED = "polling-paused"
    PAUSED_WITH_BACKLOG = "paused-with-backlog"
    CLOCK_AHEAD = "clock-ahead"
    CLOCK_BEHIND = "clock-behind"
    BEAT_SILENT = "beat-silent"
    WORKERS_SILENT = "workers-silent"
    LOG_DIVERGED = "log-diverged"
    PARTITION_HALTED = "partition-halted"
    OPEN_TRANSACTION = "open-transaction"
    STORE_FAILING = "store-failing"
    READ_FAILING = "read-failing"
    PARTITION_STALLED = "partition-stalled"
    RETENTION_NEAR = "retention-near"
    OFFSETS_LOST = "offsets-lost"
    DEAD_LETTERS_OPEN = "dead-letters-open"
    OFFSETS_UNPUBLISHED = "offsets-unpublished"

    @property
    def needs_operator(self) -> bool:
        """Whether `/readyz/pipeline` answers 503: todos are not stored, or will be lost, until an operator acts."""
        return self not in _INFORMATION

    @property
    def runbook(self) -> str:
        """The runbook's section, in the form of the alerts' `runbook_url`."""
        return f"{RUNBOOK}#{self}"


_INFORMATION = {
    ProblemCode.CLOCK_AHEAD,
    ProblemCode.CLOCK_BEHIND,
    ProblemCode.POLLING_PAUSED,
    ProblemCode.OFFSETS_LOST,
    ProblemCode.DEAD_LETTERS_OPEN,
    ProblemCode.OFFSETS_UNPUBLISHED,
}


# While one of these lasts, no poll can start or be seen to start: a missing one proves nothing.
PREVENTS_POLLS = {
    ProblemCode.DATABASE_UNAVAILABLE,
    ProblemCode.DATABASE_READ_ONLY,
    ProblemCode.DATABASE_REFUSES_WRITES,
    ProblemCode.REDIS_UNAVAILABLE,
    ProblemCode.REDIS_READ_ONLY,
    ProblemCode.REDIS_REFUSES_WRITES,
    ProblemCode.TABLE_LOCKED,
    ProblemCode.NO_SCHEDULE,
    ProblemCode.POLLING_PAUSED,
    ProblemCode.PAUSED_WITH_BACKLOG,
}
# While one of these lasts, polls store nothing.
PREVENTS_STORING = PREVENTS_POLLS | {ProblemCode.KAFKA_UNAVAILABLE}
# While one of these lasts, its partition does not advance.
HOLDS_PARTITION = {
    ProblemCode.ROW_HELD,
    ProblemCode.LOG_DIVERGED,
    ProblemCode.PARTITION_HALTED,
    ProblemCode.OPEN_TRANSACTION,
}


class Problem(NamedTuple):
    """One problem of the pipeline. `partition` is None where it concerns more than one."""

    code: ProblemCode
    text: str
    partition: int | None = None
    since: datetime | None = None  # None: unknown

    def __str__(self) -> str:
        since = f"since {self.since:%Y-%m-%d %H:%M:%S} UTC; " if self.since else ""
        return f"{self.text} ({since}{self.code.runbook})"

    def as_dict(self) -> dict[str, Any]:
        """Return the problem for JSON."""
        return {
            "code": self.code,
            "text": self.text,
            "partition": self.partition,
            "since": self.since and self.since.isoformat(timespec="seconds"),
            "runbook": self.code.runbook,
        }


class LastSeen:
    """When this process last saw each problem. Just after a cause has ended, its consequences still prove nothing."""

    def __init__(self) -> None:
        self._at: dict[tuple[ProblemCode, int | None], float] = {}  # by the monotonic clock

    def update(self, problems: Iterable[Problem]) -> None:
        """Remember the problems of a report that was just made."""
        for problem in problems:
            self._at[problem.code, problem.partition] = time.monotonic()

    def last(self, codes: AbstractSet[ProblemCode], now: datetime, partition: int | None = None) -> datetime | None:
        """Return when one of these problems was last seen, of this partition or of the whole pipeline."""
        seen = [at for code in codes if (at := self._at.get((code, partition))) is not None]
        return now - timedelta(seconds=time.monotonic() - max(seen)) if seen else None
