"""Read a topic. Offsets come from the ledger: no consumer group, no auto-commit, partitions assigned by hand."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from django.conf import settings
from kafka import IsolationLevel, KafkaConsumer, OffsetSpec, TopicPartition
from kafka.errors import LogTruncationError, NoOffsetForPartitionError, OffsetOutOfRangeError

from edge_api.shared.kafka_settings import KafkaSettings
from todos.event_log import OffsetOutOfRange, Record
from todos.kafka import decoding
from todos.kafka.admin import ADMIN_TIMEOUT_MS, KafkaAdmin
from todos.kafka.offset_publisher import OffsetPublisher
from todos.kafka.public_consumer import PublicConsumer

FIRST_RECORDS_SECONDS = 3.0
# A consumer that polled for this long in vain, though Kafka has more for it, is broken.
SILENT_SECONDS = 3.0
LAST_POLL_MS = 1_000
CLOSE_SECONDS = 2.0
# How long the broker holds a fetch open. A newly assigned partition waits behind the open fetch, so it is short.
FETCH_WAIT_MS = 100


class KafkaLog(KafkaAdmin):
    """A todos.event_log.Log of one topic. Not thread-safe and not fork-safe: create it in the process that reads."""

    def __init__(self, kafka: KafkaSettings) -> None:
        super().__init__(kafka)
        self._publisher = OffsetPublisher(KafkaAdmin(kafka))
        self._silent_seconds = 0.0  # of polls in vain, one after the other

    def first_records(self, positions: Mapping[int, int]) -> dict[int, Record]:
        deadline = time.monotonic() + FIRST_RECORDS_SECONDS
        found = {}
        for partition, offset in positions.items():
            self.assign({partition: offset})
            seconds_left = max(deadline - time.monotonic(), 0)
            for records in self.poll(timeout_ms=int(seconds_left * 1000), max_records=1).values():
                found[partition] = records[0]
        return found

    def assign(self, positions: Mapping[int, int]) -> None:
        with self._answering():
            self._consumer.assign([TopicPartition(self.topic, partition) for partition in positions])
            for partition, offset in positions.items():
                self._consumer.seek(TopicPartition(self.topic, partition), offset)

    def poll(self, *, timeout_ms: int, max_records: int) -> dict[int, Sequence[Record]]:
        started = time.monotonic()
        with self._answering():
            try:
                read = self._consumer.poll(timeout_ms=timeout_ms, max_records=max_records)
            except (OffsetOutOfRangeError, NoOffsetForPartitionError, LogTruncationError) as exc:
                raise OffsetOutOfRange(str(exc)) from exc
        self._silent_seconds = 0.0 if read else self._silent_seconds + time.monotonic() - started
        return {where.partition: records for where, records in read.items()}

    def positions(self) -> dict[int, int]:
        with self._answering():
            return {
                where.partition: self._consumer.position(where, timeout_ms=ADMIN_TIMEOUT_MS)
                for where in self._consumer.assignment()
            }

    def publish(self, positions: Mapping[int, int]) -> None:
        self._publisher.publish(positions)

    def finish_publishing(self, seconds: float) -> None:
        self._publisher.finish(seconds)

    def is_broken(self) -> bool:
        """Tell whether a call failed since this was asked last, or polls read nothing although Kafka has more.

        kafka-python does not recover from each of its errors, and some it never reports. This may read a record, so
        assign the partitions again before the next poll.
        """
        silent_seconds, self._silent_seconds = self._silent_seconds, 0.0
        if self.has_failed or silent_seconds < SILENT_SECONDS:
            return self.has_failed
        try:
            positions = {TopicPartition(self.topic, p): position for p, position in self.positions().items()}
            ends = self._admin.list_partition_offsets(
                dict.fromkeys(positions, OffsetSpec.LATEST), IsolationLevel.READ_COMMITTED, ADMIN_TIMEOUT_MS
            )
            if all(position >= ends[where].offset for where, position in positions.items()):
                return False
            return not self._consumer.poll(timeout_ms=LAST_POLL_MS, max_records=1)  # they may have arrived just now
        except Exception:  # noqa: BLE001 - whatever a client raises here, another one is needed
            return True

    def close(self) -> None:
        self._publisher.close()
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


@contextmanager
def process_log() -> Iterator[KafkaLog]:
    """Lend this process' log for one poll. Its connections outlive the polls of a Celery child.

    A log that is broken, or whose poll was interrupted by an exception, is closed: the next poll connects again.
    """
    global _of_this_process  # noqa: PLW0603
    if _of_this_process is None:
        _of_this_process = KafkaLog(settings.KAFKA)
    try:
        yield _of_this_process
        is_broken = _of_this_process.is_broken()
    except BaseException:
        close_process_log()
        raise
    if is_broken:
        close_process_log()


def close_process_log() -> None:
    """Close this process' log. Waits for CLOSE_SECONDS at most, because a broken client may never close."""
    global _of_this_process  # noqa: PLW0603
    if _of_this_process is not None:
        closing = threading.Thread(target=_of_this_process.close, daemon=True)
        _of_this_process = None
        closing.start()
        closing.join(CLOSE_SECONDS)
