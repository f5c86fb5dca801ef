"""Send todos into the pipeline, and count what came out."""

import itertools
import json
import random
import threading
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx

from tests.support.stack import Stack
from tests.support.waiting import Stopwatch

POISON: tuple[bytes | None, ...] = (
    b"not JSON",
    b"{}",
    b'{"title": "a\\u0000b"}',
    b'{"title": "\\ud800"}',
    b"\xff\xfe",
    None,
)
POISON_KEY = b"poison"


@dataclass
class Sent:
    """What a test put into the topic: the ids of its todos, how many were sent twice, and where the poison lies."""

    ids: list[str] = field(default_factory=list)
    duplicates: int = 0
    poison: set[tuple[int, int]] = field(default_factory=set)

    def __add__(self, other: "Sent") -> "Sent":
        return Sent(self.ids + other.ids, self.duplicates + other.duplicates, self.poison | other.poison)


def produce(stack: Stack, count: int, *, duplicates: int = 0, poison: int = 0, seed: int = 1) -> Sent:
    """All of it acknowledged: `count` todos with the duplicates and the poison somewhere between them."""
    ids = [str(uuid.uuid4()) for _ in range(count)]
    todos = [(todo_id.encode(), _event(todo_id)) for todo_id in [*ids, *ids[:duplicates]]]
    records = todos + [(POISON_KEY, POISON[number % len(POISON)]) for number in range(poison)]
    random.Random(seed).shuffle(records)
    producer = stack.producer()
    try:
        futures = [(key, producer.send(stack.kafka.topic, value, key=key)) for key, value in records]
        producer.flush(60)
        placed = [(key, future.get(60)) for key, future in futures]
    finally:
        producer.close()
    return Sent(ids, duplicates, {(at.partition, at.offset) for key, at in placed if key == POISON_KEY})


def _event(todo_id: str) -> bytes:
    return json.dumps({"id": todo_id, "title": f"todo {todo_id}", "created_at": "2026-01-02T03:04:05Z"}).encode()


def assert_exact(stack: Stack, sent: Sent) -> None:
    """Assert that each record of the topic is a todo, a dead letter or the duplicate of a todo, and is so once."""
    ends = stack.end_offsets()
    assert ends == stack.ledger()
    assert sum(ends.values()) == len(sent.ids) + sent.duplicates + len(sent.poison)
    stored = Counter(todo_id for (todo_id,) in stack.rows("SELECT id::text FROM todos_todo"))
    wrong = Counter(sent.ids)
    wrong.subtract(stored)
    assert [] == [difference for difference in wrong.items() if difference[1]][:5]
    assert len(sent.ids) == stored.total()
    positions = stack.rows("SELECT count(DISTINCT (source_partition, source_offset)) FROM todos_todo")
    assert [(len(sent.ids),)] == positions
    assert sorted(sent.poison) == sorted(stack.rows('SELECT partition, "offset" FROM todos_deadletter'))
    assert 0 == stack.count("offsetloss")


class Answer(NamedTuple):
    title: str
    status: int
    seconds: float  # of a Stopwatch
    body: dict[str, Any]
    retry_after: str | None


class Background:
    """Does `run` in THREADS threads, again and again, until it leaves its `with` block; then raises what went wrong."""

    THREADS = 1
    PAUSE_SECONDS = 0.05

    def __init__(self, url: str) -> None:
        self.url = url
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(self.THREADS)

    def __enter__(self) -> Self:
        self._running = [self._pool.submit(self._run, thread) for thread in range(self.THREADS)]
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._pool.shutdown()
        for running in self._running:
            running.result()  # a server that broke a connection, or did not answer at all

    def _run(self, thread: int) -> None:
        with httpx.Client(base_url=self.url, timeout=60) as client:
            for number in itertools.count():
                if self._stop.wait(self.PAUSE_SECONDS):
                    return
                self.run(client, thread, number)

    def run(self, client: httpx.Client, thread: int, number: int) -> None:
        raise NotImplementedError


class Load(Background):
    """POSTs todos with titles of their own.

    To the stack's edge, unless there is another `edge_url`; `fields` are those of each todo beside its title.
    """

    THREADS = 4

    def __init__(self, stack: Stack, edge_url: str = "", **fields: str) -> None:
        super().__init__(edge_url or stack.edge_url)
        self.stack, self.fields = stack, fields
        self.name = uuid.uuid4().hex[:8]
        self.answers: list[Answer] = []

    def count(self, status: int, *, since: int = 0) -> int:
        return sum(answer.status == status for answer in self.answers[since:])

    def run(self, client: httpx.Client, thread: int, number: int) -> None:
        self.answers.append(post(client, f"{self.name} {thread} {number}", **self.fields))

    def assert_stored_exactly_once(self) -> None:
        """What got a 202 is stored once, under its id and position; what got a 503 at most once."""
        rows = self.stack.rows(
            "SELECT title, id::text, source_partition, source_offset FROM todos_todo WHERE title LIKE %s",
            f"{self.name} %",
        )
        stored = {title: place for title, *place in rows}
        assert len(rows) == len(stored)
        accepted = [answer for answer in self.answers if answer.status == 202]
        assert accepted
        assert [] == [answer for answer in accepted if answer.title not in stored][:5]
        assert [] == [answer for answer in accepted if stored[answer.title][0] != answer.body["id"]][:5]
        assert stored.keys() <= {answer.title for answer in self.answers}


def post(client: httpx.Client, title: str, **fields: str) -> Answer:
    watch = Stopwatch()
    answer = client.post("/new/", json={"title": title} | fields)
    seconds = watch.seconds
    return Answer(title, answer.status_code, seconds, answer.json(), answer.headers.get("Retry-After"))
