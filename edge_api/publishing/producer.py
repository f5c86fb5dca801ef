"""One kafka-python producer and its bridge to asyncio. The only module of the edge that imports kafka.

kafka-python keeps what it is good at: metadata, leaders, connections, TLS, SASL, retries, the delivery time-out. Only
its send() is left out: it spends 15 us on a partition, a future and locks for each record, more than the edge does on
all the rest. Finished batches go straight into its accumulator instead. What that takes of its inside stands in
`_FinishedRecords` and `Producer._enqueue`.
"""

import asyncio
import itertools
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from kafka import KafkaProducer, TopicPartition
from kafka.errors import IllegalStateError, KafkaError, MessageSizeTooLargeError, RecordListTooLargeError
from kafka.producer.producer_batch import ProducerBatch

from edge_api.publishing.record_batch import RecordBatch
from edge_api.shared.hints import with_advice
from edge_api.shared.kafka_settings import KafkaSettings

# How long Kafka's own delivery time-out lets a record live after its client has got a 503.
EXTRA_DELIVERY_SECONDS = 1.0
JOIN_SECONDS = 5.0


class Position(NamedTuple):
    """Where Kafka keeps a record."""

    partition: int
    offset: int


class Refused(Exception):
    """The records were not taken; they will not be stored."""


class TooLarge(Refused):
    """The broker takes only smaller batches."""


Outcome = Position | Exception  # the position of a batch's first record; the others follow it


class Producer:
    """Sends without ever blocking, and calls back on the event loop, once per sent batch.

    Not idempotent on purpose: an idempotent producer can wedge for good when a batch times out against a frozen
    broker. A batch that kafka-python retries may be stored twice; the todo's id makes that harmless.
    """

    def __init__(self, settings: KafkaSettings, *, ack_timeout: float, loop: asyncio.AbstractEventLoop) -> None:
        self._topic = settings.topic
        self._loop = loop
        self._turn = itertools.count()
        self._kafka = KafkaProducer(
            **settings.client_options(),
            acks="all",
            enable_idempotence=False,
            max_block_ms=0,  # without metadata partitions_for() raises at once instead of blocking the loop
            request_timeout_ms=int(ack_timeout * 1000),
            delivery_timeout_ms=int((ack_timeout + EXTRA_DELIVERY_SECONDS) * 1000),
            # With batches waiting behind its limit kafka-python's thread would spin.
            max_in_flight_requests_per_connection=1_000_000,
            metrics_enabled=False,
        )

    def send(self, records: RecordBatch, resolved: Callable[[Outcome], None]) -> None:
        """Raises Refused when nothing was sent; then `resolved` is not called."""
        try:
            partition = self._next_partition()
            batch = ProducerBatch(TopicPartition(self._topic, partition), _FinishedRecords(records))
            batch.produce_future.add_callback(self._on_done, partition, resolved)
            self._enqueue(batch)
        except KafkaError as exc:
            raise Refused(f"{type(exc).__name__}: {exc}") from exc

    def what_is_missing(self) -> str | None:
        """Why nothing can be sent now, or None. Also makes kafka-python look for what is missing."""
        try:
            self._kafka.partitions_for(self._topic)
        except KafkaError:
            if not self._kafka._metadata.brokers():
                return with_advice("Kafka is not reachable")
            return f"Kafka's topic {self._topic} does not exist or may not be used"
        return None

    def dismantle(self) -> None:
        """Drop what is still unsent and free the thread and sockets. Blocks for seconds: call it in a thread."""
        with suppress(KafkaError, OSError, RuntimeError):  # whatever a broken producer says, it is dropped
            # close() alone flushes first, which never ends against a frozen broker.
            self._kafka._sender.force_close()
            self._kafka._sender.join(JOIN_SECONDS)
            self._kafka.close(timeout=0)

    def _next_partition(self) -> int:
        """One after the other. Keys are unique, so their hash would only scatter a batch over all partitions."""
        known = self._kafka.partitions_for(self._topic)
        with_leader = self._kafka._metadata.available_partitions_for_topic(self._topic)
        partitions: list[int] = sorted(with_leader or known)
        return partitions[next(self._turn) % len(partitions)]

    def _enqueue(self, batch: ProducerBatch) -> None:
        """What KafkaProducer.send() does with a record's batch, for a batch that is complete."""
        accumulator = self._kafka._accumulator
        accumulator._appends_in_progress.increment()  # a forced close waits for this, so no batch escapes it
        try:
            with accumulator._tp_lock(batch.topic_partition):
                if accumulator._closed:
                    raise IllegalStateError("RecordAccumulator is closed")
                accumulator._batches[batch.topic_partition].append(batch)
                accumulator._incomplete.add(batch)
        finally:
            accumulator._appends_in_progress.decrement()
        self._kafka._sender.wakeup()

    def _on_done(self, partition: int, resolved: Callable[[Outcome], None], result: tuple[int, int, Any]) -> None:
        """Runs in kafka-python's thread."""
        base_offset, _timestamp, error_of_record = result
        outcome: Outcome = Position(partition, base_offset)
        if error_of_record is not None:
            outcome = error_of_record(0)
            if isinstance(outcome, MessageSizeTooLargeError | RecordListTooLargeError):
                outcome = TooLarge(str(outcome))
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(resolved, outcome)


class _FinishedRecords:
    """A finished batch in the shape of kafka-python's MemoryRecordsBuilder."""

    def __init__(self, records: RecordBatch) -> None:
        self._bytes = records.to_bytes(time.time_ns() // 1_000_000)

    def buffer(self) -> bytes:
        return self._bytes

    def size_in_bytes(self) -> int:
        return len(self._bytes)

    def next_offset(self) -> int:
        """Always 1: kafka-python splits an oversized batch only if it has more, and its halves would answer nobody."""
        return 1

    def is_full(self) -> bool:
        return True  # send it at once

    def close(self) -> None: ...
