"""How far each partition is stored, how far Kafka has it, who polls it, and how long Kafka keeps the unread rest."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypedDict

from django.db.models import F, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Now

from todos.bounds import finite_seconds, moment_of
from todos.event_log import Log, LogUnavailable, OffsetOutOfRange, OffsetRange, OpenTransaction, Retention
from todos.models import OffsetLoss, PartitionLedger, Poller

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

RECENT_LOSS = timedelta(days=1)  # an older loss stays on record, but is no problem any more


@dataclass(frozen=True)
class PartitionStatus:
    """One partition: the ledger's offset beside Kafka's.

    `end` and `lag` are None while Kafka does not answer. `lag` is negative when the topic was recreated.
    """

    partition: int
    next_offset: int
    end: int | None
    holder: str | None  # the worker whose poll holds the lease
    moved_at: datetime | None
    # Seconds until Kafka may delete the oldest unread record by age: never earlier, but later where younger records
    # share its segment. 0 when it is due or deleted; None when nothing is unread, nothing expires, or Kafka is silent.
    deleted_in: float | None = None
    behind: float | None = None  # seconds since the oldest unread record was produced; None as for deleted_in
    lost: int = 0  # offsets that were never stored
    recently_deleted: int = 0  # those of them that Kafka deleted unread within RECENT_LOSS
    halt_reason: str = ""  # a todos.models.HaltReason; empty too if a worker of the release before halted it
    halt_text: str = ""  # empty while it is not halted
    halted_since: datetime | None = None
    transaction: OpenTransaction | None = None  # that keeps records from being read

    @property
    def lag(self) -> int | None:
        return None if self.end is None else self.end - self.next_offset


@dataclass(frozen=True)
class PipelineStatus:
    """All partitions of the topic. `retention` is None while Kafka does not answer."""

    topic: str
    kafka_error: str | None
    partitions: list[PartitionStatus]
    retention: Retention | None = None

    @property
    def lag(self) -> int | None:
        """Records that are not stored yet; None when one partition's lag is unknown."""
        lags = [partition.lag for partition in self.partitions]
        return None if None in lags else sum(lag for lag in lags if lag is not None)


@dataclass(frozen=True)
class LogState:
    """What the log answered; empty while it does not answer."""

    ranges: Mapping[int, OffsetRange] = field(default_factory=dict)
    retention: Retention | None = None
    oldest_unread_ms: Mapping[int, int] = field(default_factory=dict)  # milliseconds since 1970; invalid: unknown
    transactions: Mapping[int, OpenTransaction] = field(default_factory=dict)


class _LedgerAnnotations(TypedDict):
    worker: str | None
    lost: int | None
    recently_deleted: int | None


def fetch_status(log: Log) -> PipelineStatus:
    """Ask the database and the log for the status of each partition; an unavailable log is part of the status."""
    ledgers = annotated_ledgers(log.topic)
    try:
        state, error = fetch_log_state(log, {row.partition: row.next_offset for row in ledgers}), None
    except LogUnavailable as exc:
        state, error = LogState(), str(exc)
    return build_status(log.topic, ledgers, state, error)


def annotated_ledgers(topic: str) -> "QuerySet[WithAnnotations[PartitionLedger, _LedgerAnnotations]]":
    """Select each partition's ledger with the `worker` that holds its lease and the number of lost offsets."""
    live_pollers = Poller.objects.filter(id=OuterRef("holder"), expires_at__gt=Now())
    losses = OffsetLoss.objects.filter(topic=OuterRef("topic"), partition=OuterRef("partition")).order_by()
    recent = losses.filter(cause=OffsetLoss.Cause.DELETED, created_at__gte=Now() - RECENT_LOSS)
    return PartitionLedger.objects.filter(topic=topic).annotate(
        worker=Subquery(live_pollers.values("worker")),
        lost=_sum_of_offsets(losses),
        recently_deleted=_sum_of_offsets(recent),
    )


def _sum_of_offsets(losses: "QuerySet[OffsetLoss]") -> Subquery:
    return Subquery(losses.values("partition").annotate(lost=Sum(F("next_offset") - F("first_offset"))).values("lost"))


def fetch_log_state(log: Log, positions: Mapping[int, int]) -> LogState:
    """Ask the log alone, not the database. `positions` are the ledger's next offsets. Raises LogUnavailable."""
    ranges, retention = log.offset_ranges(log.partitions()), log.retention()
    ends = {partition: held.end for partition, held in ranges.items()}
    transactions = log.open_transactions(ends)
    # What cannot be read yet is not waited for.
    readable = {p: held.end for p, held in ranges.items()} | {
        p: open_.first_offset for p, open_ in transactions.items()
    }
    unread = {
        partition: max(positions.get(partition, 0), held.first)
        for partition, held in ranges.items()
        if max(positions.get(partition, 0), held.first) < readable[partition]
    }
    try:
        oldest = {partition: record.timestamp for partition, record in log.first_records(unread).items()}
    except (LogUnavailable, OffsetOutOfRange):
        oldest = {}
    return LogState(ranges, retention, oldest, transactions)


def build_status(
    topic: str,
    ledgers: "QuerySet[WithAnnotations[PartitionLedger, _LedgerAnnotations]]",
    state: LogState,
    error: str | None,
) -> PipelineStatus:
    """Combine what the ledger and the log know of each partition. `error` says why the log did not answer."""
    rows = {row.partition: row for row in ledgers}
    partitions = []
    for partition in sorted(rows.keys() | state.ranges.keys()):
        row = rows.get(partition)
        next_offset = row.next_offset if row else 0
        partitions.append(
            PartitionStatus(
                partition=partition,
                next_offset=next_offset,
                end=state.ranges[partition].end if partition in state.ranges else None,
                holder=row.worker if row else None,
                moved_at=row.moved_at if row else None,
                deleted_in=_deleted_in(partition, next_offset, state),
                behind=_behind(partition, next_offset, state),
                lost=(row and row.lost) or 0,
                recently_deleted=(row and row.recently_deleted) or 0,
                halt_reason=row.halt_reason if row else "",
                halt_text=row.why_halted if row else "",
                halted_since=row.halted_since if row else None,
                transaction=state.transactions.get(partition),
            )
        )
    return PipelineStatus(topic, error, partitions, state.retention)


def _deleted_in(partition: int, next_offset: int, state: LogState) -> float | None:
    """Compare this machine's clock with the record's own time, which its producer set."""
    if state.retention is None or state.retention.seconds is None or partition not in state.ranges:
        return None
    if next_offset < state.ranges[partition].first:
        return 0.0
    age = _age_of_oldest(partition, next_offset, state)
    return None if age is None else finite_seconds(max(state.retention.seconds - age, 0.0))


def _behind(partition: int, next_offset: int, state: LogState) -> float | None:
    age = _age_of_oldest(partition, next_offset, state)
    return None if age is None else max(age, 0.0)


def _age_of_oldest(partition: int, next_offset: int, state: LogState) -> float | None:
    """Return the age of the oldest unread record in seconds; negative if its producer's clock is ahead."""
    written = moment_of(state.oldest_unread_ms.get(partition, -1))
    # The ledger may be newer than the log's state: by now everything may have been stored.
    if written is None or next_offset >= state.ranges[partition].end:
        return None
    return time.time() - written.timestamp()
