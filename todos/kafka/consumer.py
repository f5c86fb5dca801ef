"""Kafka, as the consumer's side needs it; the only module here that imports kafka.

Offsets come from the ledger: no consumer group, no auto-commit, partitions assigned by hand.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from uuid import UUID

from django.conf import settings
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import (
    KafkaError,
    LogTruncationError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)
from kafka.structs import OffsetAndMetadata

from edge_api.shared.hints import with_advice
from edge_api.shared.kafka_settings import KafkaSettings
from todos.event_log import LogUnavailable, OffsetOutOfRange, Record, Retention, Span
from todos.kafka import decoding
from todos.kafka.public_consumer import PublicConsumer

ADMIN_TIMEOUT_MS = 5_000
TIMESTAMPS_SECONDS = 3.0
# How long the broker holds a fetch open. A newly assigned partition waits behind the open fetch, so it is short.
FETCH_WAIT_MS = 100


class KafkaLog:
    """A todos.event_log.Log of one topic. Not thread-safe and not fork-safe: create it in the process that reads."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self.kafka = kafka
        self.topic = kafka.topic

    def partitions(self) -> list[int]:
        return sorted(partition["partition_index"] for partition in self._describe()["partitions"])

    def identity(self) -> UUID | None:
        topic_id = self._describe()["topic_id"]
        return UUID(topic_id) if topic_id else None

    def _describe(self) -> dict[str, Any]:
        with _unavailable():
            (topic,) = self._admin.describe_topics([self.topic])
        if topic["error_code"] == UnknownTopicOrPartitionError.errno:
            raise LogUnavailable(f"topic {self.topic} does not exist; manage.py create_topics makes it")
        if not topic["partitions"]:
            raise LogUnavailable(f"topic {self.topic}: {for_code(topic['error_code']).__name__}")
        return dict(topic)

    def spans(self, partitions: Iterable[int]) -> dict[int, Span]:
        wanted = [TopicPartition(self.topic, partition) for partition in partitions]
        with _unavailable():
            first, end = (
                self._admin.list_partition_offsets(dict.fromkeys(wanted, spec), timeout_ms=ADMIN_TIMEOUT_MS)
                for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST)
            )
        return {where.partition: Span(first[where].offset, end[where].offset) for where in wanted}

    def offset_at(self, partition: int, timestamp_ms: int) -> int | None:
        """The first offset whose record is as young as that; None when all are older."""
        return self.offsets_at([partition], timestamp_ms)[partition]

    def offsets_at(self, partitions: Iterable[int], timestamp_ms: int) -> dict[int, int | None]:
        wanted = {TopicPartition(self.topic, partition): timestamp_ms for partition in partitions}
        with _unavailable():
            found = self._admin.list_partition_offsets(wanted, timeout_ms=ADMIN_TIMEOUT_MS)
        return {where.partition: None if at.offset < 0 else int(at.offset) for where, at in found.items()}

    def retention(self) -> Retention:
        names = ("cleanup.policy", "retention.ms", "retention.bytes")
        resource = ConfigResource(ConfigResourceType.TOPIC, self.topic, dict.fromkeys(names))
        with _unavailable():
            described = self._admin.describe_configs([resource], config_filter="all")["topic"][self.topic]
        policy, milliseconds, size = (described[name]["value"] for name in names)
        if "delete" not in policy:
            return Retention(None, None)
        return Retention(
            int(milliseconds) / 1000 if int(milliseconds) >= 0 else None, int(size) if int(size) >= 0 else None
        )

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

    def positions(self) -> dict[int, int]:
        with _unavailable():
            return {
                where.partition: self._consumer.position(where, timeout_ms=ADMIN_TIMEOUT_MS)
                for where in self._consumer.assignment()
            }

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
        consumer = self._new_consumer()
        return consumer if decoding.install(consumer) else PublicConsumer(consumer, self._new_consumer)

    def _new_consumer(self) -> Any:
        return KafkaConsumer(
            **self.kafka.client_options(),
            client_id="todo-ingest",
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",  # 'latest', the default, skips data in silence
            isolation_level="read_committed",  # what a producer aborted was never promised to anybody
            fetch_max_wait_ms=FETCH_WAIT_MS,
            enable_incremental_fetch_sessions=False,  # each answer tells of each partition, also of a silent one
        )

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
        raise LogUnavailable(with_advice(str(exc))) from exc  # which begins with the name of its type


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
