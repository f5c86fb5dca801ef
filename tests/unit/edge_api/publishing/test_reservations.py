"""Room for records is given back, and each record is counted once, in every order of events.

Todos are published, their requests are cancelled or reach their deadlines, Kafka acknowledges, refuses or stays silent,
also twice and too late, and producers are replaced. The tests drive the clock, also that of the event loop.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_api.observability.metrics import Metrics
from edge_api.publishing.batcher import Publisher
from edge_api.publishing.in_flight import Unavailable
from edge_api.publishing.producer import Position, Producer, SendOutcome, SendRefused
from edge_api.settings import EdgeSettings, Settings
from edge_api.shared.kafka_settings import KafkaSettings
from tests.unit.edge_api.publishing.fakes import FakeProducer

ACK_TIMEOUT, LONGEST_WAIT, MAX_RECORDS = 3.0, 4.5, 12
RECORD = (b"key", b"v" * 300, [("name", b"value")])  # three of them fill a batch of FakeProducer


class World:
    """A publisher with fake producers, the requests that use it, and the time."""

    def __init__(self) -> None:
        self.now, self.producers, self.metrics = 100.0, list[FakeProducer](), Metrics()
        edge = EdgeSettings(auth="open", ack_timeout_seconds=ACK_TIMEOUT)
        edge = edge.model_copy(update={"max_in_flight_records": MAX_RECORDS})
        settings = Settings(edge, KafkaSettings())
        self.publisher = Publisher(settings, self.metrics, create=self._create, clock=lambda: self.now)
        self.requests: list[asyncio.Task[int]] = []
        self.resolved: set[int] = set()  # numbers of batches
        self.sent = self.acknowledged = 0  # records

    def _create(self, *_: object, **__: object) -> Producer:
        self.producers.append(FakeProducer())
        return self.producers[-1]

    def publish(self, count: int, seconds: float) -> None:
        """Begin a request of so many todos, with its deadline in so many seconds."""

        async def request() -> int:
            """How many are accepted."""
            try:
                if count == 1:
                    await self.publisher.publish(*RECORD, self.now + seconds)
                    return 1
                outcomes = await self.publisher.publish_all([RECORD] * count, self.now + seconds)
                return sum(part for outcome, part in outcomes if isinstance(outcome, Position))
            except (Unavailable, asyncio.CancelledError):
                return 0

        self.sent += count
        self.requests.append(asyncio.create_task(request()))

    def resolve(self, number: int, outcome: SendOutcome) -> None:
        """Tell a batch's outcome, which only counts if it is the first one."""
        sent = [batch for producer in self.producers for batch in producer.sent]
        if sent:
            records, resolved = sent[number % len(sent)]
            batch, in_flight = cast("partial[None]", resolved).args[0], self.publisher.in_flight
            is_first = batch in in_flight.awaiting_ack or batch in in_flight.timed_out
            resolved(outcome)
            if isinstance(outcome, Position) and is_first:
                self.acknowledged += len(records)

    def cancel(self, number: int) -> None:
        if self.requests:
            self.requests[number % len(self.requests)].cancel()

    def fail_to_send(self, error: Exception | None) -> None:
        self.producers[-1].error = error

    def hide_kafka(self, reason: str | None) -> None:
        self.producers[-1].reason = reason

    def let_pass(self, seconds: float) -> None:
        self.now += seconds
        self.publisher.supervisor.tick()

    async def after(self, seconds: float) -> None:
        self.let_pass(seconds)
        await self.settle()

    async def settle(self) -> None:
        """Let everything happen that happens without time."""
        for _ in range(10):
            await asyncio.sleep(0)
        while (rebuilding := self.publisher.supervisor._rebuilding) is not None and not rebuilding.done():
            await asyncio.sleep(0)


