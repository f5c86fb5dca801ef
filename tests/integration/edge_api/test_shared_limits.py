"""Two edge processes and one Redis: together they let in what one of them may, and neither waits for Redis."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from devstack import Kafka, Valkey
from tests.support.edge import TODO, EdgeProcess, create_topic
from tests.support.stack import running
from tests.support.waiting import Stopwatch, eventually

RATE, BURST_SECONDS = 8, 5
BURST = RATE * BURST_SECONDS
SHARED = "todo_edge_rate_limits_shared"


def metric(edge: EdgeProcess, name: str) -> float:
    lines = httpx.get(f"{edge.url}/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


class Answers(NamedTuple):
    """When each todo was answered, and how many of them were let in."""

    times: list[float]
    let_in: int

    def of_one_bucket(self, tokens: float) -> int:
        """How many one bucket lets in that begins with so many tokens; what pauses cost it, they cost any."""
        count, last = 0, self.times[0]
        for at in self.times:
            tokens, last = min(BURST, tokens + RATE * (at - last)), at
            if tokens >= 1:
                tokens, count = tokens - 1, count + 1
        return count


def post(edges: list[EdgeProcess], seconds: float) -> Answers:
    """Post todos without pause, to each edge in turn."""
    times, let_in, end = [], 0, time.monotonic() + seconds
    with httpx.Client(timeout=60) as client:
        while time.monotonic() < end:
            for edge in edges:
                watch = Stopwatch()
                answer = client.post(f"{edge.url}/new/", json=TODO)
                assert watch.seconds < 2
                assert answer.status_code in (202, 429)
                times.append(time.monotonic())
                let_in += answer.status_code == 202
    return Answers(times, let_in)


@pytest.fixture
def own_valkey(tmp_path: Path) -> Valkey:
    return Valkey(tmp_path / "valkey")


def test_edges_share_a_limit_and_go_on_without_redis(
    kafka: Kafka, own_valkey: Valkey, start_edge: Callable[..., EdgeProcess]
) -> None:
    topic = create_topic(kafka.bootstrap_servers)
    limits = {"EDGE_RATE_LIMIT_PER_ADDRESS": str(RATE), "EDGE_RATE_LIMIT_BURST_SECONDS": str(BURST_SECONDS)}
    with running(own_valkey):
        limits["EDGE_REDIS_URL"] = own_valkey.url
        edges = [start_edge(kafka.bootstrap_servers, topic, **limits) for _ in range(2)]
        for edge in edges:
            edge.wait_ready()
        answers = post(edges, 6)
        # Apart they would let in twice the burst, and twice the rate.
        wanted = answers.of_one_bucket(BURST)
        assert 0.8 * wanted < answers.let_in < 1.3 * wanted
        assert [1, 1] == [metric(edge, SHARED) for edge in edges]

    post(edges, 1)
    eventually(lambda: [0, 0] == [metric(edge, SHARED) for edge in edges], seconds=10, what="Redis to be missed")
    assert "Rate limits: each process by itself" in edges[0].log
    answers = post(edges, 4)
    assert answers.let_in > 1.3 * answers.of_one_bucket(0)  # each by itself

    with running(own_valkey):
        eventually(lambda: [1, 1] == [metric(edge, SHARED) for edge in edges], seconds=10, what="Redis to be found")
