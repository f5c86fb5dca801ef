"""Kafka frozen, stopped or not yet there: bounded answers, no blocked loop, recovery without a restart."""

import asyncio
import time
from collections.abc import Callable

import httpx
import psutil
import pytest

from devstack import Kafka
from tests.support.edge import (
    HANG_SECONDS,
    PROMISE_SECONDS,
    TODO,
    EdgeProcess,
    Load,
    create_topic,
    either_kafka_api,
    read_topic,
)
from tests.support.waiting import Stopwatch

StartEdge = Callable[..., EdgeProcess]
OUTAGES = [(Kafka.pause, Kafka.resume), (Kafka.kill, Kafka.start)]


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@either_kafka_api
@pytest.mark.parametrize(("begin_outage", "end_outage"), OUTAGES, ids=["frozen", "killed"])
def test_an_outage_under_load(
    own_kafka: Kafka,
    start_edge: StartEdge,
    begin_outage: Callable[[Kafka], None],
    end_outage: Callable[[Kafka], None],
) -> None:
    topic = create_topic(own_kafka.bootstrap_servers)
    edge = start_edge(own_kafka.bootstrap_servers, topic)
    edge.wait_ready()
    assert edge.process is not None
    process = psutil.Process(edge.process.pid)
    load = Load(edge.url)

    async def outage() -> None:
        async with load.running(batch_clients=4):
            await load.until(lambda: load.counts()[202] > 100, 60, "todos are taken")
            threads = process.num_threads()
            try:
                await asyncio.to_thread(begin_outage, own_kafka)
                begin = time.monotonic()
                await load.until(lambda: load.counts(begin)[503] > 100, 30, "todos are refused")
                assert edge.status("/readyz") == 503
            finally:
                await asyncio.to_thread(end_outage, own_kafka)
            over = time.monotonic()
            await load.until(lambda: load.counts(over)[202] > 100, 60, "todos are taken again")
            await load.until(lambda: process.num_threads() <= threads + 1, 30, "the old producer is gone")

    asyncio.run(outage())
    assert set(load.counts()) == {202, 207, 503}  # 207: each batch holds a todo that is rejected
    assert max(answer.seconds for answer in load.answers) < PROMISE_SECONDS
    assert max(load.health_seconds) < PROMISE_SECONDS
    refused = [answer for answer in load.answers if answer.status == 503]
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert all("stored" in answer.body["detail"] for answer in refused)  # whether it may be stored is always said
    assert "Replaced the Kafka producer" in edge.log
    stored = {record.key.decode() for record in read_topic(own_kafka.bootstrap_servers, topic)}
    assert load.acknowledged <= stored


@either_kafka_api
def test_the_edge_starts_before_kafka_and_idles_cheaply(own_kafka: Kafka, start_edge: StartEdge) -> None:
    topic = create_topic(own_kafka.bootstrap_servers)
    own_kafka.stop()
    try:
        edge = start_edge(own_kafka.bootstrap_servers, topic)
        assert edge.process is not None
        process = psutil.Process(edge.process.pid)
        watch = Stopwatch()
        assert httpx.post(f"{edge.url}/new/", json=TODO, timeout=HANG_SECONDS).status_code == 503
        assert watch.seconds < PROMISE_SECONDS
        cpu, files, begin = cpu_seconds(process), process.num_fds(), time.monotonic()
        time.sleep(2)  # what is measured is what the edge does in this time, not that it is over
        assert (cpu_seconds(process) - cpu) / (time.monotonic() - begin) < 0.5
        assert process.num_fds() < files + 20
    finally:
        own_kafka.start()
    edge.wait_ready()
    assert httpx.post(f"{edge.url}/new/", json=TODO).status_code == 202
