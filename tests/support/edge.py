"""Run a real edge process, put load on it, and read what Kafka holds."""

import asyncio
import math
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import NewTopic
from kafka.consumer.fetcher import ConsumerRecord

from devstack.ports import free_port
from tests.support.renamed import renamed
from tests.support.waiting import Stopwatch, eventually

ROOT = Path(__file__).parents[2]
PROMISE_SECONDS = 5.0
HANG_SECONDS = 60.0  # a request without an answer by then fails the test at once
TODO = {"title": "Do homework", "description": "Finish pending homeworks"}
BATCH = [TODO, {"title": ""}, *[TODO] * 20]  # the second one is rejected


# The test runs twice: with batches, and with kafka-python's public API alone, since a name inside it has changed.
either_kafka_api = pytest.mark.parametrize(
    "edge_environ", [{}, renamed("kafka", "_tp_lock")], ids=["inside", "public API"], indirect=True
)


def create_topic(bootstrap_servers: str, partitions: int = 3, name: str = "", **configs: str) -> str:
    """`configs` are Kafka's, with _ for each dot."""
    name = name or f"test-{uuid.uuid4().hex[:8]}"
    configs = {key.replace("_", "."): value for key, value in configs.items()}
    admin = KafkaAdminClient(bootstrap_servers=bootstrap_servers, api_version=(4, 0))
    try:
        admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs)])
    finally:
        admin.close()
    return name


def read_topic(bootstrap_servers: str, topic: str, partitions: int = 3) -> list[ConsumerRecord]:
    """Every record from the first offset to the end offsets at the time of the call."""
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap_servers, group_id=None, enable_auto_commit=False, api_version=(4, 0)
    )
    try:
        consumer.assign([TopicPartition(topic, number) for number in range(partitions)])
        ends = consumer.end_offsets(consumer.assignment())
        consumer.seek_to_beginning()
        records: list[ConsumerRecord] = []
        watch = Stopwatch()
        while any(consumer.position(partition) < end for partition, end in ends.items()):
            assert watch.seconds < 60, f"read only {len(records)} records of {ends}"
            for batch in consumer.poll(timeout_ms=500, max_records=10_000).values():
                records.extend(batch)
        return records
    finally:
        consumer.close()


class EdgeProcess:
    """`python -m edge_api` on a free port, with its log in a file."""

    def __init__(self, directory: Path, bootstrap_servers: str, topic: str, **environ: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = directory / f"edge-{port}.log"
        own = ("EDGE_", "KAFKA_")
        self._environ = {name: value for name, value in os.environ.items() if not name.startswith(own)} | {
            "EDGE_PORT": str(port),
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
            "KAFKA_TOPIC": topic,
            "EDGE_AUTH": "open",
            **environ,
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return self._log.read_text()

    def start(self) -> None:
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "edge_api"]
            self.process = subprocess.Popen(command, cwd=ROOT, env=self._environ, stdout=log, stderr=log)
        eventually(lambda: self.status("/healthz") == 200, seconds=30, what=f"the edge; its log: {self._log}")

    def status(self, path: str) -> int | None:
        try:
            return httpx.get(self.url + path, timeout=HANG_SECONDS).status_code
        except httpx.TransportError:
            return None

    def wait_ready(self, seconds: float = 30) -> None:
        eventually(lambda: self.status("/readyz") == 200, seconds=seconds, what="the edge to be ready")

    def terminate(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """Stop the process, by force if it does not end within 30 seconds, and return its exit code."""
        if self.process is None:
            return 0
        self.terminate()
        try:
            return self.process.wait(30)
        finally:
            self.process.kill()
            self.process.wait()


StartEdge = Callable[..., EdgeProcess]


@dataclass
class Answer:
    """`begin` and `sent` are of time.monotonic(), `seconds` are a Stopwatch's.

    Without a status the connection broke before an answer came.
    """

    begin: float
    sent: float = math.inf
    seconds: float = 0.0
    status: int | None = None
    headers: httpx.Headers = field(default_factory=httpx.Headers)
    body: dict[str, Any] = field(default_factory=dict)

    async def note(self, event: str, _info: dict[str, Any]) -> None:
        """As httpcore's trace extension calls it: note when the last byte of the request was sent."""
        if event == "http11.send_request_body.complete":
            self.sent = time.monotonic()


@dataclass
class Load:
    """Clients that post todos and batches of them, one after the other, until they are told to stop."""

    url: str
    answers: list[Answer] = field(default_factory=list)
    health_seconds: list[float] = field(default_factory=list)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def acknowledged(self) -> set[str]:
        bodies = [answer.body for answer in self.answers if answer.status in (202, 207)]
        results = [result for body in bodies for result in body.get("results", [body])]
        return {result["id"] for result in results if "id" in result}

    def counts(self, since: float = 0.0) -> Counter[int | None]:
        return Counter(answer.status for answer in self.answers if answer.begin >= since)

    async def until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        watch = Stopwatch()
        while not condition():
            assert watch.seconds < seconds, f"{what}: not within {seconds:g} s; {self.counts()}"
            await asyncio.sleep(0.05)

    @asynccontextmanager
    async def running(self, clients: int = 20, batch_clients: int = 0) -> AsyncIterator["Load"]:
        """Leaves only when every request has its answer; a request that hangs fails the test."""
        async with httpx.AsyncClient(base_url=self.url, timeout=HANG_SECONDS) as client:
            work = [self._post_on(client, "/new/", TODO) for _ in range(clients)]
            work += [self._post_on(client, "/new/batch/", BATCH) for _ in range(batch_clients)]
            work.append(self._watch_health(client))
            tasks = [asyncio.create_task(each) for each in work]
            try:
                yield self
            finally:
                self._stop.set()
                await asyncio.gather(*tasks)

    async def _post_on(self, client: httpx.AsyncClient, path: str, content: object) -> None:
        while not self._stop.is_set():
            answer, watch = Answer(time.monotonic()), Stopwatch()
            try:
                response = await client.post(path, json=content, extensions={"trace": answer.note})
            except httpx.TimeoutException:
                raise
            except httpx.TransportError:
                self.answers.append(answer)
                await asyncio.sleep(0.05)
                continue
            answer.seconds = watch.seconds
            answer.status, answer.headers, answer.body = response.status_code, response.headers, response.json()
            self.answers.append(answer)
            await asyncio.sleep(0.01)

    async def _watch_health(self, client: httpx.AsyncClient) -> None:
        while not self._stop.is_set():
            watch = Stopwatch()
            try:
                await client.get("/healthz")
            except httpx.TimeoutException:
                raise
            except httpx.TransportError:
                pass
            self.health_seconds.append(watch.seconds)
            await asyncio.sleep(0.1)
