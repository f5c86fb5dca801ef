"""Batches that go around kafka-python's send(): real Kafka takes them, and kafka-python still looks after them."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka import KafkaAdminClient
from kafka.admin import NewPartitions

from devstack import Kafka
from edge_api.observability.metrics import Metrics
from edge_api.publishing.batcher import Publisher
from edge_api.publishing.in_flight import Unavailable
from edge_api.publishing.producer import BatchTooLarge, Position, Producer, SendOutcome, create_producer
from edge_api.settings import EdgeSettings, Settings
from edge_api.shared.kafka_settings import KafkaSettings
from tests.support.edge import create_topic, read_topic

SMALL = 20_000
RECORDS = st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=300)), min_size=1, max_size=100)


def kafka_settings(kafka: Kafka, topic: str) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topic=topic)


@asynccontextmanager
async def running_producer(kafka: Kafka, topic: str, ack_timeout: float = 10) -> AsyncIterator[Producer]:
    loop = asyncio.get_running_loop()
    producer = create_producer(kafka_settings(kafka, topic), ack_timeout=ack_timeout, loop=loop)
    try:
        await until(lambda: producer.unavailable_reason() is None)
        yield producer
    finally:
        await asyncio.to_thread(producer.abort)


@asynccontextmanager
async def running_publisher(kafka: Kafka, topic: str) -> AsyncIterator[Publisher]:
    publisher = Publisher(Settings(EdgeSettings(auth="open"), kafka_settings(kafka, topic)), Metrics())
    await publisher.start()
    try:
        yield publisher
    finally:
        await publisher.stop()


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)


def send(producer: Producer, records: list[tuple[bytes, bytes]]) -> asyncio.Future[SendOutcome]:
    outcome: asyncio.Future[SendOutcome] = asyncio.get_running_loop().create_future()
    producer.send([(key, value, []) for key, value in records], outcome.set_result)
    return outcome


def test_a_consumer_gets_every_record_of_every_batch(kafka: Kafka) -> None:
    topic = create_topic(kafka.bootstrap_servers)
    sent: dict[tuple[int, int], tuple[bytes, bytes]] = {}

    async def scenario() -> None:
        async with running_producer(kafka, topic) as producer:
            for records in batches:
                position = await send(producer, records)
                assert isinstance(position, Position), position
                sent.update({(position.partition, position.offset + i): record for i, record in enumerate(records)})

    batches: list[list[tuple[bytes, bytes]]] = [[(b"k" * 36, b"v" * size) for size in (63, 64, 8_191, 8_192, 70_000)]]

    @settings(settings.default, max_examples=50)
    @given(RECORDS)
    def invent(records: list[tuple[bytes, bytes]]) -> None:
        batches.append(records)

    invent()
    asyncio.run(scenario())
    records = read_topic(kafka.bootstrap_servers, topic)
    assert sent == {(record.partition, record.offset): (record.key, record.value) for record in records}
    assert all(record.headers == [] for record in records)


def test_a_batch_that_the_topic_finds_too_large_is_not_stored_and_the_next_ones_are_smaller(kafka: Kafka) -> None:
    topic = create_topic(kafka.bootstrap_servers, max_message_bytes=str(SMALL))
    pairs = [(b"key", b"v" * 1_000)] * 100
    acknowledged: list[Position] = []

    async def scenario() -> None:
        async with running_producer(kafka, topic) as producer:
            assert isinstance(await send(producer, pairs), BatchTooLarge)
        async with running_publisher(kafka, topic) as publisher:
            for _ in range(10):
                outcomes = await publisher.publish_all([(*pair, []) for pair in pairs], math.inf)
                for outcome, count in outcomes:
                    if isinstance(outcome, Position):
                        partition, offset = outcome
                        acknowledged.extend(Position(partition, offset + index) for index in range(count))
                refused = [str(outcome) for outcome, _ in outcomes if isinstance(outcome, Unavailable)]
                if not refused:
                    break
                assert {"Not stored: Kafka refused the record."} == set(refused)
            assert not refused
            with pytest.raises(Unavailable, match="Not stored"):  # no batch is small enough for this one
                await publisher.publish(b"key", b"v" * 2 * SMALL, [], math.inf)
            acknowledged.append(await publisher.publish(b"key", b"value", [], math.inf))

    asyncio.run(scenario())
    stored = [(record.partition, record.offset) for record in read_topic(kafka.bootstrap_servers, topic)]
    assert sorted(acknowledged) == sorted(stored)


def test_a_batch_outlives_the_connection_it_was_sent_on(own_kafka: Kafka) -> None:
    topic = create_topic(own_kafka.bootstrap_servers, partitions=1)

    async def scenario() -> None:
        async with running_producer(own_kafka, topic, ack_timeout=60) as producer:
            first = await send(producer, [(b"key", b"first")])
            own_kafka.pause()
            outcome = send(producer, [(b"key", b"second"), (b"key", b"third")])
            await until(lambda: producer._kafka._sender._client.in_flight_request_count() > 0)
            await asyncio.to_thread(own_kafka.kill)
            await asyncio.to_thread(own_kafka.start)
            assert (Position(0, 0), Position(0, 1)) == (first, await asyncio.wait_for(outcome, 60))

    asyncio.run(scenario())
    values = [record.value for record in read_topic(own_kafka.bootstrap_servers, topic, partitions=1)]
    assert [b"first", b"second", b"third"] == values


def test_many_batches_behind_a_frozen_broker_keep_no_core_busy(own_kafka: Kafka) -> None:
    topic = create_topic(own_kafka.bootstrap_servers)

    async def scenario() -> None:
        async with running_producer(own_kafka, topic) as producer:
            await send(producer, [(b"key", b"value")])
            own_kafka.pause()
            for _ in range(20):
                send(producer, [(b"key", b"value")])
            await asyncio.sleep(0.5)
            before = cpu_seconds(producer)
            await asyncio.sleep(1)  # what is measured is what the thread does in this time, not that it is over
            assert cpu_seconds(producer) - before < 0.2
            own_kafka.resume()

    asyncio.run(scenario())


def cpu_seconds(producer: Producer) -> float:
    """Of kafka-python's thread."""
    (thread,) = [t for t in psutil.Process().threads() if t.id == producer._kafka._sender.native_id]
    return float(thread.user_time + thread.system_time)


def test_partitions_that_are_added_are_used(kafka: Kafka) -> None:
    topic = create_topic(kafka.bootstrap_servers, partitions=1)

    async def partition_of_next(producer: Producer) -> int:
        position = await send(producer, [(b"key", b"value")])
        assert isinstance(position, Position), position
        return position.partition

    async def scenario() -> None:
        async with running_producer(kafka, topic) as producer:
            assert await partition_of_next(producer) == 0
            admin = KafkaAdminClient(**kafka_settings(kafka, topic).client_options())
            admin.create_partitions({topic: NewPartitions(3)})
            admin.close()
            producer._kafka._metadata.request_update()  # it would do so within five minutes
            async with asyncio.timeout(30):
                while {await partition_of_next(producer) for _ in range(3)} != {0, 1, 2}:
                    await asyncio.sleep(0.05)

    asyncio.run(scenario())
