"""Publishes todos to Kafka with bounds: on memory, on waiting time, and on how long a producer may be stuck."""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass

from edge_api.contract import KafkaSettings
from edge_api.producer import Position, Producer, Refused
from edge_api.settings import Settings

log = logging.getLogger(__name__)
# One line per record would flood the log in an outage: edge_api.logs thins out this logger.
record_log = logging.getLogger(f"{__name__}.records")

TICK_SECONDS = 0.05
# Longer than kafka-python's longest reconnect back-off, so a rebuild never disturbs a recovery under way.
REBUILD_UNREADY_AFTER_SECONDS = 15.0
# Kafka's delivery time-out frees a record about a second after its client's 503; longer means that it is stuck.
STUCK_AFTER_SECONDS = 5.0


class Unavailable(Exception):
    """The record was not confirmed; the message is for the client and says whether it may be stored."""


@dataclass(slots=True, eq=False)
class _Record:
    producer: "Producer[_Record]"
    answer: asyncio.Future[Position]
    size: int
    sent_at: float
    deadline: float


class Publisher:
    """`problem` says why records are refused at the moment, or is None."""

    def __init__(self, settings: Settings) -> None:
        self._kafka: KafkaSettings = settings.kafka
        self._ack_timeout = settings.edge.ack_timeout_seconds
        self._max_records = settings.edge.max_in_flight_records
        self._max_bytes = settings.edge.max_in_flight_bytes
        self.problem: str | None = "not started"
        self._unanswered: dict[_Record, None] = {}  # ordered by deadline
        self._given_up: dict[_Record, None] = {}  # answered with 503, still held by kafka-python
        self._bytes = 0
        self._is_stuck = False
        self._stopping = False
        self._ready = asyncio.Event()
        self._rebuilding: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._last_ack = self._unready_since = self._loop.time()
        self._patience_ends = self._loop.time() + self._ack_timeout
        self._producer = await self._new_producer()
        self.problem = "Kafka is not reachable"
        self._supervisor = asyncio.create_task(self._supervise())

    async def stop(self) -> None:
        """Waits for the answers of what was accepted: at most the ack time-out, because then they expire."""
        self._stopping = True
        while self._unanswered:
            await asyncio.sleep(TICK_SECONDS)
        self._supervisor.cancel()
        with suppress(asyncio.CancelledError):
            await self._supervisor
        if self._rebuilding is not None:
            await self._rebuilding
        await asyncio.to_thread(self._producer.dismantle)

    async def publish(self, key: bytes, value: bytes) -> Position:
        """Returns once every in-sync replica has the record. Raises Unavailable within the ack time-out."""
        now = self._loop.time()
        record = _Record(
            self._producer, self._loop.create_future(), len(key) + len(value), now, now + self._ack_timeout
        )
        self._reserve(record)
        try:
            if self.problem is not None:
                await self._wait_for_start(record)
            record.producer.send(record, key=key, value=value)
        except Refused as exc:
            self._release(record)
            record_log.warning("Kafka refused a record: %s", exc)
            raise Unavailable("Not stored: Kafka refused the record.") from exc
        except BaseException:
            self._release(record)
            raise
        return await record.answer

    def _reserve(self, record: _Record) -> None:
        count = len(self._unanswered) + len(self._given_up)
        if count >= self._max_records or self._bytes + record.size > self._max_bytes:
            raise Unavailable("Not stored: too many todos are waiting for Kafka.")
        self._unanswered[record] = None
        self._bytes += record.size

    def _release(self, record: _Record) -> None:
        for records in (self._unanswered, self._given_up):
            if record in records:
                del records[record]
                self._bytes -= record.size

    async def _wait_for_start(self, record: _Record) -> None:
        """At a cold start the first requests wait for Kafka's metadata; later a missing Kafka is told at once."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(min(record.deadline, self._patience_ends)):
                await self._ready.wait()
        if self.problem is not None:
            raise Unavailable(f"Not stored: {self.problem}.")
        record.producer = self._producer

    def _resolved(self, record: _Record, outcome: Position | Exception) -> None:
        self._release(record)
        if isinstance(outcome, Position):
            self._last_ack = self._loop.time()
            if not record.answer.done():
                record.answer.set_result(outcome)
        elif not record.answer.done():
            record_log.warning("Kafka did not store a record: %s: %s", type(outcome).__name__, outcome)
            record.answer.set_exception(Unavailable("Not confirmed: the todo may or may not be stored."))

    async def _supervise(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                self._tick(self._loop.time())
            except Exception:  # the watchdog has to outlive whatever kafka-python raises
                log.exception("The watchdog failed")

    def _tick(self, now: float) -> None:
        self._expire(now)
        self._observe(now)
        if self._must_rebuild(now):
            self._unready_since = now
            self._rebuilding = asyncio.create_task(self._rebuild())

    def _expire(self, now: float) -> None:
        while self._unanswered and (record := next(iter(self._unanswered))).deadline <= now:
            del self._unanswered[record]
            self._given_up[record] = None
            # Nothing at all was acknowledged since this record was sent: the producer or the broker is stuck.
            self._is_stuck |= record.producer is self._producer and self._last_ack < record.sent_at
            if not record.answer.done():
                text = f"Not confirmed within {self._ack_timeout:g} s: the todo may or may not be stored."
                record.answer.set_exception(Unavailable(text))

    def _observe(self, now: float) -> None:
        problem = "the edge is shutting down" if self._stopping else self._producer.what_is_missing()
        if self._is_stuck:
            problem = "Kafka does not answer"
        if problem != self.problem:
            log.warning("Not ready: %s" if problem else "Ready after: %s", problem or self.problem)
        if problem and not self.problem:
            self._unready_since = now
        self.problem = problem
        if problem is None:
            self._patience_ends = now
            self._ready.set()

    def _must_rebuild(self, now: float) -> bool:
        if self._stopping or (self._rebuilding is not None and not self._rebuilding.done()):
            return False
        unready = self.problem is not None and now - self._unready_since > REBUILD_UNREADY_AFTER_SECONDS
        oldest = next(iter(self._given_up), None)
        return self._is_stuck or unready or (oldest is not None and now - oldest.deadline > STUCK_AFTER_SECONDS)

    async def _rebuild(self) -> None:
        old = self._producer
        try:
            self._producer = await self._new_producer()
        except Exception:  # no thread or no file descriptor to be had, say: a later tick tries again
            log.exception("Cannot build a new Kafka producer")
            return
        self._is_stuck = False
        self.problem = "Kafka is not reachable"
        log.warning("Replaced the Kafka producer")
        await asyncio.to_thread(old.dismantle)
        for record in [*self._unanswered, *self._given_up]:
            if record.producer is old:
                self._resolved(record, RuntimeError("the producer was replaced"))

    async def _new_producer(self) -> "Producer[_Record]":
        return await asyncio.to_thread(
            Producer, self._kafka, ack_timeout=self._ack_timeout, loop=self._loop, resolved=self._resolved
        )
