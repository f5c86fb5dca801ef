"""SIGTERM loses nothing that was acknowledged and ends in bounded time."""

import asyncio
import time
from collections.abc import Callable

from devstack import Kafka
from tests.support.edge import PROMISE_SECONDS, EdgeProcess, Load, create_topic, read_topic
from tests.support.waiting import Stopwatch

StartEdge = Callable[..., EdgeProcess]
STOP_SECONDS = 15.0  # less than the time-out for the slowest body, because no body is slow here


async def terminate_under_load(edge: EdgeProcess, load: Load, before: Callable[[], None] = lambda: None) -> float:
    """Seconds from SIGTERM to the end of the process. Every request that the edge had before has its answer."""
    assert edge.process is not None
    async with load.running(batch_clients=4):
        await load.until(lambda: load.counts()[202] > 200, 60, "todos are taken")
        before()
        noted = time.monotonic()
        await asyncio.to_thread(edge.status, "/healthz")  # by its answer the edge has read all that was sent before
        watch = Stopwatch()
        edge.terminate()
        await asyncio.to_thread(edge.process.wait, 200)
        seconds = watch.seconds
    read = [answer.status for answer in load.answers if answer.sent < noted]
    assert read
    assert None not in read
    return seconds


def test_every_acknowledged_todo_is_in_kafka_after_sigterm(kafka: Kafka, start_edge: StartEdge) -> None:
    topic = create_topic(kafka.bootstrap_servers)
    edge = start_edge(kafka.bootstrap_servers, topic)
    load = Load(edge.url)
    assert asyncio.run(terminate_under_load(edge, load)) < STOP_SECONDS
    assert set(load.counts()) <= {202, 207, None}  # answered, or never reached the edge
    stored = {record.key.decode() for record in read_topic(kafka.bootstrap_servers, topic)}
    assert load.acknowledged <= stored
    assert "Traceback" not in edge.log


def test_sigterm_ends_in_bounded_time_while_kafka_is_frozen(own_kafka: Kafka, start_edge: StartEdge) -> None:
    topic = create_topic(own_kafka.bootstrap_servers)
    edge = start_edge(own_kafka.bootstrap_servers, topic)
    load = Load(edge.url)
    try:
        assert asyncio.run(terminate_under_load(edge, load, before=own_kafka.pause)) < STOP_SECONDS
    finally:
        own_kafka.resume()
    assert set(load.counts()) <= {202, 207, 503, None}
    assert max(answer.seconds for answer in load.answers) < PROMISE_SECONDS
    assert "Traceback" not in edge.log
