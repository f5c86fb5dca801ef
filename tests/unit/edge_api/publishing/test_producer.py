"""What of kafka-python one broker in a test cannot show: its settings, leaders that are missing, batches given up."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from kafka.errors import IllegalStateError, KafkaTimeoutError
from kafka.protocol.metadata import MetadataResponse

from edge_api.publishing.batch_producer import BatchProducer
from edge_api.publishing.producer import Producer, SendOutcome, SendRefused, TakeTurns, create_producer
from edge_api.settings import Settings

NO_LEADER = -1
ACK_TIMEOUT = 0.3
With = Callable[[Callable[[Producer], Awaitable[None]]], None]


@pytest.fixture
def with_producer(settings: Settings) -> With:
    def run(scenario: Callable[[Producer], Awaitable[None]]) -> None:
        async def main() -> None:
            producer = create_producer(settings.kafka, ack_timeout=ACK_TIMEOUT, loop=asyncio.get_running_loop())
            assert isinstance(producer, BatchProducer)
            try:
                await scenario(producer)
            finally:
                producer.abort()
            assert not producer._kafka._sender.is_alive()

        asyncio.run(main())

    return run


def tell_leaders(producer: Producer, leaders: list[int]) -> None:
    """Metadata as a cluster of brokers 1 and 2 would send it; neither of them can be reached."""
    topic = MetadataResponse.MetadataResponseTopic
    partition = topic.MetadataResponsePartition
    broker = MetadataResponse.MetadataResponseBroker
    unused = {"leader_epoch": 0, "replica_nodes": [1, 2], "isr_nodes": [1], "offline_replicas": []}
    partitions = [
        partition(error_code=0, partition_index=number, leader_id=leader, **unused)
        for number, leader in enumerate(leaders)
    ]
    producer._kafka._metadata.update_metadata(
        MetadataResponse(
            version=12,
            throttle_time_ms=0,
            brokers=[broker(version=12, node_id=node, host="127.0.0.1", port=1, rack=None) for node in (1, 2)],
            cluster_id="test",
            controller_id=1,
            topics=[topic(error_code=0, name=producer._topic, topic_id=None, is_internal=False, partitions=partitions)],
        )
    )


def send(producer: Producer) -> asyncio.Future[SendOutcome]:
    outcome: asyncio.Future[SendOutcome] = asyncio.get_running_loop().create_future()
    producer.send([(b"key", b"value", []), (b"key", b"value", [])], outcome.set_result)
    return outcome


def test_every_in_sync_replica_must_acknowledge(with_producer: With) -> None:
    async def scenario(producer: Producer) -> None:
        every_in_sync_replica = -1
        assert producer._kafka.config["acks"] == every_in_sync_replica

    with_producer(scenario)


def test_nothing_is_taken_before_the_topic_is_known(with_producer: With) -> None:
    async def scenario(producer: Producer) -> None:
        with pytest.raises(SendRefused):
            send(producer)

    with_producer(scenario)


@pytest.mark.parametrize(
    ("leaders", "expected"),
    [
        ([1, 2, 1], [0, 1, 2, 0, 1, 2]),
        ([1, NO_LEADER, 2], [0, 2, 0, 2, 0, 2]),
        ([NO_LEADER, NO_LEADER], [0, 1, 0, 1, 0, 1]),  # one of them may get a leader in time
    ],
    ids=["all", "one without leader", "none with leader"],
)
def test_partitions_with_a_leader_take_turns(with_producer: With, leaders: list[int], expected: list[int]) -> None:
    turns = TakeTurns()

    def next_partition(producer: Producer) -> int:
        return turns.partition(producer._topic, None, None, None, None, producer._kafka._metadata)

    async def scenario(producer: Producer) -> None:
        tell_leaders(producer, leaders)
        assert expected == [next_partition(producer) for _ in expected]
        tell_leaders(producer, [1] * 10)  # partitions were added
        assert set(range(10)) == {next_partition(producer) for _ in range(10)}

    with_producer(scenario)


@pytest.mark.parametrize("leader", [1, NO_LEADER], ids=["leader out of reach", "no leader"])
def test_a_batch_that_cannot_be_sent_is_given_up_once_and_forgotten(with_producer: With, leader: int) -> None:
    async def scenario(producer: Producer) -> None:
        tell_leaders(producer, [leader])
        outcome = await asyncio.wait_for(send(producer), 30)
        assert isinstance(outcome, KafkaTimeoutError)
        assert not producer._kafka._accumulator.has_undrained()
        async with asyncio.timeout(30):  # kafka-python forgets a batch just after it has told
            while producer._kafka._accumulator.has_incomplete:
                await asyncio.sleep(0.01)

    with_producer(scenario)


def test_what_is_unsent_when_the_producer_is_dropped_is_given_up(with_producer: With) -> None:
    async def scenario(producer: Producer) -> None:
        tell_leaders(producer, [1])
        outcome = send(producer)
        await asyncio.to_thread(producer.abort)
        assert isinstance(await asyncio.wait_for(outcome, 30), IllegalStateError)
        with pytest.raises(SendRefused):
            send(producer)

    with_producer(scenario)
