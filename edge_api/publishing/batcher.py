"""Gathers records into batches and sends them: at once while nothing is under way, else when there is a reason to."""

import asyncio
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import accumulate

from edge_api.observability.metrics import Metrics, Now
from edge_api.publishing.in_flight import AckFuture, InFlight, PendingBatch, Unavailable
from edge_api.publishing.producer import (
    BatchTooLarge,
    Headers,
    OutgoingRecord,
    Position,
    Producer,
    SendOutcome,
    create_producer,
)
from edge_api.publishing.supervisor import ProducerSupervisor
from edge_api.settings import Settings

# How long a batch waits for more records, at most, while others are under way.
LINGER_SECONDS = 0.005
STOP_POLL_SECONDS = 0.05


class Publisher:
    """Adds records to the open batch, sends batches, and returns each record's position in Kafka."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        *,
        create: Callable[..., Producer] = create_producer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics, self._clock = metrics, clock
        self.in_flight = InFlight(settings.edge, metrics)
        self.supervisor = ProducerSupervisor(settings, self.in_flight, metrics, create=create, clock=clock)
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

    async def publish(self, key: bytes, value: bytes, headers: Headers, deadline: float) -> Position:
        """Return once every in-sync replica has the record, and count the outcome.

        Raises Unavailable after the ack time-out, or at `deadline`, a time of time.monotonic(), if that is sooner.
        """
        size = _size_of(key, value, headers)
        try:
            self.in_flight.reserve(1, size)
            try:
                if self.supervisor.unavailable_reason is not None:
                    await self.supervisor.wait_for_start(deadline)
                batch = self._batch_for(size)
                future = batch.new_ack_future()
                batch.add((key, value, headers), size)
            except BaseException:
                self.in_flight.release(1, size)
                raise
            position = await (future if batch.deadline <= deadline else _by(deadline, future))
        except BaseException:
            self._metrics.todos["unconfirmed"] += 1
            raise
        self._metrics.todos["accepted"] += 1
        return position

    async def publish_all(
        self, records: Sequence[OutgoingRecord], deadline: float
    ) -> list[tuple[Position | Unavailable, int]]:
        """As `publish`, for at least one record. Raises Unavailable when none of them was sent.

        Returns an outcome for each part of the records, in their order, and the number of records in that part. A
        Position is that of the part's first record; the others follow it.
        """
        accepted = 0
        try:
            futures = await self._send_all(records, deadline)
            try:
                await _settle(futures, deadline)
            except asyncio.CancelledError:
                self._metrics.late += _count_stored(_outcomes_of(futures))
                raise
            outcomes = _outcomes_of(futures)
            accepted = _count_stored(outcomes)
            return outcomes
        finally:
            self._metrics.todos["accepted"] += accepted
            self._metrics.todos["unconfirmed"] += len(records) - accepted

    async def _send_all(self, records: Sequence[OutgoingRecord], deadline: float) -> dict[AckFuture, int]:
        """Add the records to batches. Return each future with the number of its records, one after the other."""
        ends = list(accumulate(_size_of(*record) for record in records))  # bytes up to the end of each record
        count, size = len(records), ends[-1]
        self.in_flight.reserve(count, size)
        futures: dict[AckFuture, int] = {}
        start = done = 0  # records and bytes that are in batches
        try:
            if self.supervisor.unavailable_reason is not None:
                await self.supervisor.wait_for_start(deadline)
            while start < count:
                batch = self._batch_for(ends[start] - done)
                end = bisect_right(ends, done + self._batch_bytes - batch.size)
                end = max(end, start + 1)  # a record that is larger than a batch has one of its own
                futures[batch.new_ack_future()] = end - start
                batch.extend(records[start:end], ends[end - 1] - done)
                start, done = end, ends[end - 1]
        except BaseException:
            self.in_flight.release(count - start, size - done)
            raise
        return futures

    def _now(self) -> Now:
        return Now(self.unavailable_reason is None, self.in_flight.records, self.in_flight.bytes)

    def _batch_for(self, size: int) -> PendingBatch:
        """Return the open batch, or a new one if the record does not fit in."""
        if self._open is not None:
            if self._open.size + size <= self._batch_bytes:
                return self._open
            self._send(self._open)
        is_idle = not self.in_flight.awaiting_ack
        batch = self._open = self.in_flight.open(self._clock())
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
        self.in_flight.resolve(batch, outcome, self._clock())
        if self._open is not None:
            self._send(self._open)


def _size_of(key: bytes, value: bytes, headers: Headers) -> int:
    size = len(key) + len(value)
    for name, content in headers:
        size += len(name) + len(content)
    return size


async def _by(deadline: float, future: AckFuture) -> Position:
    """Return the result of `future`, or cancel it at `deadline` and raise Unavailable."""
    try:
        async with asyncio.timeout_at(deadline):
            return await future
    except TimeoutError:
        raise _unconfirmed() from None


async def _settle(futures: Iterable[AckFuture], deadline: float) -> None:
    """Wait for all futures, and cancel at `deadline` those that are not done."""
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await asyncio.wait(futures)
    finally:
        for future in futures:
            if not future.cancel():
                future.exception()  # or asyncio would log that it was never retrieved


def _outcomes_of(futures: dict[AckFuture, int]) -> list[tuple[Position | Unavailable, int]]:
    """Return the outcome of each future, which is done or cancelled, with the number of its records."""
    return [(_outcome_of(future), count) for future, count in futures.items()]


def _count_stored(outcomes: list[tuple[Position | Unavailable, int]]) -> int:
    return sum(count for outcome, count in outcomes if isinstance(outcome, Position))


def _outcome_of(future: AckFuture) -> Position | Unavailable:
    error = _unconfirmed() if future.cancelled() else future.exception()
    return error if isinstance(error, Unavailable) else future.result()


def _unconfirmed() -> Unavailable:
    return Unavailable("Not confirmed in time: the todo may or may not be stored.")
