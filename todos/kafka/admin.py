"""A topic's description and administration, and the offsets of its consumer group."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from uuid import UUID

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import KafkaError, NoError, TopicAlreadyExistsError, UnknownTopicOrPartitionError, for_code
from kafka.structs import OffsetAndMetadata

from edge_api.shared.hints import with_advice
from edge_api.shared.kafka_settings import KafkaSettings
from todos.bounds import finite_seconds
from todos.event_log import LogUnavailable, OffsetRange, OpenTransaction, Retention

ADMIN_TIMEOUT_MS = 5_000


class KafkaAdmin:
    """The part of a todos.event_log.Log that reads no records. Not thread-safe and not fork-safe."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self.kafka = kafka
        self.topic = kafka.topic
        self.has_failed = False

    def partitions(self) -> list[int]:
        return sorted(partition["partition_index"] for partition in self._describe()["partitions"])

    def identity(self) -> UUID | None:
        topic_id = self._describe()["topic_id"]
        return UUID(topic_id) if topic_id else None

    def _describe(self) -> dict[str, Any]:
        with self._answering():
            (topic,) = self._admin.describe_topics([self.topic])
        if topic["error_code"] == UnknownTopicOrPartitionError.errno:
            raise self._missing()
        if not topic["partitions"]:
            raise LogUnavailable(f"topic {self.topic}: {for_code(topic['error_code']).__name__}")
        return dict(topic)

    def _missing(self) -> LogUnavailable:
        return LogUnavailable(f"topic {self.topic} does not exist; manage.py create_topics makes it")

    def offset_ranges(self, partitions: Iterable[int]) -> dict[int, OffsetRange]:
        wanted = [TopicPartition(self.topic, partition) for partition in partitions]
        with self._answering():
            first, end = (
                self._admin.list_partition_offsets(dict.fromkeys(wanted, spec), timeout_ms=ADMIN_TIMEOUT_MS)
                for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST)
            )
        return {where.partition: OffsetRange(first[where].offset, end[where].offset) for where in wanted}

    def open_transactions(self, ends: Mapping[int, int]) -> dict[int, OpenTransaction]:
        """Compare with the last stable offset, which an open transaction holds back."""
        wanted = {TopicPartition(self.topic, partition): OffsetSpec.LATEST for partition in ends}
        with unavailable():
            stable = self._admin.list_partition_offsets(
                wanted, isolation_level="read_committed", timeout_ms=ADMIN_TIMEOUT_MS
            )
        held = {where: int(at.offset) for where, at in stable.items() if at.offset < ends[where.partition]}
        return {where.partition: self._transaction_at(where, offset) for where, offset in held.items()}

    def _transaction_at(self, where: TopicPartition, offset: int) -> OpenTransaction:
        """Describe the transaction that begins at the offset, as far as the broker's version and permissions allow."""
        try:
            producers = self._admin.describe_producers([where])[where].active_producers
            open_ = [producer for producer in producers if producer.current_transaction_start_offset >= 0]
            first = min(open_, key=lambda producer: producer.current_transaction_start_offset, default=None)
            if first is None:
                return OpenTransaction(offset)
            for transaction, described in self._transactions_of(first.producer_id).items():
                if described.transaction_start_time_ms >= 0:
                    name = f"producer {first.producer_id} ({transaction})"
                    return OpenTransaction(offset, name, described.transaction_start_time_ms)
        except KafkaError:
            return OpenTransaction(offset)
        return OpenTransaction(offset, f"producer {first.producer_id}", first.last_timestamp)

    def _transactions_of(self, producer_id: int) -> dict[str, Any]:
        """Ask the coordinators, which know since when; they know nothing of a transaction that hangs."""
        listed = self._admin.list_transactions(producer_id_filters=[producer_id])
        names = [transaction.transactional_id for transactions in listed.values() for transaction in transactions]
        return dict(self._admin.describe_transactions(names))

    def offset_at(self, partition: int, timestamp_ms: int) -> int | None:
        """The first offset whose record is as young as that; None when all are older."""
        return self.offsets_at([partition], timestamp_ms)[partition]

    def offsets_at(self, partitions: Iterable[int], timestamp_ms: int) -> dict[int, int | None]:
        wanted = {TopicPartition(self.topic, partition): timestamp_ms for partition in partitions}
        with unavailable():
            found = self._admin.list_partition_offsets(wanted, timeout_ms=ADMIN_TIMEOUT_MS)
        return {where.partition: None if at.offset < 0 else int(at.offset) for where, at in found.items()}

    def retention(self) -> Retention:
        names = ("cleanup.policy", "retention.ms", "retention.bytes", "segment.ms")
        resource = ConfigResource(ConfigResourceType.TOPIC, self.topic, dict.fromkeys(names))
        with unavailable():
            described = self._admin.describe_configs([resource], config_filter="all")["topic"][self.topic]
        if not described:
            raise self._missing()
        policy, milliseconds, size, segment = (described[name]["value"] for name in names)
        if "delete" not in policy:
            return Retention(None, None)
        return Retention(
            finite_seconds(int(milliseconds) / 1000) if int(milliseconds) >= 0 else None,
            int(size) if int(size) >= 0 else None,
            finite_seconds(int(segment) / 1000),
        )

    def commit_offsets(self, offsets: Mapping[int, int]) -> dict[int, str]:
        """Set the group's offsets, and return the error of each partition that Kafka refused. Raises LogUnavailable."""
        positions = {TopicPartition(self.topic, p): OffsetAndMetadata(offset, "", -1) for p, offset in offsets.items()}
        with unavailable():
            results = self._admin.alter_group_offsets(self.kafka.group, positions)
        return {where.partition: error.__name__ for where, error in results.items() if error is not NoError}

    def published_offsets(self) -> dict[int, int]:
        """Return the group's offset of each partition that has one. Raises LogUnavailable."""
        try:
            with unavailable():
                offsets = self._admin.list_group_offsets({self.kafka.group: None})[self.kafka.group]
        except LogUnavailable:
            KafkaAdmin.close(self)  # this client would never look again for a coordinator that has moved
            raise
        return {where.partition: int(at.offset) for where, at in offsets.items() if where.topic == self.topic}

    def create_topic(self, partitions: int, replication_factor: int) -> bool:
        """False when the topic was there already."""
        spec = {self.topic: {"num_partitions": partitions, "replication_factor": replication_factor}}
        with unavailable():
            try:
                self._admin.create_topics(spec, timeout_ms=ADMIN_TIMEOUT_MS, wait_for_metadata=True)
            except TopicAlreadyExistsError:
                return False
        return True

    def add_partitions(self, total: int) -> None:
        """Raises LogUnavailable. Kafka can never remove partitions."""
        with unavailable():
            self._admin.create_partitions({self.topic: total}, timeout_ms=ADMIN_TIMEOUT_MS)

    def close(self) -> None:
        if admin := self.__dict__.pop("_admin", None):
            admin.close()

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Note a failure: kafka-python does not recover from each of its own."""
        try:
            with unavailable():
                yield
        except LogUnavailable as exc:
            self.has_failed = self.has_failed or type(exc) is LogUnavailable  # not one unreadable partition
            raise

    @cached_property
    def _admin(self) -> Any:
        return _connect(
            **self.kafka.client_options(),
            client_id="todo-ingest-admin",
            request_timeout_ms=ADMIN_TIMEOUT_MS,
            bootstrap_timeout_ms=ADMIN_TIMEOUT_MS,
        )


def _connect(**options: Any) -> Any:
    """Return a KafkaAdminClient. Raises KafkaError.

    A constructor that raises leaves a thread running, with three file descriptors. Each poll of an outage would leave
    some more, until the process may open none.
    """
    network_clients = []

    def create_network_client(**configs: Any) -> Any:
        network_clients.append(KafkaAdminClient.DEFAULT_CONFIG["kafka_client"](**configs))
        return network_clients[-1]

    try:
        return KafkaAdminClient(kafka_client=create_network_client, **options)
    except Exception:
        for client in network_clients:
            client.close()
        raise


@contextmanager
def unavailable() -> Iterator[None]:
    """Raise LogUnavailable for what kafka-python raises."""
    try:
        yield
    except KafkaError as exc:
        raise LogUnavailable(with_advice(str(exc))) from exc  # which begins with the name of its type
