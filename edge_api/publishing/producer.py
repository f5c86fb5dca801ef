"""One kafka-python producer and its bridge to asyncio; BatchProducer of batch_producer.py, unless its check fails."""

import asyncio
import itertools
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple

from kafka import KafkaProducer
from kafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError
from kafka.partitioner import Partitioner

from edge_api.shared.hints import with_advice
from edge_api.shared.kafka_settings import KafkaSettings

log = logging.getLogger(__name__)

# How long Kafka's own delivery time-out lets a record live after its client has got a 503.
EXTRA_DELIVERY_SECONDS = 1.0
# close() first waits for what is unsent, which lives that long.
CLOSE_SECONDS = EXTRA_DELIVERY_SECONDS + 1

Headers = list[tuple[str, bytes]]
OutgoingRecord = tuple[bytes, bytes, Headers]  # key, value, headers


class Position(NamedTuple):
    """Where Kafka keeps a record."""

    partition: int
    offset: int


class SendRefused(Exception):
    """The records were not taken; they will not be stored."""


class BatchTooLarge(SendRefused):
    """The broker takes only smaller batches."""


SendOutcome = Position | Exception  # the position of a batch's first record; the others follow it


def create_producer(settings: KafkaSettings, *, ack_timeout: float, loop: asyncio.AbstractEventLoop) -> "Producer":
    """Create a producer, which connects in the background. `ack_timeout` is in seconds.

    It is not idempotent on purpose: an idempotent producer can wedge for good when a batch times out against a frozen
    broker. A batch that kafka-python retries may be stored twice; the todo's id makes that harmless.
    """
    partitioner = TakeTurns()
    kafka = KafkaProducer(
        **settings.client_options(),
        acks="all",
        enable_idempotence=False,
        partitioner=partitioner,
        max_block_ms=0,  # without metadata partitions_for() raises at once instead of blocking the loop
        request_timeout_ms=int(ack_timeout * 1000),
        delivery_timeout_ms=int((ack_timeout + EXTRA_DELIVERY_SECONDS) * 1000),
        # With batches waiting behind its limit kafka-python's thread would spin.
        max_in_flight_requests_per_connection=1_000_000,
        metrics_enabled=False,
    )
    return _producer_class(kafka)(kafka, partitioner, settings.topic, loop)


def _producer_class(kafka: KafkaProducer) -> type["Producer"]:
    """Return BatchProducer; or Producer, after one warning, if kafka-python's private parts have changed."""
    try:
        from edge_api.publishing import self_check
        from edge_api.publishing.batch_producer import BatchProducer

        self_check.check(kafka)
    except Exception as exc:  # noqa: BLE001 - a name that moved, or another outcome: both mean that it has changed
        _warn(f"{type(exc).__name__}: {exc}")
        return Producer
    return BatchProducer


@cache
def _warn(reason: str) -> None:
    log.warning(
        "kafka-python or aiokafka is not the version that this leans on: %s. Sending by KafkaProducer.send(): slower,"
        " still exact.",
        reason,
    )


class TakeTurns(Partitioner):  # type: ignore[misc]  # kafka-python has no types
    """One partition after the other. Keys are unique, so their hash would only scatter a batch over all partitions."""

    def __init__(self) -> None:
        self._turn = itertools.count()

    def partition(
        self, topic: str, key: Any, serialized_key: Any, value: Any, serialized_value: Any, cluster: Any
    ) -> int:
        """Return the next partition that has a leader, or where none has, the next one at all."""
        with_leader = cluster.available_partitions_for_topic(topic)
        partitions: list[int] = sorted(with_leader or cluster.partitions_for_topic(topic))
        return partitions[next(self._turn) % len(partitions)]


class Producer:
    """Sends without ever blocking, by kafka-python's public API: one record per call, which costs 15 us.

    BatchProducer is faster, but uses private parts of kafka-python. This is the fallback for when those have changed.
    """

    max_batch_bytes = 0  # each record is a batch of its own

    def __init__(
        self, kafka: KafkaProducer, partitioner: TakeTurns, topic: str, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._kafka, self._partitioner, self._topic, self._loop = kafka, partitioner, topic, loop

    def send(self, records: Sequence[OutgoingRecord], resolved: Callable[[SendOutcome], None]) -> None:
        """Send a batch, and call `resolved` on the event loop, once.

        Raises SendRefused when nothing was sent. After any other exception the records may be stored or not. In both
        cases `resolved` is not called.
        """
        ((key, value, headers),) = records
        try:
            future = self._kafka.send(self._topic, key=key, value=value, headers=headers)
        except KafkaError as exc:
            raise _refusal(exc) from exc
        future.add_callback(lambda sent: self._resolve(resolved, Position(sent.partition, sent.offset)))
        future.add_errback(lambda exc: self._resolve(resolved, exc))

    def unavailable_reason(self) -> str | None:
        """Say why nothing can be sent now, or None. Also makes kafka-python look for what is missing."""
        try:
            self._kafka.partitions_for(self._topic)
        except KafkaError:
            return self._why_unknown()
        return None

    def abort(self) -> None:
        """Drop what is still unsent and free the thread and sockets. Blocks for seconds: call it in a thread."""
        try:
            self._kafka.close(timeout=CLOSE_SECONDS)
        except Exception:
            log.exception("kafka-python cannot close its producer, and may leave a thread behind")

    def _why_unknown(self) -> str:
        return with_advice(f"Kafka is not reachable, or its topic {self._topic} does not exist or may not be used")

    def _resolve(self, resolved: Callable[[SendOutcome], None], outcome: SendOutcome) -> None:
        """Runs in kafka-python's thread."""
        if isinstance(outcome, MessageSizeTooLargeError | RecordListTooLargeError):
            outcome = BatchTooLarge(str(outcome))
        with suppress(RuntimeError):  # the loop is closed: no request waits any more
            self._loop.call_soon_threadsafe(resolved, outcome)


def _refusal(exc: KafkaError) -> SendRefused:
    kind = BatchTooLarge if isinstance(exc, MessageSizeTooLargeError) else SendRefused
    return kind(f"{type(exc).__name__}: {exc}")