def run(scenario: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        world, loop = World(), asyncio.get_running_loop()
        loop.time = lambda: world.now  # type: ignore[method-assign]
        await world.publisher.start()
        try:
            await world.after(0.1)
            await scenario(world)
        finally:
            await world.publisher.supervisor.stop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edge_api.publishing.supervisor.TICK_SECONDS", 1e9)  # the test ticks
        asyncio.run(main())


def assert_consistent(world: World) -> None:
    """Once all requests have their answers, and no batch is under way."""
    assert all(request.done() for request in world.requests)
    in_flight, todos = world.publisher.in_flight, world.metrics.todos
    assert (0, 0) == (in_flight.records, in_flight.bytes)
    assert world.sent == todos["accepted"] + todos["unconfirmed"]
    assert todos["accepted"] == sum(request.result() for request in world.requests if not request.cancelled())
    assert world.acknowledged == todos["accepted"] + world.metrics.late


NUMBER = st.integers(0, 20)
OUTCOMES = st.sampled_from([Position(1, 5), SendRefused("no metadata"), RuntimeError("closed")])
ERRORS, REASONS = st.sampled_from([RuntimeError("no thread"), None]), st.sampled_from(["Kafka is not reachable", None])
STEPS = st.one_of(
    st.tuples(st.just(World.publish), st.integers(1, 7), st.floats(0, LONGEST_WAIT)),
    st.tuples(st.just(World.cancel), NUMBER),
    st.tuples(st.just(World.resolve), NUMBER, OUTCOMES),
    st.tuples(st.just(World.let_pass), st.floats(0, 10)),
    st.tuples(st.just(World.fail_to_send), ERRORS),
    st.tuples(st.just(World.hide_kafka), REASONS),
)


@given(st.lists(STEPS, max_size=30))
def test_whatever_happens_all_room_is_given_back_and_every_todo_is_counted_once(
    steps: list[tuple[Any, ...]],
) -> None:
    async def scenario(world: World) -> None:
        for step, *arguments in steps:
            step(world, *arguments)
            await world.settle()
        for _ in range(4):  # silence: time-outs, then a replaced producer
            await world.after(6)
        assert_consistent(world)

    run(scenario)


def test_an_acknowledgement_after_the_deadline_counts_as_late_and_nothing_else() -> None:
    async def scenario(world: World) -> None:
        world.publish(2, seconds=1)
        world.publish(1, seconds=1)
        world.publish(1, seconds=LONGEST_WAIT)
        await world.settle()
        await world.after(1)
        assert [True, True, False] == [request.done() for request in world.requests]
        assert 4 == world.publisher.in_flight.records  # they may still be stored
        for number in range(2):
            world.resolve(number, Position(0, 7))
            world.resolve(number, Position(0, 7))
        await world.settle()
        assert {"accepted": 1, "rejected": 0, "refused": 0, "unconfirmed": 3} == world.metrics.todos
        assert 3 == world.metrics.late
        assert_consistent(world)

    run(scenario)


def test_a_batch_of_which_a_part_is_acknowledged_in_time_is_answered_for_each_todo() -> None:
    async def scenario(world: World) -> None:
        world.publish(5, seconds=1)  # three records in the first batch, two in the second
        await world.settle()
        world.resolve(0, Position(0, 7))
        await world.after(1)
        assert 3 == world.requests[0].result()
        assert {"accepted": 3, "unconfirmed": 2} == {
            outcome: world.metrics.todos[outcome] for outcome in ("accepted", "unconfirmed")
        }

    run(scenario)


def test_what_was_acknowledged_before_its_request_was_cancelled_counts_as_late() -> None:
    async def scenario(world: World) -> None:
        world.publish(5, seconds=LONGEST_WAIT)  # three records in the first batch, two in the second
        await world.settle()
        world.resolve(0, Position(0, 7))
        world.cancel(0)
        await world.settle()
        world.resolve(1, SendRefused("no metadata"))
        assert 3 == world.metrics.late
        assert_consistent(world)

    run(scenario)


def test_a_wait_for_the_first_metadata_ends_with_the_deadline_and_gives_the_room_back() -> None:
    async def scenario(world: World) -> None:
        world.publisher.supervisor.unavailable_reason = "Kafka is not reachable"
        world.publisher.supervisor._start_deadline = world.now + 2
        world.publisher.supervisor._ready.clear()
        world.publish(1, seconds=1)
        world.publish(3, seconds=1)
        await world.settle()
        assert 4 == world.publisher.in_flight.records
        world.now += 1
        await world.settle()
        assert_consistent(world)
        assert [] == world.producers[0].sent

    run(scenario)
