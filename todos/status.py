"""Where each partition stands: stored so far, in Kafka so far, who is at it, and how long Kafka keeps the rest."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db.models import F, Sum
from django.utils import timezone

from todos.log import Log, LogUnavailable, OffsetOutOfRange, Retention, Span
from todos.models import OffsetLoss, PartitionLedger, Poller


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
    lost: int = 0  # offsets that were never stored
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


def pipeline_status(log: Log) -> PipelineStatus:
    spans, retention, error = _ask(log)
    ledger = {row.partition: row for row in PartitionLedger.objects.filter(topic=log.topic)}
    workers = dict(Poller.objects.filter(expires_at__gt=timezone.now()).values_list("id", "worker"))
    deleted_in = _deleted_in(log, retention, spans, {partition: row.next_offset for partition, row in ledger.items()})
    losses = OffsetLoss.objects.filter(topic=log.topic).order_by().values_list("partition")
    lost = dict(losses.annotate(lost=Sum(F("next_offset") - F("first_offset"))))
    partitions = []
    for partition in sorted(ledger.keys() | spans.keys()):
        row = ledger.get(partition) or PartitionLedger(topic=log.topic, partition=partition)
        partitions.append(
            PartitionStatus(
                partition=partition,
                next_offset=row.next_offset,
                end=spans[partition].end if partition in spans else None,
                holder=workers.get(row.holder) if row.holder else None,
                moved_at=row.moved_at,
                deleted_in=deleted_in.get(partition),
                lost=lost.get(partition, 0),
                alarm=row.alarm,
            )
        )
    return PipelineStatus(log.topic, error, partitions, retention)


def _ask(log: Log) -> tuple[dict[int, Span], Retention | None, str | None]:
    try:
        return log.spans(log.partitions()), log.retention(), None
    except LogUnavailable as exc:
        return {}, None, str(exc)


def _deleted_in(
    log: Log, retention: Retention | None, spans: Mapping[int, Span], ledger: Mapping[int, int]
) -> dict[int, float]:
    """Seconds, by partition. By this machine's clock and the records' own times, as producers gave them."""
    if retention is None or retention.seconds is None:
        return {}
    unread = {p: ledger.get(p, 0) for p, span in spans.items() if ledger.get(p, 0) < span.end}
    gone = {partition: 0.0 for partition, offset in unread.items() if offset < spans[partition].first}
    try:
        times = log.timestamps({p: offset for p, offset in unread.items() if p not in gone})
    except (LogUnavailable, OffsetOutOfRange):
        return gone
    left = {p: ms / 1000 + retention.seconds - time.time() for p, ms in times.items() if ms >= 0}
    return gone | {partition: max(seconds, 0.0) for partition, seconds in left.items()}
