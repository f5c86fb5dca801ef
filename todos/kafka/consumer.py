"""Read a topic. Offsets come from the ledger: no consumer group, no auto-commit, partitions assigned by hand."""

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from django.conf import settings
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import LogTruncationError, NoOffsetForPartitionError, OffsetOutOfRangeError

from todos.event_log import OffsetOutOfRange, Record
from todos.kafka import decoding
from todos.kafka.admin import ADMIN_TIMEOUT_MS, KafkaAdmin, unavailable
from todos.kafka.public_consumer import PublicConsumer

TIMESTAMPS_SECONDS = 3.0
# How long the broker holds a fetch open. A newly assigned partition waits behind the open fetch, so it is short.
FETCH_WAIT_MS = 100


class KafkaLog(KafkaAdmin):
    """A todos.event_log.Log of one topic. Not thread-safe and not fork-safe: create it in the process that reads."""

    def timestamps(self, positions: Mapping[int, int]) -> dict[int, int]:
        deadline = time.monotonic() + TIMESTAMPS_SECONDS
        found = {}
        for partition, offset in positions.items():
            self.assign({partition: offset})
            seconds_left = max(deadline - time.monotonic(), 0)
            for records in self.poll(timeout_ms=int(seconds_left * 1000), max_records=1).values():
                found[partition] = records[0].timestamp
        return found

    def assign(self, positions: Mapping[int, int]) -> None:
        with unavailable():
            self._consumer.assign([TopicPartition(self.topic, partition) for partition in positions])
            for partition, offset in positions.items():
                self._consumer.seek(TopicPartition(self.topic, partition), offset)

    def poll(self, *, timeout_ms: int, max_records: int) -> dict[int, Sequence[Record]]:
        with unavailable():
            try:
                read = self._consumer.poll(timeout_ms=timeout_ms, max_records=max_records)
            except (OffsetOutOfRangeError, NoOffsetForPartitionError, LogTruncationError) as exc:
                raise OffsetOutOfRange(str(exc)) from exc
        return {where.partition: records for where, records in read.items()}

    def positions(self) -> dict[int, int]:
        with unavailable():
            return {
                where.partition: self._consumer.position(where, timeout_ms=ADMIN_TIMEOUT_MS)
                for where in self._consumer.assignment()
            }

    def close(self) -> None:
        if consumer := self.__dict__.pop("_consumer", None):
            consumer.close()
        super().close()

    @cached_property
    def _consumer(self) -> Any:
        consumer = self._new_consumer()
        return consumer if decoding.install(consumer) else PublicConsumer(consumer, self._new_consumer)

    def _new_consumer(self) -> Any:
        return KafkaConsumer(
            **self.kafka.client_options(),
            client_id="todo-ingest",
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",  # 'latest', the default, skips data in silence
            isolation_level="read_committed",  # no client got an acknowledgement for what a producer aborted
            fetch_max_wait_ms=FETCH_WAIT_MS,
            enable_incremental_fetch_sessions=False,  # each answer lists every partition, also one without records
        )


_of_this_process: KafkaLog | None = None


def process_log() -> KafkaLog:
    """Return this process' log, created at first use: its connections outlive the polls of a Celery child."""
    global _of_this_process  # noqa: PLW0603
    if _of_this_process is None:
        _of_this_process = KafkaLog(settings.KAFKA)
    return _of_this_process


def close_process_log() -> None:
    if _of_this_process is not None:
        _of_this_process.close()
