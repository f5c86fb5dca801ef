"""Keeps a working Kafka producer at hand: says what is wrong, and replaces one that is stuck."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from edge_api.observability.metrics import Metrics
from edge_api.publishing.in_flight import Batch, InFlight, Unavailable
from edge_api.publishing.producer import Outcome, Producer
from edge_api.settings import LONGEST_WAIT_SECONDS, Settings

log = logging.getLogger(__name__)

TICK_SECONDS = 0.05
# Longer than kafka-python's longest reconnect back-off, so a rebuild never disturbs a recovery under way.
REBUILD_UNREADY_AFTER_SECONDS = 15.0
# Kafka's delivery time-out frees a record about a second after its client's 503; longer means that it is stuck.
STUCK_AFTER_SECONDS = 5.0


class Watchdog:
    """`problem` says why records are refused at the moment, or is None."""

    def __init__(
        self,
        settings: Settings,
        in_flight: InFlight,
        resolved: Callable[[Batch, Outcome], None],
        metrics: Metrics,
    ) -> None:
        self._kafka = settings.kafka
        self._ack_timeout = settings.edge.ack_timeout_seconds
        self._in_flight, self._metrics = in_flight, metrics
        self._resolved = resolved
        self.problem: str | None = "not started"
        self.stopping = False
        self._is_stuck = False
        self._ready = asyncio.Event()
        self._rebuilding: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._in_flight.last_ack = self._unready_since = self._loop.time()
        patience = min(self._ack_timeout, LONGEST_WAIT_SECONDS - self._ack_timeout)
        self._patience_ends = self._loop.time() + patience
        self.producer = await self._new_producer()
        self.problem = "Kafka is not reachable"
        self._supervisor = asyncio.create_task(self._supervise())

    async def stop(self) -> None:
        self._supervisor.cancel()
        with suppress(asyncio.CancelledError):
            await self._supervisor
        if self._rebuilding is not None:
            await self._rebuilding
        await asyncio.to_thread(self.producer.dismantle)

    async def wait_for_start(self) -> None:
        """At a cold start the first requests wait for Kafka's metadata; later a missing Kafka is told at once."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._patience_ends):
                await self._ready.wait()
        if self.problem is not None:
            raise Unavailable(f"Not stored: {self.problem}.")

    async def _supervise(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                self._tick(self._loop.time())
            except Exception:  # the watchdog has to outlive whatever kafka-python raises
                log.exception("The watchdog failed")

    def _tick(self, now: float) -> None:
        for batch in self._in_flight.expire(now):
            # Nothing at all was acknowledged since this batch was opened: the producer or the broker is stuck.
            self._is_stuck |= batch.producer is self.producer and self._in_flight.last_ack < batch.opened_at
        self._observe(now)
        if self._must_rebuild(now):
            self._unready_since = now
            self._rebuilding = asyncio.create_task(self._rebuild())

    def _observe(self, now: float) -> None:
        problem = "the edge is shutting down" if self.stopping else self.producer.what_is_missing()
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
        if self.stopping or (self._rebuilding is not None and not self._rebuilding.done()):
            return False
        unready = self.problem is not None and now - self._unready_since > REBUILD_UNREADY_AFTER_SECONDS
        oldest = next(iter(self._in_flight.given_up), None)
        return self._is_stuck or unready or (oldest is not None and now - oldest.deadline > STUCK_AFTER_SECONDS)

    async def _rebuild(self) -> None:
        old = self.producer
        try:
            self.producer = await self._new_producer()
        except Exception:  # no thread or no file descriptor to be had, say: a later tick tries again
            log.exception("Cannot build a new Kafka producer")
            return
        self._is_stuck = False
        self.problem = "Kafka is not reachable"
        self._metrics.producer_rebuilds += 1
        log.warning("Replaced the Kafka producer")
        await asyncio.to_thread(old.dismantle)
        for batch in [*self._in_flight.unanswered, *self._in_flight.given_up]:
            if batch.producer is old:
                self._resolved(batch, RuntimeError("the producer was replaced"))

    async def _new_producer(self) -> Producer:
        return await asyncio.to_thread(Producer, self._kafka, ack_timeout=self._ack_timeout, loop=self._loop)
