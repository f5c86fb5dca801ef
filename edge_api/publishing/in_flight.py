"""Owns what waits for Kafka: bounded in records and bytes, and answered within the ack time-out."""

import asyncio
import functools
import logging
from collections.abc import Callable, Sequence

from edge_api.observability.metrics import Metrics
from edge_api.publishing.producer import OutgoingRecord, Position, Producer, SendOutcome, SendRefused
from edge_api.settings import EdgeSettings

# One line per batch would flood the log in an outage: edge_api.observability.logging thins out this logger.
log = logging.getLogger(__name__)

AckFuture = asyncio.Future[Position]


class Unavailable(Exception):
    """The record was not confirmed; the message is for the client and says whether it may be stored."""


class PendingBatch:
    """Records that are sent together, and the futures of the requests that wait for them."""

    __slots__ = ("_ack_futures", "count", "deadline", "opened_at", "producer", "records", "size")

    def __init__(self, opened_at: float, deadline: float) -> None:
        self.opened_at, self.deadline = opened_at, deadline
        self.producer: Producer | None = None  # while it is open
        self.records: list[OutgoingRecord] = []
        self.count = self.size = 0
        self._ack_futures: list[tuple[AckFuture, int]] = []  # each with the index of its first record

    def add(self, record: OutgoingRecord, size: int) -> None:
        self.records.append(record)
        self.count += 1
        self.size += size

    def extend(self, records: Sequence[OutgoingRecord], size: int) -> None:
        """Add records of `size` bytes in all."""
        self.records += records
        self.count += len(records)
        self.size += size

    def new_ack_future(self) -> AckFuture:
        """Return a future of the position of the record that is added next."""
        future: AckFuture = asyncio.get_running_loop().create_future()
        self._ack_futures.append((future, self.count))
        return future

    def succeed(self, first: Position) -> int:
        """Answer the requests, and return how many of the records belong to requests that have an answer already."""
        partition, offset = first
        late, end = 0, self.count
        for future, index in reversed(self._ack_futures):
            if future.done():
                late += end - index
            else:
                future.set_result(Position(partition, offset + index))
            end = index
        return late

    def fail(self, message: str) -> None:
        for future, _ in self._ack_futures:
            if not future.done():
                future.set_exception(Unavailable(message))


class InFlight:
    """Every batch until Kafka has acknowledged or refused it, which may be later than its clients' answers."""

    def __init__(self, settings: EdgeSettings, metrics: Metrics) -> None:
        self._metrics = metrics
        self._ack_timeout = settings.ack_timeout_seconds
        self._max_records, self._max_bytes = settings.max_in_flight_records, settings.max_in_flight_bytes
        self.records = self.bytes = 0
        self.awaiting_ack: dict[PendingBatch, None] = {}  # ordered by deadline
        self.timed_out: dict[PendingBatch, None] = {}  # answered with 503, still held by kafka-python
        self.last_ack = 0.0

    def reserve(self, count: int, size: int) -> None:
        """Take room for `count` records; `release`, or the end of their batches, gives it back. Raises Unavailable."""
        if self.records + count > self._max_records or self.bytes + size > self._max_bytes:
            raise Unavailable("Not stored: too many todos are waiting for Kafka.")
        self.records += count
        self.bytes += size

    def release(self, count: int, size: int) -> None:
        self.records -= count
        self.bytes -= size

    def open(self, now: float) -> PendingBatch:
        batch = PendingBatch(now, now + self._ack_timeout)
        self.awaiting_ack[batch] = None
        return batch

    def send(
        self, batch: PendingBatch, producer: Producer, resolved: Callable[[PendingBatch, SendOutcome], None]
    ) -> None:
        """Hand a batch to a producer. An exception is an outcome too: `resolved` gets it."""
        records, batch.records, batch.producer = batch.records, [], producer
        try:
            producer.send(records, functools.partial(resolved, batch))
        except SendRefused as exc:
            resolved(batch, exc)
        except Exception as exc:
            log.exception("The Kafka producer failed")
            resolved(batch, exc)

    def expire(self, now: float) -> list[PendingBatch]:
        """Answer the requests that have waited for the ack time-out, and return their batches."""
        expired = []
        while self.awaiting_ack and (batch := next(iter(self.awaiting_ack))).deadline <= now:
            del self.awaiting_ack[batch]
            self.timed_out[batch] = None
            batch.fail(f"Not confirmed within {self._ack_timeout:g} s: the todo may or may not be stored.")
            expired.append(batch)
        return expired

    def resolve(self, batch: PendingBatch, outcome: SendOutcome, now: float) -> None:
        """Free the room of a batch and answer its requests. Only the first outcome of a batch counts."""
        for batches in (self.awaiting_ack, self.timed_out):
            if batch in batches:
                del batches[batch]
                self.release(batch.count, batch.size)
                break
        else:
            return
        if isinstance(outcome, Position):
            self.last_ack = now
            self._metrics.acknowledged(now - batch.opened_at, batch.count)
            self._metrics.late += batch.succeed(outcome)
            return
        log.warning("Kafka did not store a batch: %s: %s", type(outcome).__name__, outcome)
        if isinstance(outcome, SendRefused):
            batch.fail("Not stored: Kafka refused the record.")
        else:
            batch.fail("Not confirmed: the todo may or may not be stored.")

    def abandon(self, producer: Producer, now: float) -> None:
        """Resolve the batches that a replaced producer still holds."""
        for batch in [*self.awaiting_ack, *self.timed_out]:
            if batch.producer is producer:
                self.resolve(batch, RuntimeError("the producer was replaced"), now)
