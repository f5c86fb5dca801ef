"""An HTTP load client that costs some microseconds per request, in a process of its own.

`python -m benchmarks.client JOB` takes a Job as JSON and prints a Result as JSON. Without a rate it is a closed loop:
each connection sends as soon as it has its answer. With a rate it is an open loop: requests are due at random moments
that do not wait for answers, and latency counts from the moment a request was due, so that a server which stalls is
charged for everything it kept waiting.
"""

import asyncio
import gc
import json
import math
import os
import random
import re
import sys
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import NamedTuple, cast

import uvloop

TICK_SECONDS = 0.001  # uvloop's timers are no finer
PATIENCE_SECONDS = 30.0
ID = re.compile(rb'"id": ?"([0-9a-f-]{36})"')
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass
class Job:
    """`batch` todos in each request, 0 for a single one that is no array; times in seconds."""

    port: int = 0
    path: str = "/new/"
    connections: int = 64
    seconds: float = 5.0
    warmup: float = 1.0
    rate: float | None = None
    batch: int = 0
    tag: str = "todo"
    seed: int = 1
    cores: list[int] = field(default_factory=list)
    keep_ids: bool = False
    token: str = ""


@dataclass
class Result:
    """`rate` and `latencies` are of the time after the warm-up; counts are of all. Latencies in milliseconds."""

    sent: int
    statuses: dict[str, int]
    ids: int
    distinct_ids: int
    rate: float
    latencies: dict[str, float]
    cpu_us_per_request: float
    server_us: float = 0.0  # processor time of the server for each todo, which the caller adds
    due: dict[str, float] = field(default_factory=dict)  # by id, seconds since 1970; only with keep_ids


class Answer(NamedTuple):
    status: int
    body: bytes


def parse_answer(data: bytes) -> Answer | None:
    """None while it is incomplete. Raises ValueError for what is no answer, or more than one."""
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        return None
    length = CONTENT_LENGTH.search(head)
    if length is None or not head.startswith(b"HTTP/1.1 ") or len(body) > int(length[1]):
        raise ValueError(f"not an answer with a length: {data[:200]!r}")
    return Answer(int(head[9:12]), body) if len(body) == int(length[1]) else None


def request_maker(job: Job) -> Callable[[int], bytes]:
    """From a number to the bytes of a request; each todo has a title of its own."""
    todo = b'{"title":"%s %%010d","description":"Finish pending homeworks"}' % job.tag.encode()
    size = len(todo % 0)
    length = size if not job.batch else job.batch * (size + 1) + 1
    head = f"POST {job.path} HTTP/1.1\r\nHost: 127.0.0.1:{job.port}\r\nContent-Type: application/json\r\n"
    head += f"Authorization: Bearer {job.token}\r\n" if job.token else ""
    start = f"{head}Content-Length: {length}\r\n\r\n".encode()
    if not job.batch:
        single = start + todo
        return lambda number: single % number
    return lambda number: (
        start + b"[" + b",".join([todo % n for n in range(number * job.batch, (number + 1) * job.batch)]) + b"]"
    )


def due_times(rate: float, seconds: float, seed: int) -> list[float]:
    """Arrivals of clients that know nothing of each other: exponential gaps, the same in every run."""
    draw, at, times = random.Random(seed), 0.0, []  # noqa: S311 - no secret
    while (at := at + draw.expovariate(rate)) < seconds:
        times.append(at)
    return times


def percentiles(values: list[float]) -> dict[str, float]:
    """Nearest rank: each of them was really measured."""
    ordered = sorted(values)
    if not ordered:
        return {}
    ranks = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
    return {name: ordered[math.ceil(share * len(ordered)) - 1] for name, share in ranks.items()}


