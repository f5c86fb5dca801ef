"""What waits for Kafka: bounded in records and bytes, and answered within the ack time-out."""

import asyncio
import logging

from edge_api.observability.metrics import Metrics
from edge_api.publishing.producer import Outcome, Position, Producer, Refused
from edge_api.publishing.record_batch import RecordBatch
from edge_api.settings import EdgeSettings

# One line per batch would flood the log in an outage: edge_api.observability.logging thins out this logger.
log = logging.getLogger(__name__)

Answer = asyncio.Future[Position]


class Unavailable(Exception):
    """The record was not confirmed; the message is for the client and says whether it may be stored."""


class Batch:
    """Records that are sent together, and who waits for them: each answer, with the index of its first record."""

    __slots__ = ("answers", "count", "deadline", "opened_at", "producer", "records", "size")

    def __init__(self, opened_at: float, deadline: float) -> None:
        self.opened_at, self.deadline = opened_at, deadline
        self.producer: Producer | None = None  # while it is open
        self.records = RecordBatch()
        self.answers: list[tuple[Answer, int]] = []
        self.count = self.size = 0

    def add(self, key: bytes, value: bytes, headers: bytes, size: int) -> None:
        self.records.append(key, value, headers)
        self.count += 1
        self.size += size

    def succeed(self, first: Position) -> None:
        partition, offset = first
        for answer, index in self.answers:
            if not answer.done():
                answer.set_result(Position(partition, offset + index))

    def fail(self, message: str) -> None:
        for answer, _ in self.answers:
            if not answer.done():
                answer.set_exception(Unavailable(message))


class InFlight:
    """Every batch until Kafka has acknowledged it or given it up, which may be later than its clients' answers."""

    def __init__(self, settings: EdgeSettings, metrics: Metrics) -> None:
        self._metrics = metrics
        self._ack_timeout = settings.ack_timeout_seconds
        self._max_records, self._max_bytes = settings.max_in_flight_records, settings.max_in_flight_bytes
        self.records = self.bytes = 0
        self.unanswered: dict[Batch, None] = {}  # ordered by deadline
        self.given_up: dict[Batch, None] = {}  # answered with 503, still held by kafka-python
        self.last_ack = 0.0

    def reserve(self, count: int, size: int) -> None:
        """Room for `count` records; `free`, or the end of their batches, gives it back."""
        if self.records + count > self._max_records or self.bytes + size > self._max_bytes:
            raise Unavailable("Not stored: too many todos are waiting for Kafka.")
        self.records += count
        self.bytes += size

    def free(self, count: int, size: int) -> None:
        self.records -= count
        self.bytes -= size

    def open(self, now: float) -> Batch:
        batch = Batch(now, now + self._ack_timeout)
        self.unanswered[batch] = None
        return batch

    def expire(self, now: float) -> list[Batch]:
        """Answers what has waited for the ack time-out."""
        expired = []
        while self.unanswered and (batch := next(iter(self.unanswered))).deadline <= now:
            del self.unanswered[batch]
            self.given_up[batch] = None
            batch.fail(f"Not confirmed within {self._ack_timeout:g} s: the todo may or may not be stored.")
            expired.append(batch)
        return expired

    def resolve(self, batch: Batch, outcome: Outcome, now: float) -> None:
        """Kafka has decided, or its producer was given up; only the first of these counts."""
        for batches in (self.unanswered, self.given_up):
            if batch in batches:
                del batches[batch]
                self.free(batch.count, batch.size)
        if isinstance(outcome, Position):
            self.last_ack = now
            self._metrics.acknowledged(now - batch.opened_at, batch.count)
            batch.succeed(outcome)
            return
        log.warning("Kafka did not store a batch: %s: %s", type(outcome).__name__, outcome)
        if isinstance(outcome, Refused):
            batch.fail("Not stored: Kafka refused the record.")
        else:
            batch.fail("Not confirmed: the todo may or may not be stored.")
