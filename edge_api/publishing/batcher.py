"""Gathers records into batches and sends them: at once while nothing is under way, else when there is a reason to."""

import asyncio
import time
from collections.abc import Sequence

from edge_api.observability.metrics import Metrics, Now
from edge_api.publishing.in_flight import AckFuture, InFlight, PendingBatch, Unavailable
from edge_api.publishing.producer import BatchTooLarge, Headers, OutgoingRecord, Position, SendOutcome
from edge_api.publishing.supervisor import ProducerSupervisor
from edge_api.settings import Settings

# How long a batch waits for more records, at most, while others are under way.
LINGER_SECONDS = 0.005
STOP_POLL_SECONDS = 0.05


class Publisher:
    """Adds records to the open batch, sends batches, and returns each record's position in Kafka."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.in_flight = InFlight(settings.edge, metrics)
        self.supervisor = ProducerSupervisor(settings, self.in_flight, metrics)
        metrics.now = self._now
        self._batch_bytes = 0
        self._open: PendingBatch | None = None

    @property
    def unavailable_reason(self) -> str | None:
        """Why records are refused at the moment, or None."""
        return self.supervisor.unavailable_reason

    async def start(self) -> None:
        await self.supervisor.start()
        self._batch_bytes = self.supervisor.producer.max_batch_bytes

    async def stop(self) -> None:
        """Wait for the outcome of what was accepted, at most the ack time-out, and close the producer."""
        self.supervisor.drain()
        while self.in_flight.awaiting_ack:
            await asyncio.sleep(STOP_POLL_SECONDS)
        await self.supervisor.stop()

    async def publish(self, key: bytes, value: bytes, headers: Headers) -> Position:
        """Return once every in-sync replica has the record. Raises Unavailable within the ack time-out."""
        size = _size_of(key, value, headers)
        self.in_flight.reserve(1, size)
        if self.supervisor.unavailable_reason is not None:
            await self._wait_for_start(1, size)
        batch = self._batch_for(size)
        future = batch.new_ack_future()
        batch.add((key, value, headers), size)
        return await future

    async def publish_all(self, records: Sequence[OutgoingRecord]) -> list[Position | Unavailable]:
        """As `publish`, with an outcome for each record in its place. Raises Unavailable when none of them was sent."""
        sizes = [_size_of(*record) for record in records]
        self.in_flight.reserve(len(records), sum(sizes))
        if self.supervisor.unavailable_reason is not None:
            await self._wait_for_start(len(records), sum(sizes))
        futures: list[AckFuture] = []
        counts: list[int] = []  # records of each future: one after the other in one batch
        batch = None
        for record, size in zip(records, sizes, strict=True):
            if (batch_for_this := self._batch_for(size)) is not batch:
                batch = batch_for_this
                futures.append(batch.new_ack_future())
                counts.append(0)
            batch.add(record, size)
            counts[-1] += 1
        outcomes = await asyncio.gather(*futures, return_exceptions=True)
        return [each for outcome, count in zip(outcomes, counts, strict=True) for each in _of_each(outcome, count)]

    def _now(self) -> Now:
        return Now(self.unavailable_reason is None, self.in_flight.records, self.in_flight.bytes)

    async def _wait_for_start(self, count: int, size: int) -> None:
        try:
            await self.supervisor.wait_for_start()
        except BaseException:
            self.in_flight.release(count, size)
            raise

    def _batch_for(self, size: int) -> PendingBatch:
        """Return the open batch, or a new one if the record does not fit in."""
        if self._open is not None:
            if self._open.size + size <= self._batch_bytes:
                return self._open
            self._send(self._open)
        is_idle = not self.in_flight.awaiting_ack
        batch = self._open = self.in_flight.open(time.monotonic())
        if is_idle:
            asyncio.get_running_loop().call_soon(self._send, batch)  # with the other records of this loop turn
        else:
            asyncio.get_running_loop().call_later(LINGER_SECONDS, self._send, batch)
        return batch

    def _send(self, batch: PendingBatch) -> None:
        if batch is self._open:  # else it is sent already
            self._open = None
            self.in_flight.send(batch, self.supervisor.producer, self._resolved)

    def _resolved(self, batch: PendingBatch, outcome: SendOutcome) -> None:
        if isinstance(outcome, BatchTooLarge) and batch.count > 1:  # for this topic; the next ones will fit
            self._batch_bytes = min(self._batch_bytes, batch.size // 2)
        self.in_flight.resolve(batch, outcome, time.monotonic())
        if self._open is not None:
            self._send(self._open)


def _size_of(key: bytes, value: bytes, headers: Headers) -> int:
    size = len(key) + len(value)
    for name, content in headers:
        size += len(name) + len(content)
    return size


def _of_each(outcome: Position | BaseException, count: int) -> list[Position | Unavailable]:
    if isinstance(outcome, Position):
        return [Position(outcome.partition, outcome.offset + index) for index in range(count)]
    if isinstance(outcome, Unavailable):
        return [outcome] * count
    raise outcome