class Connection(asyncio.Protocol):
    def __init__(self, load: "Load") -> None:
        self.load = load
        self.due = 0.0
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.WriteTransport", transport)

    def send(self, request: bytes, due: float) -> None:
        self.due = due
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if (answer := parse_answer(self.buffer)) is not None:
            self.buffer = b""
            self.load.answered(self, answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self.load.fail(ConnectionError(f"the server closed a connection: {exc}"))


class Load:
    """`due`, `done` and `answers` are in the order of the answers."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.make = request_maker(job)
        self.sent = 0
        self.due, self.done = array("d"), array("d")
        self.answers: list[Answer] = []
        self.connections: list[Connection] = []
        self.idle: deque[Connection] = deque()
        self.waiting: deque[float] = deque()  # due, and no connection is free
        self.over = False
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(self.job.connections):
            _, connection = await loop.create_connection(lambda: Connection(self), "127.0.0.1", self.job.port)
            self.connections.append(connection)
        self.idle.extend(self.connections)
        self.started = time.perf_counter()
        self.epoch = time.time() - self.started
        if self.job.rate is None:
            self._start_closed_loop(loop)
        else:
            times = due_times(self.job.rate, self.job.warmup + self.job.seconds, self.job.seed)
            self._tick(loop, deque(times))
        try:
            async with asyncio.timeout(self.job.warmup + self.job.seconds + PATIENCE_SECONDS):
                await self.finished
        finally:
            for connection in self.connections:
                connection.transport.close()

    def _start_closed_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_later(self.job.warmup + self.job.seconds, self._end)
        while self.idle:
            self._send(self.idle.popleft(), time.perf_counter())

    def _tick(self, loop: asyncio.AbstractEventLoop, times: deque[float]) -> None:
        now = time.perf_counter() - self.started
        while times and times[0] <= now:
            self.waiting.append(self.started + times.popleft())
        while self.waiting and self.idle:
            self._send(self.idle.popleft(), self.waiting.popleft())
        if times:
            loop.call_later(TICK_SECONDS, self._tick, loop, times)
        else:
            self._end()

    def _end(self) -> None:
        self.over = True
        self._finish_if_done()

    def _send(self, connection: Connection, due: float) -> None:
        connection.send(self.make(self.sent), due)
        self.sent += 1

    def answered(self, connection: Connection, answer: Answer) -> None:
        now = time.perf_counter()
        self.due.append(connection.due)
        self.done.append(now)
        self.answers.append(answer)
        if self.waiting:
            self._send(connection, self.waiting.popleft())
        elif self.job.rate is None and not self.over:
            self._send(connection, now)
        else:
            self.idle.append(connection)
            self._finish_if_done()

    def _finish_if_done(self) -> None:
        if self.over and not self.waiting and len(self.answers) == self.sent and not self.finished.done():
            self.finished.set_result(None)

    def fail(self, exc: Exception) -> None:
        if not self.finished.done():
            self.finished.set_exception(exc)

    def latencies(self) -> list[float]:
        """Milliseconds, of what was due after the warm-up."""
        start = self.started + self.job.warmup
        return [(done - due) * 1000 for due, done in zip(self.due, self.done, strict=True) if due >= start]

    def result(self, cpu_seconds: float) -> Result:
        start = self.started + self.job.warmup
        end = start + self.job.seconds
        ids = [[match.decode() for match in ID.findall(a.body)] if a.status < 300 else [] for a in self.answers]
        every_id = [todo_id for found in ids for todo_id in found]
        return Result(
            sent=self.sent,
            statuses=dict(Counter(str(answer.status) for answer in self.answers)),
            ids=len(every_id),
            distinct_ids=len(set(every_id)),
            rate=sum(start <= done < end for done in self.done) / self.job.seconds,
            latencies=percentiles(self.latencies()),
            cpu_us_per_request=cpu_seconds / max(self.sent, 1) * 1e6,
            due={i: self.epoch + due for found, due in zip(ids, self.due, strict=True) for i in found}
            if self.job.keep_ids
            else {},
        )


async def run(job: Job) -> Result:
    load = Load(job)
    gc.disable()  # a pause of the client would be charged to the server
    cpu = time.process_time()
    await load.run()
    cpu = time.process_time() - cpu
    return load.result(cpu)


def main() -> None:
    job = Job(**json.loads(sys.argv[1]))
    if job.cores:
        os.sched_setaffinity(0, job.cores)
    print(json.dumps(asdict(uvloop.run(run(job)))))


if __name__ == "__main__":
    main()
