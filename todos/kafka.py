"""Kafka, as the consumer's side needs it; the only module here that imports kafka.

Offsets come from the ledger: no consumer group, no auto-commit, partitions assigned by hand.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from django.conf import settings
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import (
    KafkaError,
    LogTruncationError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)
from kafka.structs import OffsetAndMetadata

from edge_api.contract import KafkaSettings
from todos import kafka_records
from todos.log import LogUnavailable, OffsetOutOfRange, Record, Span

ADMIN_TIMEOUT_MS = 5_000
# How long the broker holds a fetch open. A newly assigned partition waits behind the open fetch, so it is short.
FETCH_WAIT_MS = 250


class KafkaLog:
    """A todos.log.Log over one topic. Not thread-safe; does not survive fork, so make it in the process that reads."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self.kafka = kafka
        self.topic = kafka.topic

    def partitions(self) -> list[int]:
        with _unavailable():
            (topic,) = self._admin.describe_topics([self.topic])
        if topic["error_code"] == UnknownTopicOrPartitionError.errno:
            raise LogUnavailable(f"topic {self.topic} does not exist; manage.py create_topics makes it")
        return sorted(partition["partition_index"] for partition in topic["partitions"])

    def spans(self, partitions: Iterable[int]) -> dict[int, Span]:
        wanted = [TopicPartition(self.topic, partition) for partition in partitions]
        with _unavailable():
            first, end = (
                self._admin.list_partition_offsets(dict.fromkeys(wanted, spec), timeout_ms=ADMIN_TIMEOUT_MS)
                for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST)
            )
        return {where.partition: Span(first[where].offset, end[where].offset) for where in wanted}

    def assign(self, positions: Mapping[int, int]) -> None:
        with _unavailable():
            self._consumer.assign([TopicPartition(self.topic, partition) for partition in positions])
            for partition, offset in positions.items():
                self._consumer.seek(TopicPartition(self.topic, partition), offset)

    def poll(self, *, timeout_ms: int, max_records: int) -> dict[int, Sequence[Record]]:
        with _unavailable():
            try:
                read = self._consumer.poll(timeout_ms=timeout_ms, max_records=max_records)
            except (OffsetOutOfRangeError, NoOffsetForPartitionError, LogTruncationError) as exc:
                raise OffsetOutOfRange(str(exc)) from exc
        return {where.partition: records for where, records in read.items()}

    def publish(self, positions: Mapping[int, int]) -> None:
        offsets = {TopicPartition(self.topic, p): OffsetAndMetadata(offset, "", -1) for p, offset in positions.items()}
        with _unavailable():
            self._admin.alter_group_offsets(self.kafka.group, offsets)

    def create_topic(self, partitions: int, replication_factor: int) -> bool:
        """False when the topic was there already."""
        spec = {self.topic: {"num_partitions": partitions, "replication_factor": replication_factor}}
        with _unavailable():
            try:
                self._admin.create_topics(spec, timeout_ms=ADMIN_TIMEOUT_MS, wait_for_metadata=True)
            except TopicAlreadyExistsError:
                return False
        return True

    def add_partitions(self, total: int) -> None:
        """Raises LogUnavailable. Kafka can never take partitions away."""
        with _unavailable():
            self._admin.create_partitions({self.topic: total}, timeout_ms=ADMIN_TIMEOUT_MS)

    def close(self) -> None:
        for name in ("_consumer", "_admin"):
            if client := self.__dict__.pop(name, None):
                client.close()

    @cached_property
    def _consumer(self) -> Any:
        consumer = KafkaConsumer(
            **self.kafka.client_options(),
            client_id="todo-ingest",
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",  # 'latest', the default, skips data in silence
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )
        kafka_records.install(consumer)
        return consumer

    @cached_property
    def _admin(self) -> Any:
        return KafkaAdminClient(
            **self.kafka.client_options(),
            client_id="todo-ingest-admin",
            request_timeout_ms=ADMIN_TIMEOUT_MS,
            bootstrap_timeout_ms=ADMIN_TIMEOUT_MS,
        )


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except KafkaError as exc:
        raise LogUnavailable(f"{type(exc).__name__}: {exc}") from exc


_of_this_process: KafkaLog | None = None


def process_log() -> KafkaLog:
    """One log per process, made at first use: connections outlive the polls of a Celery child."""
    global _of_this_process  # noqa: PLW0603
    if _of_this_process is None:
        _of_this_process = KafkaLog(settings.KAFKA)
    return _of_this_process


def close_process_log() -> None:
    if _of_this_process is not None:
        _of_this_process.close()
