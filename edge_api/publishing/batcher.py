"""Gathers records into batches and sends them: at once while nothing is under way, else when there is a reason to."""

import asyncio
import functools
from collections.abc import Sequence

from edge_api.observability.metrics import Metrics, Now
from edge_api.publishing.in_flight import Answer, Batch, InFlight, Unavailable
from edge_api.publishing.producer import Outcome, Position, Refused, TooLarge
from edge_api.publishing.record_batch import NO_HEADERS
from edge_api.publishing.supervisor import Watchdog
from edge_api.settings import Settings

# Far below what a broker takes by default (message.max.bytes, 1 MiB). Only a single record may make a larger batch.
RECORD_BATCH_BYTES = 256 * 1024
# How long a batch waits for more records, at most, while others are under way.
LINGER_SECONDS = 0.005
STOP_POLL_SECONDS = 0.05

Record = tuple[bytes, bytes, bytes]  # key, value and encoded headers


class Publisher:
    """`problem` says why records are refused at the moment, or is None."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.in_flight = InFlight(settings.edge, metrics)
        self.watchdog = Watchdog(settings, self.in_flight, self._resolved, metrics)
        metrics.now = self._now
        self._batch_bytes = RECORD_BATCH_BYTES
        self._open: Batch | None = None

    @property
    def problem(self) -> str | None:
        return self.watchdog.problem

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self.watchdog.start()

    async def stop(self) -> None:
        """Waits for the answers of what was accepted: at most the ack time-out, because then they expire."""
        self.watchdog.stopping = True
        while self.in_flight.unanswered:
            await asyncio.sleep(STOP_POLL_SECONDS)
        await self.watchdog.stop()

    async def publish(self, key: bytes, value: bytes, headers: bytes = NO_HEADERS) -> Position:
        """Returns once every in-sync replica has the record. Raises Unavailable within the ack time-out."""
        size = len(key) + len(value) + len(headers)
        self.in_flight.reserve(1, size)
        if self.watchdog.problem is not None:
            await self._wait_for_start(1, size)
        batch = self._batch_for(size)
        answer = self._answer_of(batch)
        batch.add(key, value, headers, size)
        return await answer

    async def publish_all(self, records: Sequence[Record]) -> list[Position | Unavailable]:
        """As `publish`, with an outcome for each record in its place. Raises Unavailable when none of them was sent."""
        sizes = [len(key) + len(value) + len(headers) for key, value, headers in records]
        self.in_flight.reserve(len(records), sum(sizes))
        if self.watchdog.problem is not None:
            await self._wait_for_start(len(records), sum(sizes))
        answers: list[Answer] = []
        counts: list[int] = []  # records of each answer: one after the other in one batch
        batch = None
        for (key, value, headers), size in zip(records, sizes, strict=True):
            if (found := self._batch_for(size)) is not batch:
                batch = found
                answers.append(self._answer_of(batch))
                counts.append(0)
            batch.add(key, value, headers, size)
            counts[-1] += 1
        outcomes = await asyncio.gather(*answers, return_exceptions=True)
        return [each for outcome, count in zip(outcomes, counts, strict=True) for each in _of_each(outcome, count)]

    def _now(self) -> Now:
        return Now(self.problem is None, self.in_flight.records, self.in_flight.bytes)

    async def _wait_for_start(self, count: int, size: int) -> None:
        try:
            await self.watchdog.wait_for_start()
        except BaseException:
            self.in_flight.free(count, size)
            raise

    def _batch_for(self, size: int) -> Batch:
        """The open batch, or a new one if the record does not fit in."""
        if self._open is not None:
            if self._open.size + size <= self._batch_bytes:
                return self._open
            self._send(self._open)
        is_idle = not self.in_flight.unanswered
        batch = self._open = self.in_flight.open(self._loop.time())
        if is_idle:
            self._loop.call_soon(self._send, batch)  # with what else this turn of the loop brings
        else:
            self._loop.call_later(LINGER_SECONDS, self._send, batch)
        return batch

    def _answer_of(self, batch: Batch) -> Answer:
        answer: Answer = self._loop.create_future()
        batch.answers.append((answer, batch.count))
        return answer

    def _send(self, batch: Batch) -> None:
        if batch is not self._open:
            return  # it is sent already
        self._open = None
        batch.producer = self.watchdog.producer
        try:
            batch.producer.send(batch.records, functools.partial(self._resolved, batch))
        except Refused as exc:
            self._resolved(batch, exc)
        del batch.records  # kafka-python has the bytes

    def _resolved(self, batch: Batch, outcome: Outcome) -> None:
        if isinstance(outcome, TooLarge) and batch.count > 1:  # for this topic; the next ones will fit
            self._batch_bytes = min(self._batch_bytes, batch.size // 2)
        self.in_flight.resolve(batch, outcome, self._loop.time())
        if self._open is not None:
            self._send(self._open)


def _of_each(outcome: Position | BaseException, count: int) -> list[Position | Unavailable]:
    if isinstance(outcome, Position):
        return [Position(outcome.partition, outcome.offset + index) for index in range(count)]
    if isinstance(outcome, Unavailable):
        return [outcome] * count
    raise outcome
