"""One kafka-python producer and its bridge to asyncio. The only module of the edge that imports kafka."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, NamedTuple, TypeVar

from kafka import KafkaProducer
from kafka.errors import KafkaError
from kafka.producer.future import RecordMetadata

from edge_api.contract import KafkaSettings

Token = TypeVar("Token")

# How long Kafka's own delivery time-out lets a record live after its client has got a 503.
EXTRA_DELIVERY_SECONDS = 1.0
JOIN_SECONDS = 5.0


class Position(NamedTuple):
    """Where Kafka keeps a record."""

    partition: int
    offset: int


class Refused(Exception):
    """kafka-python did not take the record; it will not be stored."""


class Producer(Generic[Token]):
    """Sends without ever blocking; calls `resolved(token, outcome)` on the event loop, once per sent record.

    Not idempotent on purpose: an idempotent producer can wedge for good when a batch times out against a frozen
    broker. A batch that kafka-python retries may be stored twice; the todo's id makes that harmless.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        ack_timeout: float,
        loop: asyncio.AbstractEventLoop,
        resolved: Callable[[Token, Position | Exception], None],
    ) -> None:
        self._topic = settings.topic
        self._loop = loop
        self._resolved = resolved
        self._outcomes: deque[tuple[Token, Position | Exception]] = deque()
        self._drain_is_due = False
        self._kafka = KafkaProducer(
            **settings.client_options(),
            acks="all",
            enable_idempotence=False,
            max_block_ms=0,  # without metadata send() raises at once instead of blocking the loop
            batch_size=128 * 1024,
            linger_ms=2,
            request_timeout_ms=int(ack_timeout * 1000),
            delivery_timeout_ms=int((ack_timeout + EXTRA_DELIVERY_SECONDS) * 1000),
            metrics_enabled=False,
        )

    def send(self, token: Token, *, key: bytes, value: bytes) -> None:
        """Raises Refused when nothing was sent; then `resolved` is not called for this token."""
        try:
            future = self._kafka.send(self._topic, key=key, value=value)
        except (KafkaError, ValueError) as exc:
            raise Refused(f"{type(exc).__name__}: {exc}") from exc
        future.add_callback(self._on_ack, token)
        future.add_errback(self._on_error, token)

    def what_is_missing(self) -> str | None:
        """Why nothing can be sent now, or None. Also makes kafka-python look for what is missing."""
        try:
            self._kafka.partitions_for(self._topic)
        except KafkaError:
            if not self._kafka._metadata.brokers():
                return "Kafka is not reachable"
            return f"Kafka's topic {self._topic} does not exist or may not be used"
        return None

    def dismantle(self) -> None:
        """Drop what is still unsent and free the thread and sockets. Blocks for seconds: call it in a thread."""
        with suppress(KafkaError, OSError, RuntimeError):  # whatever a broken producer says, it is dropped
            # close() alone flushes first, which never ends against a frozen broker.
            self._kafka._sender.force_close()
            self._kafka._sender.join(JOIN_SECONDS)
            self._kafka.close(timeout=0)

    def _on_ack(self, token: Token, metadata: RecordMetadata) -> None:
        self._hand_over(token, Position(metadata.partition, metadata.offset))

    def _on_error(self, token: Token, exc: Exception) -> None:
        self._hand_over(token, exc)

    def _hand_over(self, token: Token, outcome: Position | Exception) -> None:
        """Runs in kafka-python's thread. One wake-up of the loop serves every record of a batch."""
        self._outcomes.append((token, outcome))
        if not self._drain_is_due:
            self._drain_is_due = True
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        self._drain_is_due = False  # before the first pop, so that a later append wakes the loop again
        while self._outcomes:
            self._resolved(*self._outcomes.popleft())
