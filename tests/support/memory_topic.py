"""A topic in memory with the interface of a real one, for tests that need PostgreSQL and no broker."""

import threading
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tests.support.hostile import Draft
from tests.support.topic import Topic
from todos.event_log import OffsetOutOfRange, OffsetRange, OpenTransaction, Record, Retention


@dataclass
class MemoryTopic(Topic):
    """Records that any number of its logs read; `deleted` counts those that are gone from the start of a partition.

    `held` are the offsets where an open transaction begins, by partition.
    """

    partitions: int = 1
    deleted: dict[int, int] = field(default_factory=dict)
    held: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.records: list[list[Draft]] = [[] for _ in range(self.partitions)]
        self.changed = threading.Condition()
        self.id = uuid.uuid4()

    def log(self) -> "TopicLog":  # type: ignore[override]
        return TopicLog(self)

    def send(self, *values: bytes | None, partition: int = 0, **options: Any) -> list[int]:
        """Takes the options `key`, `headers` and `timestamp_ms`, as the producer of a real topic does."""
        headers = tuple((name.encode(), value) for name, value in options.get("headers", ()))
        timestamp = options.get("timestamp_ms", int(time.time() * 1000))
        with self.changed:
            records = self.records[partition]
            first = len(records)
            for offset, value in enumerate(values, start=first):
                records.append(Draft(value, options.get("key"), headers, timestamp, partition, offset))
            self.changed.notify_all()
        return list(range(first, first + len(values)))

    def lose(self, partition: int, *, after: int) -> None:
        """As a broker whose disk is an older copy: the log ends after so many records."""
        with self.changed:
            del self.records[partition][after:]

    def delete_records(self, partition: int, *, before: int) -> None:
        self.deleted[partition] = before

    def readable(self, partition: int) -> list[Draft]:
        return self.records[partition][: self.held.get(partition)]

    def range_of(self, partition: int) -> OffsetRange:
        return OffsetRange(self.deleted.get(partition, 0), len(self.records[partition]))

    @cached_property
    def _own_log(self) -> "TopicLog":  # type: ignore[override]
        return self.log()


class TopicLog:
    """A todos.event_log.Log of one reader."""

    def __init__(self, topic: MemoryTopic) -> None:
        self.topic = topic.kafka.topic
        self._topic = topic
        self._positions: dict[int, int] = {}

    def partitions(self) -> list[int]:
        return list(range(self._topic.partitions))

    def identity(self) -> uuid.UUID:
        return self._topic.id

    def offset_ranges(self, partitions: Iterable[int]) -> dict[int, OffsetRange]:
        return {partition: self._topic.range_of(partition) for partition in partitions}

    def open_transactions(self, ends: Mapping[int, int]) -> dict[int, OpenTransaction]:
        return {partition: OpenTransaction(first) for partition, first in self._topic.held.items() if partition in ends}

    def retention(self) -> Retention:
        return Retention(None, None)

    def first_records(self, positions: Mapping[int, int]) -> dict[int, Record]:
        records = self._topic.records
        return {
            partition: records[partition][offset]
            for partition, offset in positions.items()
            if offset < len(records[partition])
        }

    def assign(self, positions: Mapping[int, int]) -> None:
        self._positions = dict(positions)

    def positions(self) -> dict[int, int]:
        return dict(self._positions)

    def poll(self, *, timeout_ms: int, max_records: int) -> dict[int, Sequence[Record]]:
        with self._topic.changed:
            self._topic.changed.wait_for(self._has_news, timeout_ms / 1000)
            polled: dict[int, Sequence[Record]] = {}
            for partition, position in self._positions.items():
                records = self._topic.readable(partition)[position : position + max_records]
                if records:
                    polled[partition] = records
                    self._positions[partition] = position + len(records)
                    max_records -= len(records)
            return polled

    def publish(self, positions: Mapping[int, int]) -> None: ...

    def finish_publishing(self, seconds: float) -> None: ...

    def _has_news(self) -> bool:
        """Raises OffsetOutOfRange."""
        ranges = self.offset_ranges(self._positions)
        if any(not ranges[p].first <= position <= ranges[p].end for p, position in self._positions.items()):
            raise OffsetOutOfRange(f"{self._positions} is not in {ranges}")
        return any(position < len(self._topic.readable(p)) for p, position in self._positions.items())
