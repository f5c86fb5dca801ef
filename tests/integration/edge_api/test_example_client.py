"""The example of a client gets its todos through, in spite of limits, outages and an edge that is started again.

tests/e2e/authorization/test_client.py runs the rest of it.
"""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from devstack import Kafka
from tests.support.edge import EdgeProcess, create_topic, read_topic
from tests.support.example import example
from tests.support.waiting import eventually

StartEdge = Callable[..., EdgeProcess]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def answered(edge: EdgeProcess, status: int) -> int:
    """How many single todos were, so far."""
    found = re.search(rf'route="/new/",status="{status}"}} (\d+)', httpx.get(f"{edge.url}/metrics").text)
    return int(found[1]) if found else 0


def test_it_sends_no_faster_than_the_rate_limit_lets_it(kafka: Kafka, start_edge: StartEdge) -> None:
    limits = {"EDGE_RATE_LIMIT_PER_ADDRESS": "1", "EDGE_RATE_LIMIT_BURST_SECONDS": "1"}
    topic = create_topic(kafka.bootstrap_servers)
    edge = start_edge(kafka.bootstrap_servers, topic, **limits)
    edge.wait_ready()
    with example.Client(edge.url) as client:
        ids = [client.create(f"todo {number}").id for number in range(4)]

    assert sorted(ids) == sorted(record.key.decode() for record in read_topic(kafka.bootstrap_servers, topic))
    assert answered(edge, 429) in range(1, 4)  # never twice for one: Retry-After was long enough


def test_it_waits_until_kafka_is_back(own_kafka: Kafka, start_edge: StartEdge, pool: ThreadPoolExecutor) -> None:
    topic = create_topic(own_kafka.bootstrap_servers)
    edge = start_edge(own_kafka.bootstrap_servers, topic)
    edge.wait_ready()
    with example.Client(edge.url) as client:
        own_kafka.pause()
        try:
            created = pool.submit(client.create, "Buy milk")
            eventually(lambda: answered(edge, 503) > 0, seconds=10, what="the todo to be refused")
        finally:
            own_kafka.resume()
        accepted = created.result(60)

    keys = {record.key.decode() for record in read_topic(own_kafka.bootstrap_servers, topic)}
    assert {accepted.id} == keys  # perhaps more than once, and under one id: what was not confirmed may be there


def test_it_gives_up_with_the_reason(own_kafka: Kafka, start_edge: StartEdge) -> None:
    topic = create_topic(own_kafka.bootstrap_servers)
    edge = start_edge(own_kafka.bootstrap_servers, topic, EDGE_ACK_TIMEOUT_SECONDS="0.2")
    edge.wait_ready()
    own_kafka.pause()
    try:
        with example.Client(edge.url) as client, pytest.raises(example.Refused, match=r"503: .*stored"):
            client.create("Buy milk")
    finally:
        own_kafka.resume()
    assert example.ATTEMPTS == answered(edge, 503)


def test_it_waits_for_an_edge_that_is_started_again(
    kafka: Kafka, start_edge: StartEdge, pool: ThreadPoolExecutor
) -> None:
    topic = create_topic(kafka.bootstrap_servers)
    edge = start_edge(kafka.bootstrap_servers, topic)
    edge.wait_ready()
    edge.stop()
    with example.Client(edge.url) as client:
        created = pool.submit(client.create, "Buy milk")
        edge.start()
        accepted = created.result(60)
    assert [accepted.id] == [record.key.decode() for record in read_topic(kafka.bootstrap_servers, topic)]
