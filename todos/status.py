"""Where each partition stands: stored so far, in Kafka so far, and who is at it."""

from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from todos.log import Log, LogUnavailable, Span
from todos.models import PartitionLedger, Poller


@dataclass(frozen=True)
class PartitionStatus:
    """`end` and `lag` are None while Kafka does not answer; `lag` is below 0 when the topic was made anew."""

    partition: int
    next_offset: int
    end: int | None
    holder: str | None
    moved_at: datetime | None

    @property
    def lag(self) -> int | None:
        return None if self.end is None else self.end - self.next_offset


@dataclass(frozen=True)
class PipelineStatus:
    topic: str
    kafka_error: str | None
    partitions: list[PartitionStatus]

    @property
    def lag(self) -> int | None:
        lags = [partition.lag for partition in self.partitions]
        return None if None in lags else sum(lag for lag in lags if lag is not None)


def pipeline_status(log: Log) -> PipelineStatus:
    spans, error = _spans(log)
    ledger = {row.partition: row for row in PartitionLedger.objects.filter(topic=log.topic)}
    workers = dict(Poller.objects.filter(expires_at__gt=timezone.now()).values_list("id", "worker"))
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
            )
        )
    return PipelineStatus(log.topic, error, partitions)


def _spans(log: Log) -> tuple[dict[int, Span], str | None]:
    try:
        return log.spans(log.partitions()), None
    except LogUnavailable as exc:
        return {}, str(exc)
