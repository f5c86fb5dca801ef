"""Keeps a working Kafka producer at hand: says what is wrong, and replaces one that is stuck."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from edge_api.observability.metrics import Metrics
from edge_api.publishing.in_flight import InFlight, Unavailable
from edge_api.publishing.producer import Producer
from edge_api.settings import LONGEST_WAIT_SECONDS, Settings

log = logging.getLogger(__name__)

TICK_SECONDS = 0.05
# Longer than kafka-python's longest reconnect back-off, so a rebuild never disturbs a recovery under way.
REBUILD_UNREADY_AFTER_SECONDS = 15.0
# Kafka's delivery time-out frees a record about a second after its client's 503; longer means that it is stuck.
STUCK_AFTER_SECONDS = 5.0


class ProducerSupervisor:
    """`unavailable_reason` says why records are refused at the moment, or is None."""

    def __init__(
        self,
        settings: Settings,
        in_flight: InFlight,
        metrics: Metrics,
        *,
        create: Callable[..., Producer],
        clock: Callable[[], float],
    ) -> None:
        ack_timeout = settings.edge.ack_timeout_seconds
        self._create = partial(create, settings.kafka, ack_timeout=ack_timeout)
        self._start_seconds = min(ack_timeout, LONGEST_WAIT_SECONDS - ack_timeout)
        self._in_flight, self._metrics, self._clock = in_flight, metrics, clock
        self.unavailable_reason: str | None = "not started"
        self._producer: Producer | None = None
        self._is_draining = self._is_stuck = False
        self._start_deadline = self._unready_since = 0.0
        self._ready = asyncio.Event()
        self._supervising: asyncio.Task[None] | None = None
        self._rebuilding: asyncio.Task[None] | None = None

    @property
    def producer(self) -> Producer:
        """Raises RuntimeError before `start`."""
        if self._producer is None:
            raise RuntimeError("not started")
        return self._producer

    async def start(self) -> None:
        self._producer = await self._new_producer()
        self._unready_since = self._clock()
        self._start_deadline = self._unready_since + self._start_seconds
        self.unavailable_reason = "Kafka is not reachable"
        self._supervising = asyncio.create_task(self._supervise())

    def drain(self) -> None:
        """Refuse new records, because the edge is shutting down."""
        self._is_draining = True

    async def stop(self) -> None:
        if self._supervising is not None:
            self._supervising.cancel()
            with suppress(asyncio.CancelledError):
                await self._supervising
        if self._rebuilding is not None:
            await self._rebuilding
        await asyncio.to_thread(self.producer.abort)

    async def wait_for_start(self, deadline: float) -> None:
        """Wait for Kafka's metadata at a cold start, until `deadline` at most.

        Later a missing Kafka is reported at once. Raises Unavailable.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(max(min(self._start_deadline, deadline) - self._clock(), 0)):
                await self._ready.wait()
        if self.unavailable_reason is not None:
            raise Unavailable(f"Not stored: {self.unavailable_reason}.")

    async def _supervise(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                self.tick()
            except Exception:  # the supervisor has to outlive any error of kafka-python
                log.exception("The supervisor of the Kafka producer failed")

    def tick(self) -> None:
        """Expire what has waited too long, see whether the producer works, and replace it if it does not."""
        now = self._clock()
        for batch in self._in_flight.expire(now):
            # Nothing at all was acknowledged since this batch was opened: the producer or the broker is stuck.
            self._is_stuck |= batch.producer is self._producer and self._in_flight.last_ack < batch.opened_at
        self._observe(now)
        if self._must_rebuild(now):
            self._unready_since = now
            self._rebuilding = asyncio.create_task(self._rebuild())

    def _observe(self, now: float) -> None:
        reason = "the edge is shutting down" if self._is_draining else self.producer.unavailable_reason()
        if self._is_stuck:
            reason = "Kafka does not answer"
        if reason != self.unavailable_reason:
            if reason:
                log.warning("Not ready: %s", reason)
            else:
                log.info("Ready")
        if reason and not self.unavailable_reason:
            self._unready_since = now
        self.unavailable_reason = reason
        if reason is None:
            self._start_deadline = now
            self._ready.set()

    def _must_rebuild(self, now: float) -> bool:
        if self._is_draining or (self._rebuilding is not None and not self._rebuilding.done()):
            return False
        is_unready = self.unavailable_reason is not None and now - self._unready_since > REBUILD_UNREADY_AFTER_SECONDS
        oldest = next(iter(self._in_flight.timed_out), None)
        return self._is_stuck or is_unready or (oldest is not None and now - oldest.deadline > STUCK_AFTER_SECONDS)

    async def _rebuild(self) -> None:
        old = self.producer
        try:
            self._producer = await self._new_producer()
        except Exception:  # no thread or no file descriptor to be had, say: a later tick tries again
            log.exception("Cannot build a new Kafka producer")
            return
        self._is_stuck = False
        self.unavailable_reason = "Kafka is not reachable"
        self._metrics.producer_rebuilds += 1
        log.warning("Replaced the Kafka producer")
        try:
            await asyncio.to_thread(old.abort)
        finally:
            self._in_flight.abandon(old, self._clock())

    async def _new_producer(self) -> Producer:
        return await asyncio.to_thread(self._create, loop=asyncio.get_running_loop())
