"""A producer whose thread does nothing any more is replaced, and one that raises leaks no room."""

import asyncio
import math
import time

import pytest

from devstack import Kafka
from edge_api.observability.metrics import Metrics
from edge_api.publishing.batcher import Publisher
from edge_api.publishing.in_flight import Unavailable
from edge_api.settings import EdgeSettings, Settings
from edge_api.shared.kafka_settings import KafkaSettings
from tests.support.edge import create_topic


@pytest.fixture
def one_record_settings(kafka: Kafka) -> Settings:
    """Room for one record, so that a second one fails if the first has leaked its room."""
    topic = create_topic(kafka.bootstrap_servers)
    return Settings(
        EdgeSettings(auth="open", ack_timeout_seconds=1.0).model_copy(update={"max_in_flight_records": 1}),
        KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topic=topic),
    )


def test_a_producer_whose_inside_raises_leaks_no_room(one_record_settings: Settings) -> None:

    async def scenario() -> None:
        publisher = Publisher(one_record_settings, Metrics())
        await publisher.start()
        try:
            await publisher.publish(b"key", b"before", [], math.inf)
            accumulator = publisher.supervisor.producer._kafka._accumulator
            appends = accumulator.__dict__.pop("_appends_in_progress")  # no other thread needs it
            for _ in range(3):
                with pytest.raises(Unavailable, match="may or may not be stored"):
                    await publisher.publish(b"key", b"value", [], math.inf)
            assert (0, 0) == (publisher.in_flight.records, publisher.in_flight.bytes)
            assert not publisher.in_flight.awaiting_ack
            accumulator._appends_in_progress = appends  # kafka-python closes by it
        finally:
            await publisher.stop()

    asyncio.run(scenario())


def test_a_wedged_producer_is_replaced_and_its_room_is_freed(one_record_settings: Settings) -> None:

    async def scenario() -> None:
        publisher = Publisher(one_record_settings, Metrics())
        await publisher.start()
        try:
            await publisher.publish(b"key", b"before", [], math.inf)
            wedged = publisher.supervisor.producer
            wedged._kafka._sender.run_once = lambda: time.sleep(0.01)
            with pytest.raises(Unavailable, match="may or may not be stored"):
                await publisher.publish(b"key", b"wedged", [], math.inf)
            deadline = time.monotonic() + 30
            while publisher.unavailable_reason is not None or publisher.in_flight.timed_out:
                assert time.monotonic() < deadline, publisher.unavailable_reason
                await asyncio.sleep(0.05)
            assert publisher.supervisor.producer is not wedged
            position = await publisher.publish(b"key", b"after", [], math.inf)
            assert position.offset >= 0
            assert (0, 0) == (publisher.in_flight.records, publisher.in_flight.bytes)  # freed once, not twice
        finally:
            await publisher.stop()
        assert not wedged._kafka._sender.is_alive()

    asyncio.run(scenario())
