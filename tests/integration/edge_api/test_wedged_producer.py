"""A producer whose thread does nothing any more is replaced, whatever wedged it."""

import asyncio
import time

import pytest

from devstack import Kafka
from edge_api.observability.metrics import Metrics
from edge_api.publishing.batcher import Publisher
from edge_api.publishing.in_flight import Unavailable
from edge_api.settings import EdgeSettings, Settings
from edge_api.shared.kafka_settings import KafkaSettings
from tests.support.edge import create_topic


def test_a_wedged_producer_is_replaced_and_its_room_is_freed(kafka: Kafka) -> None:
    topic = create_topic(kafka.bootstrap_servers)
    settings = Settings(
        EdgeSettings(auth="open", ack_timeout_seconds=1.0).model_copy(update={"max_in_flight_records": 1}),
        KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topic=topic),
    )

    async def scenario() -> None:
        publisher = Publisher(settings, Metrics())
        await publisher.start()
        try:
            await publisher.publish(b"key", b"before")
            wedged = publisher.watchdog.producer
            wedged._kafka._sender.run_once = lambda: time.sleep(0.01)
            with pytest.raises(Unavailable, match="may or may not be stored"):
                await publisher.publish(b"key", b"wedged")
            deadline = time.monotonic() + 30
            while publisher.problem is not None or publisher.in_flight.given_up:
                assert time.monotonic() < deadline, publisher.problem
                await asyncio.sleep(0.05)
            assert publisher.watchdog.producer is not wedged
            position = await publisher.publish(b"key", b"after")
            assert position.offset >= 0
            assert (0, 0) == (publisher.in_flight.records, publisher.in_flight.bytes)  # freed once, not twice
        finally:
            await publisher.stop()
        assert not wedged._kafka._sender.is_alive()

    asyncio.run(scenario())
