"""Many records into Kafka without waiting for each."""

from functools import cached_property
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from todos.kafka import METADATA_MS, KafkaSender
from todos.log import LogUnavailable

# Long enough for a broker that restarts.
DELIVERY_MS, REQUEST_MS = 30_000, 10_000


class BulkAck:
    """A todos.imports.run.Ack."""

    def __init__(self, future: Any) -> None:
        self._future = future

    @property
    def is_settled(self) -> bool:
        return bool(self._future.is_done)

    def wait(self) -> None:
        try:
            self._future.get(timeout=DELIVERY_MS / 1000 + 1)
        except KafkaError as exc:
            raise LogUnavailable(f"did not acknowledge: {type(exc).__name__}: {exc}") from exc


class KafkaBulkSender(KafkaSender):
    """A todos.imports.run.PipelinedSender. Who calls it bounds what is in flight: kafka-python does not."""

    def start(self, *, key: bytes, value: bytes) -> BulkAck:
        try:
            return BulkAck(self._producer.send(self.kafka.topic, key=key, value=value))
        except KafkaError as exc:
            raise LogUnavailable(f"did not take a record: {type(exc).__name__}: {exc}") from exc

    @cached_property
    def _producer(self) -> Any:
        return KafkaProducer(
            **self.kafka.client_options(),
            client_id="todo-import",
            acks="all",
            enable_idempotence=False,  # can wedge for good against a frozen broker; the todo's id absorbs a retry
            batch_size=128 * 1024,
            linger_ms=20,
            max_block_ms=METADATA_MS,
            request_timeout_ms=REQUEST_MS,
            delivery_timeout_ms=DELIVERY_MS,
            metrics_enabled=False,
        )
