"""The settings of kafka-python that one broker in a test cannot tell apart from weaker ones."""

import asyncio

from edge_api.producer import Producer
from edge_api.settings import Settings


def test_every_in_sync_replica_must_acknowledge(settings: Settings) -> None:
    async def build() -> Producer[object]:
        loop = asyncio.get_running_loop()
        return Producer(settings.kafka, ack_timeout=1.0, loop=loop, resolved=lambda _token, _outcome: None)

    producer = asyncio.run(build())
    try:
        every_in_sync_replica = -1
        assert producer._kafka.config["acks"] == every_in_sync_replica
    finally:
        producer.dismantle()
    assert not producer._kafka._sender.is_alive()
