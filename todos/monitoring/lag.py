"""Where each partition stands: stored so far, in Kafka so far, who is at it, and how long Kafka keeps the rest."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypedDict

from django.db.models import F, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Now

from todos.event_log import Log, LogUnavailable, OffsetOutOfRange, OffsetRange, Retention
from todos.models import OffsetLoss, PartitionLedger, Poller

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

LOSS_MATTERS_FOR = timedelta(days=1)  # it stays on record for ever, but not a reason to call somebody


@dataclass(frozen=True)
class PartitionStatus:
    """`end` and `lag` are None while Kafka does not answer; `lag` is below 0 when the topic was made anew.

    `deleted_in`: seconds until Kafka may delete the oldest unread record, for its age. It never does before, but
    later where younger records share its segment. 0 when it is due, or gone already; None when nothing is unread,
    when nothing is ever deleted for its age, and while Kafka does not say.
    """

    partition: int
    next_offset: int
    end: int | None
    holder: str | None
    moved_at: datetime | None
    deleted_in: float | None = None
    behind: float | None = None  # seconds since the oldest unread record was produced; None as above
    lost: int = 0  # offsets that were never stored
    deleted_lately: int = 0  # of them, what Kafka deleted unread within the last day
    alarm: str = ""

    @property
    def lag(self) -> int | None:
        return None if self.end is None else self.end - self.next_offset


@dataclass(frozen=True)
class PipelineStatus:
    topic: str
    kafka_error: str | None
    partitions: list[PartitionStatus]
    retention: Retention | None = None  # None while Kafka does not say

    @property
    def lag(self) -> int | None:
        lags = [partition.lag for partition in self.partitions]
        return None if None in lags else sum(lag for lag in lags if lag is not None)


@dataclass(frozen=True)
class LogView:
    """What the log says, of nothing when it does not answer."""

    spans: Mapping[int, OffsetRange] = field(default_factory=dict)
    retention: Retention | None = None
    oldest_unread_ms: Mapping[int, int] = field(default_factory=dict)  # milliseconds since 1970; below 0: unknown


def pipeline_status(log: Log) -> PipelineStatus:
    ledger = ledger_of(log.topic)
    try:
        view, error = view_log(log, {row.partition: row.next_offset for row in ledger}), None
    except LogUnavailable as exc:
        view, error = LogView(), str(exc)
    return combine(log.topic, ledger, view, error)


class _Known(TypedDict):
    worker: str | None
    lost: int | None
    deleted_lately: int | None


def ledger_of(topic: str) -> "QuerySet[WithAnnotations[PartitionLedger, _Known]]":
    """Each partition's row with the `worker` that holds it now, and what was `lost` of it, ever and lately."""
    alive = Poller.objects.filter(id=OuterRef("holder"), expires_at__gt=Now())
    losses = OffsetLoss.objects.filter(topic=OuterRef("topic"), partition=OuterRef("partition")).order_by()
    lately = losses.filter(cause=OffsetLoss.Cause.DELETED, created_at__gte=Now() - LOSS_MATTERS_FOR)
    return PartitionLedger.objects.filter(topic=topic).annotate(
        worker=Subquery(alive.values("worker")),
        lost=_offsets(losses),
        deleted_lately=_offsets(lately),
    )


def _offsets(losses: "QuerySet[OffsetLoss]") -> Subquery:
    return Subquery(losses.values("partition").annotate(lost=Sum(F("next_offset") - F("first_offset"))).values("lost"))


def view_log(log: Log, positions: Mapping[int, int]) -> LogView:
    """`positions` are the next offsets of the ledger. Asks no database. Raises LogUnavailable."""
    spans, retention = log.offset_ranges(log.partitions()), log.retention()
    unread = {p: max(positions.get(p, 0), span.first) for p, span in spans.items() if positions.get(p, 0) < span.end}
    try:
        oldest = log.timestamps({p: offset for p, offset in unread.items() if offset < spans[p].end})
    except (LogUnavailable, OffsetOutOfRange):
        oldest = {}
    return LogView(spans, retention, oldest)


def combine(
    topic: str, ledger: "QuerySet[WithAnnotations[PartitionLedger, _Known]]", view: LogView, error: str | None
) -> PipelineStatus:
    rows = {row.partition: row for row in ledger}
    partitions = []
    for partition in sorted(rows.keys() | view.spans.keys()):
        row = rows.get(partition)
        next_offset = row.next_offset if row else 0
        partitions.append(
            PartitionStatus(
                partition=partition,
                next_offset=next_offset,
                end=view.spans[partition].end if partition in view.spans else None,
                holder=row.worker if row else None,
                moved_at=row.moved_at if row else None,
                deleted_in=_deleted_in(partition, next_offset, view),
                behind=_behind(partition, next_offset, view),
                lost=(row and row.lost) or 0,
                deleted_lately=(row and row.deleted_lately) or 0,
                alarm=row.alarm if row else "",
            )
        )
    return PipelineStatus(topic, error, partitions, view.retention)


def _deleted_in(partition: int, next_offset: int, view: LogView) -> float | None:
    """By this machine's clock and the records' own times, as producers gave them."""
    if view.retention is None or view.retention.seconds is None or partition not in view.spans:
        return None
    if next_offset < view.spans[partition].first:
        return 0.0
    behind = _behind(partition, next_offset, view)
    return None if behind is None else max(view.retention.seconds - behind, 0.0)


def _behind(partition: int, next_offset: int, view: LogView) -> float | None:
    """The view may be older than the ledger, by which all may have been read."""
    milliseconds = view.oldest_unread_ms.get(partition, -1)
    if milliseconds < 0 or next_offset >= view.spans[partition].end:
        return None
    return time.time() - milliseconds / 1000
