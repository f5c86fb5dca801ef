"""Producers of the Django side: one record at a time for redrives, many in flight for imports."""

from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from types import TracebackType
from typing import Any, Self

from kafka import KafkaProducer
from kafka.errors import KafkaError, MessageSizeTooLargeError

from edge_api.shared.kafka_settings import KafkaSettings
from todos.event_log import LogUnavailable, RecordPosition, RecordRefused

# Together below 5 s: how long a send waits to learn of the topic and for the acknowledgement. A close waits twice: for
# what is unsent and for the thread.
METADATA_MS, ACK_MS, CLOSE_SECONDS = 2_000, 2_000, 0.4
# Long enough for a broker that restarts.
DELIVERY_MS, REQUEST_MS = 30_000, 10_000
# When the oldest record was given up, the others that are in flight follow it within moments.
BULK_CLOSE_SECONDS = 5.0


class KafkaSender:
    """A todos.event_log.Sender, and a context manager that frees its thread. Not fork-safe."""

    close_seconds = CLOSE_SECONDS

    def __init__(self, kafka: KafkaSettings) -> None:
        self.kafka = kafka

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if producer := self.__dict__.pop("_producer", None):
            with suppress(KafkaError, OSError, RuntimeError):
                producer.close(timeout=self.close_seconds)

    def send(
        self, topic: str, *, key: bytes, value: bytes, headers: Sequence[tuple[str, bytes | None]]
    ) -> RecordPosition:
        # kafka-python reads headers without a value and names that are not UTF-8, but sends neither.
        sendable = [(name.encode(errors="backslashreplace").decode(), content or b"") for name, content in headers]
        try:
            future = self._producer.send(topic, key=key, value=value, headers=sendable)
            where = future.get(timeout=ACK_MS / 1000)
        except MessageSizeTooLargeError as exc:
            raise RecordRefused(f"too large for Kafka: {exc}") from exc
        except KafkaError as exc:
            servers = self.kafka.bootstrap_servers
            raise LogUnavailable(f"Kafka at {servers} did not acknowledge: {exc}") from exc
        return RecordPosition(where.partition, where.offset)

    @cached_property
    def _producer(self) -> Any:
        return KafkaProducer(
            **self.kafka.client_options(),
            client_id="todo-redrive",
            acks="all",
            enable_idempotence=False,  # can wedge for good against a frozen broker; the todo's id absorbs a retry
            max_block_ms=METADATA_MS,
            request_timeout_ms=ACK_MS,
            delivery_timeout_ms=ACK_MS,
            metrics_enabled=False,
        )


class BulkAck:
    """A todos.transfer.imports.run.Ack."""

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
    """A todos.transfer.imports.run.PipelinedSender. Its caller bounds what is in flight: kafka-python does not."""

    close_seconds = BULK_CLOSE_SECONDS

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
