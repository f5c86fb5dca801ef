"""A producer that is stuck or cannot reach Kafka is replaced, by a clock that the test drives."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable

import pytest

from edge_api.observability.metrics import Metrics
from edge_api.publishing.in_flight import InFlight, PendingBatch, Unavailable
from edge_api.publishing.producer import Position, Producer
from edge_api.publishing.supervisor import REBUILD_UNREADY_AFTER_SECONDS, STUCK_AFTER_SECONDS, ProducerSupervisor
from edge_api.settings import Settings
from tests.unit.edge_api.publishing.fakes import FakeProducer


class World:
    """A supervisor with fake producers, and the time."""

    def __init__(self, settings: Settings) -> None:
        self.now, self.producers, self.metrics = 100.0, list[FakeProducer](), Metrics()
        self.errors: list[Exception] = []
        self.ack_timeout = settings.edge.ack_timeout_seconds
        self.in_flight = InFlight(settings.edge, self.metrics)
        self.supervisor = ProducerSupervisor(
            settings, self.in_flight, self.metrics, create=self._create, clock=lambda: self.now
        )

    def _create(self, *_: object, **__: object) -> Producer:
        if self.errors:
            raise self.errors.pop()
        self.producers.append(FakeProducer())
        return self.producers[-1]

    def send(self) -> PendingBatch:
        self.in_flight.reserve(1, 1)
        batch = self.in_flight.open(self.now)
        batch.new_ack_future().add_done_callback(lambda future: future.exception())
        batch.add((b"key", b"value", []), 1)
        self.in_flight.send(batch, self.supervisor.producer, lambda b, o: self.in_flight.resolve(b, o, self.now))
        return batch

    async def after(self, seconds: float) -> None:
        """Let time pass, one tick, and everything that it set off."""
        self.now += seconds
        self.supervisor.tick()
        async with asyncio.timeout(30):
            while self.supervisor._rebuilding is not None and not self.supervisor._rebuilding.done():
                await asyncio.sleep(0)


Scenario = Callable[[World], Awaitable[None]]


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[[Scenario], None]:
    monkeypatch.setattr("edge_api.publishing.supervisor.TICK_SECONDS", 3_600)  # the test ticks

    def start(scenario: Scenario) -> None:
        async def main() -> None:
            world = World(settings)
            await world.supervisor.start()
            try:
                await scenario(world)
            finally:
                await world.supervisor.stop()
            assert all(producer.is_aborted for producer in world.producers)

        asyncio.run(main())

    return start


def test_a_producer_without_any_acknowledgement_is_replaced_and_its_room_is_freed(
    run: Callable[[Scenario], None],
) -> None:
    async def scenario(world: World) -> None:
        await world.after(0.1)
        assert world.supervisor.unavailable_reason is None
        world.send()
        await world.after(world.ack_timeout)

        assert (2, 1) == (len(world.producers), world.metrics.producer_rebuilds)
        assert (0, 0) == (world.in_flight.records, world.in_flight.bytes)
        assert world.supervisor.producer is world.producers[1]
        await world.after(0.1)
        assert world.supervisor.unavailable_reason is None

    run(scenario)


def test_one_late_batch_among_acknowledged_ones_replaces_nothing_until_it_is_stuck(
    run: Callable[[Scenario], None],
) -> None:
    async def scenario(world: World) -> None:
        await world.after(0.1)
        world.send()
        world.now += 0.01
        world.send()
        world.producers[0].sent[1][1](Position(0, 0))

        await world.after(world.ack_timeout)
        assert (1, 1) == (len(world.producers), len(world.in_flight.timed_out))
        await world.after(STUCK_AFTER_SECONDS + 0.1)
        assert (2, 0) == (len(world.producers), world.in_flight.records)

    run(scenario)


def test_a_producer_that_finds_no_kafka_is_replaced_now_and_then(run: Callable[[Scenario], None]) -> None:
    async def scenario(world: World) -> None:
        world.producers[0].reason = "Kafka is not reachable"
        await world.after(REBUILD_UNREADY_AFTER_SECONDS)
        assert len(world.producers) == 1
        await world.after(1)
        assert len(world.producers) == 2
        assert world.producers[0].is_aborted

    run(scenario)


def test_a_rebuild_that_fails_is_tried_again(run: Callable[[Scenario], None]) -> None:
    async def scenario(world: World) -> None:
        world.producers[0].reason = "Kafka is not reachable"
        world.errors.append(RuntimeError("can't start new thread"))
        await world.after(REBUILD_UNREADY_AFTER_SECONDS + 1)
        assert len(world.producers) == 1
        await world.after(REBUILD_UNREADY_AFTER_SECONDS + 1)
        assert len(world.producers) == 2

    run(scenario)


def test_an_edge_that_shuts_down_refuses_and_builds_nothing_more(run: Callable[[Scenario], None]) -> None:
    async def scenario(world: World) -> None:
        await world.after(0.1)
        world.supervisor.drain()
        await world.after(2 * REBUILD_UNREADY_AFTER_SECONDS)
        assert world.supervisor.unavailable_reason == "the edge is shutting down"
        assert len(world.producers) == 1

    run(scenario)


def test_a_start_is_no_outage_and_an_outage_is_a_line(
    run: Callable[[Scenario], None], caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(world: World) -> None:
        await world.after(0.1)
        assert [] == [record for record in caplog.records if record.levelno > logging.INFO]

        world.producers[0].reason = "Kafka is not reachable"
        await world.after(0.1)
        await world.after(0.1)
        assert [logging.WARNING] == [record.levelno for record in caplog.records if record.levelno > logging.INFO]

    run(scenario)


def test_first_requests_wait_for_kafka_and_later_ones_do_not(run: Callable[[Scenario], None]) -> None:
    async def scenario(world: World) -> None:
        waiting = asyncio.create_task(world.supervisor.wait_for_start(math.inf))
        await asyncio.sleep(0)
        assert not waiting.done()
        await world.after(0.1)
        await waiting

        world.producers[0].reason = "Kafka is not reachable"
        await world.after(0.1)
        with pytest.raises(Unavailable, match="Not stored: Kafka is not reachable"):
            await world.supervisor.wait_for_start(math.inf)

    run(scenario)
