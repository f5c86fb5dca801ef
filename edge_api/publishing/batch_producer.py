"""Sends whole record batches, around kafka-python's send().

That spends 15 us on a partition, a future and locks for each record, more than the edge does on all the rest.
kafka-python keeps metadata, leaders, connections, TLS, SASL, retries and the delivery time-out; finished batches go
straight into its accumulator. This module uses its private parts, which edge_api.publishing.self_check tries out.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from kafka import TopicPartition
from kafka.errors import IllegalStateError, KafkaError
from kafka.producer.producer_batch import ProducerBatch
from kafka.producer.record_accumulator import RecordAccumulator

from edge_api.publishing.producer import OutgoingRecord, Position, Producer, SendOutcome, SendRefused, log
from edge_api.publishing.record_batch import encode
from edge_api.shared.hints import with_advice

JOIN_SECONDS = 5.0


class BatchProducer(Producer):
    """Hands whole batches to kafka-python's accumulator; their records share one future."""

    # Far below what a broker takes by default (message.max.bytes, 1 MiB). Only a single record may make a larger batch.
    max_batch_bytes = 256 * 1024

    def send(self, records: Sequence[OutgoingRecord], resolved: Callable[[SendOutcome], None]) -> None:
        try:
            self._kafka.partitions_for(self._topic)  # raises where there is no metadata
            where = TopicPartition(
                self._topic, self._partitioner.partition(self._topic, None, None, None, None, self._kafka._metadata)
            )
            batch = finished_batch(where, records, lambda outcome: self._resolve(resolved, outcome))
            enqueue(self._kafka._accumulator, batch)
        except KafkaError as exc:
            raise SendRefused(f"{type(exc).__name__}: {exc}") from exc
        self._kafka._sender.wakeup()

    def abort(self) -> None:
        try:
            # close() alone flushes first, which never ends against a frozen broker.
            self._kafka._sender.force_close()
            self._kafka._sender.join(JOIN_SECONDS)
            self._kafka.close(timeout=0)
        except Exception as exc:  # noqa: BLE001 - a broken producer may raise anything, and is dropped
            log.warning("Closing kafka-python's producer by its public API, after %s: %s", type(exc).__name__, exc)
            super().abort()

    def _why_unknown(self) -> str:
        if not self._kafka._metadata.brokers():
            return with_advice("Kafka is not reachable")
        return f"Kafka's topic {self._topic} does not exist or may not be used"


def finished_batch(
    where: TopicPartition, records: Sequence[OutgoingRecord], resolved: Callable[[SendOutcome], None]
) -> ProducerBatch:
    """Return a batch as kafka-python's accumulator holds them. `resolved` will be called in kafka-python's thread."""

    def on_done(result: tuple[int, int, Any]) -> None:
        base_offset, _timestamp, error_of_record = result
        resolved(Position(where.partition, base_offset) if error_of_record is None else error_of_record(0))

    batch = ProducerBatch(where, _FinishedRecords(encode(records, time.time_ns() // 1_000_000)))
    batch.produce_future.add_callback(on_done)
    return batch


def enqueue(accumulator: RecordAccumulator, batch: ProducerBatch) -> None:
    """Do what KafkaProducer.send() does with a record's batch, for a batch that is complete.

    Raises IllegalStateError when the producer is closed.
    """
    accumulator._appends_in_progress.increment()  # a forced close waits for this, so no batch escapes it
    try:
        with accumulator._tp_lock(batch.topic_partition):
            if accumulator._closed:
                raise IllegalStateError("RecordAccumulator is closed")
            accumulator._batches[batch.topic_partition].append(batch)
            accumulator._incomplete.add(batch)
    finally:
        accumulator._appends_in_progress.decrement()


class _FinishedRecords:
    """A finished batch in the shape of kafka-python's MemoryRecordsBuilder."""

    def __init__(self, encoded: bytearray) -> None:
        self._encoded = encoded

    def buffer(self) -> bytearray:
        return self._encoded

    def size_in_bytes(self) -> int:
        return len(self._encoded)

    def next_offset(self) -> int:
        """Return 1, or kafka-python would split an oversized batch into halves that resolve no request."""
        return 1

    def is_full(self) -> bool:
        return True  # send it at once

    def close(self) -> None: ...
