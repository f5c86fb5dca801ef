"""A throwaway topic of real Kafka: send to it, poll it, and read its ledger."""

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import Any

from django.db import DatabaseError, connection
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from edge_api.shared.kafka_settings import KafkaSettings
from todos.event_log import Log, LogUnavailable
from todos.ingest.consumer import ConsumerRun
from todos.ingest.options import PollOptions
from todos.kafka.consumer import KafkaLog
from todos.ledger.poll_runs import PollSummary
from todos.models import UNTIL_REWIND, HaltReason, PartitionLedger


@dataclass
class Topic:
    """A topic of real Kafka with everything that reads and writes it in one test."""

    kafka: KafkaSettings
    logs: list[KafkaLog] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.producer = self.new_producer()

    def new_producer(self, **options: Any) -> KafkaProducer:
        return KafkaProducer(**self.kafka.client_options(), acks="all", **options)

    def log(self) -> KafkaLog:
        self.logs.append(KafkaLog(self.kafka))
        return self.logs[-1]

    def send(self, *values: bytes | None, partition: int = 0, **options: Any) -> list[int]:
        """The offsets that Kafka gave the values, all of them acknowledged."""
        futures = [self.producer.send(self.kafka.topic, value, partition=partition, **options) for value in values]
        self.producer.flush(30)
        return [future.get(30).offset for future in futures]

    def send_todos(self, count: int, partition: int = 0) -> list[str]:
        """The ids of `count` new todos."""
        ids = [str(uuid.uuid4()) for _ in range(count)]
        self.send(*(event(id=todo_id) for todo_id in ids), partition=partition)
        return ids

    def ledger(self) -> dict[int, int]:
        """The next offset of each partition."""
        rows = PartitionLedger.objects.filter(topic=self.kafka.topic)
        return dict(rows.values_list("partition", "next_offset"))

    def _halts(self) -> set[tuple[int, str, int | None]]:
        """Partition, reason and epoch of each halt; none without a database."""
        halted = PartitionLedger.objects.filter(topic=self.kafka.topic).exclude(halt_reason="")
        try:
            return {*halted.values_list("partition", "halt_reason", "halt_epoch")}
        except DatabaseError:
            connection.close()
            return set()

    def _halted(self, *, besides: set[tuple[int, str, int | None]]) -> set[int]:
        """Partitions that a poll reads no further: because of a new halt, or one that waits for a rewind."""
        halts = self._halts()
        new = {part for part, reason, _ in halts - besides if reason != HaltReason.STORE_REFUSED}
        return new | {part for part, reason, _ in halts if reason in UNTIL_REWIND}

    def delete_records(self, partition: int, *, before: int) -> None:
        """As Kafka's retention would."""
        admin = KafkaAdminClient(**self.kafka.client_options())
        admin.delete_records({TopicPartition(self.kafka.topic, partition): before})
        admin.close()

    def configure(self, **configs: int) -> None:
        """Underscores stand for dots: retention_ms."""
        values = {name.replace("_", "."): str(value) for name, value in configs.items()}
        admin = KafkaAdminClient(**self.kafka.client_options())
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, self.kafka.topic, values)])
        admin.close()

    def poll(self, log: Log | None = None, *, timeout_ms: int = 3000, **options: Any) -> PollSummary:
        """Poll until each partition is stored up to its present end or halted, or nothing came for `timeout_ms`."""
        ends, halts_before = self.ends(), self._halts()
        steps = count()

        def is_done() -> bool:
            if not next(steps):
                return False
            held = poll.leases.held
            left = {part for part, end in ends.items() if part not in held or held[part].next_offset != end}
            return bool(ends) and (not left or left <= self._halted(besides=halts_before))

        limits = PollOptions(timeout_ms=timeout_ms, **options)
        poll = ConsumerRun(log or self.log(), limits, "a test", should_stop=is_done)
        return poll.run()

    def close(self) -> None:
        self.producer.close()
        for log in self.logs:
            log.close()

    def ends(self) -> dict[int, int]:
        """The end of each partition; empty where Kafka does not tell."""
        try:
            spans = self._own_log.offset_ranges(self._own_log.partitions())
        except LogUnavailable:
            self.__dict__.pop("_own_log", None)  # kafka-python does not recover from each of its errors
            return {}
        return {partition: span.end for partition, span in spans.items()}

    @cached_property
    def _own_log(self) -> KafkaLog:
        return self.log()


MakeTopic = Callable[..., Topic]


@contextmanager
def throwaway_topic(kafka: KafkaSettings, partitions: int) -> Iterator[Topic]:
    """A new topic, and a group, of a name of their own."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    with closing(Topic(kafka.model_copy(update={"topic": name, "group": name}))) as topic:
        topic.log().create_topic(partitions, 1)
        yield topic


def records_in(topic: Topic) -> int:
    """Return the number of records in all partitions."""
    return sum(topic.ends().values())


def event(**fields: Any) -> bytes:
    return json.dumps({"title": "Do homework", "created_at": "2026-01-02T03:04:05Z"} | fields).encode()


def event_of_version(version: int) -> bytes:
    """As the edge of a newer release writes it."""
    return event(type="TodoCreated", version=version, id=str(uuid.uuid4()))
