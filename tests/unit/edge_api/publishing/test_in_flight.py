"""Room is taken and given back once, and each waiting request gets one answer, also if a producer fails."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from edge_api.observability.metrics import Metrics
from edge_api.publishing.in_flight import AckFuture, InFlight, PendingBatch, Unavailable
from edge_api.publishing.producer import BatchTooLarge, Position, SendOutcome, SendRefused
from edge_api.settings import EdgeSettings
from tests.unit.edge_api.publishing.fakes import FakeProducer

ACK_TIMEOUT = 2.0
RECORD = (b"key", b"value", [("name", b"x")])
SIZE = 10


def new_in_flight(**bounds: int) -> InFlight:
    settings = EdgeSettings(auth="open", ack_timeout_seconds=ACK_TIMEOUT).model_copy(update=bounds)
    return InFlight(settings, Metrics())


def on_loop(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]  # a coroutine function


def open_batch(in_flight: InFlight, now: float, records: int = 2) -> tuple[PendingBatch, AckFuture]:
    in_flight.reserve(records, records * SIZE)
    batch = in_flight.open(now)
    future = batch.new_ack_future()
    for _ in range(records):
        batch.add(RECORD, SIZE)
    return batch, future


def send(in_flight: InFlight, batch: PendingBatch, producer: FakeProducer, now: float) -> None:
    def resolved(batch: PendingBatch, outcome: SendOutcome) -> None:
        in_flight.resolve(batch, outcome, now)

    in_flight.send(batch, producer, resolved)


def test_what_does_not_fit_takes_no_room() -> None:
    in_flight = new_in_flight(max_in_flight_records=3, max_in_flight_bytes=100)
    in_flight.reserve(2, 60)
    for count, size in [(2, 1), (1, 41)]:
        with pytest.raises(Unavailable, match="too many todos"):
            in_flight.reserve(count, size)
    in_flight.reserve(1, 40)
    in_flight.release(3, 100)

    assert (0, 0) == (in_flight.records, in_flight.bytes)


def test_an_acknowledged_batch_gives_each_request_the_position_of_its_first_record() -> None:
    async def scenario() -> None:
        in_flight, producer = new_in_flight(), FakeProducer()
        batch, first = open_batch(in_flight, now=1.0)
        third = batch.new_ack_future()
        in_flight.reserve(1, SIZE)
        batch.add(RECORD, SIZE)
        send(in_flight, batch, producer, now=1.5)
        ((records, resolved),) = producer.sent
        assert [RECORD] * 3 == list(records)

        resolved(Position(4, 70))
        assert (Position(4, 70), Position(4, 72)) == (await first, await third)
        assert (0, 0, 1.5) == (in_flight.records, in_flight.bytes, in_flight.last_ack)
        resolved(Position(4, 70))  # only the first outcome counts
        assert (0, 0) == (in_flight.records, in_flight.bytes)

    on_loop(scenario)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (SendRefused("no metadata"), "Not stored: Kafka refused the record."),
        (BatchTooLarge("too large"), "Not stored: Kafka refused the record."),
        (AttributeError("'RecordAccumulator' object has no attribute '_tp_lock'"), "may or may not be stored"),
        (RuntimeError("can't start new thread"), "may or may not be stored"),
    ],
    ids=["refused", "too large", "renamed inside", "no thread"],
)
def test_whatever_a_producer_raises_frees_the_room_and_answers(error: Exception, message: str) -> None:
    async def scenario() -> None:
        in_flight = new_in_flight()
        for _ in range(3):
            batch, future = open_batch(in_flight, now=1.0)
            send(in_flight, batch, FakeProducer(error), now=1.0)
            with pytest.raises(Unavailable, match=message):
                await future
            assert (0, 0) == (in_flight.records, in_flight.bytes)
        assert not in_flight.awaiting_ack

    on_loop(scenario)


def test_a_batch_that_timed_out_is_answered_at_once_and_keeps_its_room_until_kafka_lets_go() -> None:
    async def scenario() -> None:
        in_flight, producer = new_in_flight(), FakeProducer()
        batch, future = open_batch(in_flight, now=1.0)
        send(in_flight, batch, producer, now=1.0)

        assert [] == in_flight.expire(now=1.0 + ACK_TIMEOUT - 0.01)
        assert [batch] == in_flight.expire(now=1.0 + ACK_TIMEOUT)
        with pytest.raises(Unavailable, match="Not confirmed within 2 s"):
            await future
        assert (2, [batch]) == (in_flight.records, list(in_flight.timed_out))
        producer.sent[0][1](Position(0, 0))
        assert (0, {}) == (in_flight.records, in_flight.timed_out)

    on_loop(scenario)


def test_a_replaced_producer_takes_only_its_own_batches_along() -> None:
    async def scenario() -> None:
        in_flight, old, new = new_in_flight(), FakeProducer(), FakeProducer()
        (first, of_old), (second, of_new) = open_batch(in_flight, now=1.0), open_batch(in_flight, now=1.0)
        send(in_flight, first, old, now=1.0)
        send(in_flight, second, new, now=1.0)

        in_flight.abandon(old, now=2.0)
        with pytest.raises(Unavailable, match="may or may not be stored"):
            await of_old
        assert (2, False) == (in_flight.records, of_new.done())

    on_loop(scenario)


def test_a_client_that_has_gone_disturbs_no_other() -> None:
    async def scenario() -> None:
        in_flight, producer = new_in_flight(), FakeProducer()
        batch, gone = open_batch(in_flight, now=1.0)
        other = batch.new_ack_future()
        send(in_flight, batch, producer, now=1.0)
        gone.cancel()
        producer.sent[0][1](Position(0, 5))

        assert Position(0, 7) == await other

    on_loop(scenario)
