"""The whole pipeline on its default schedule: from when a POST is due until the API's list shows the todo."""

import http.client
import re
import time
from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

from benchmarks import load
from benchmarks.client import ID, Job, Result, percentiles
from benchmarks.measures import Goal, Measure
from benchmarks.options import Options
from benchmarks.world import NotReconciled, World
from tests.support.stack import Stack

CONNECTIONS = 64
WARMUP_SECONDS = 5.0
POLL_SECONDS = 0.02
PAGE_SIZE = 50
SWEEP_SECONDS, SWEEP_SIZE = 0.25, 500  # for a todo that is stored later than a page of newer ones of other partitions
NEXT = re.compile(rb'"next":"http://[^/"]+([^"]+)"')
GOALS = {"p50": 50, "p99": 250}
# Per partition: nothing of it was stored for that long, though todos came all the time.
GAPS = """
    SELECT coalesce(extract(epoch FROM max(gap)), 0) FROM (
        SELECT created_at - lag(created_at) OVER (PARTITION BY partition ORDER BY created_at, id) AS gap
        FROM todos_batch WHERE first_offset IS NOT NULL AND created_at BETWEEN to_timestamp(%s) AND to_timestamp(%s)
    ) AS gaps
"""


class Page(NamedTuple):
    ends_with_news: bool
    next_path: str | None


class ListWatcher:
    """Polls the list, newest first, and notes when it first saw each id."""

    def __init__(self, port: int, token: str) -> None:
        self._headers = {"Authorization": f"Bearer {token}"}
        self.connection = http.client.HTTPConnection("127.0.0.1", port)
        self.seen: dict[str, float] = {}
        self.polls = 0
        self._next_sweep = 0.0

    def watch(self, client: load.Client) -> None:
        """Until the client has ended."""
        while client.is_running():
            started = time.monotonic()
            self._poll(started)
            self.polls += 1
            time.sleep(max(0.0, started + POLL_SECONDS - time.monotonic()))

    def _poll(self, now: float) -> None:
        """The newest page, and on until a page ends with a todo that is known."""
        size = PAGE_SIZE
        if now >= self._next_sweep:
            size, self._next_sweep = SWEEP_SIZE, now + SWEEP_SECONDS
        path: str | None = f"/api/todos/?page_size={size}"
        while path and (page := self._read(path)).ends_with_news:
            path = page.next_path

    def read_all(self) -> None:
        """Whatever slipped through counts as seen now."""
        self.connection.close()  # the server has, meanwhile; the next request opens it anew
        path: str | None = "/api/todos/?page_size=1000"
        while path:
            path = self._read(path).next_path

    def _read(self, path: str) -> Page:
        self.connection.request("GET", path, headers=self._headers)
        body = self.connection.getresponse().read()
        now = time.time()
        ids = [found.decode() for found in ID.findall(body)]
        ends_with_news = bool(ids) and ids[-1] not in self.seen
        for todo_id in ids:
            self.seen.setdefault(todo_id, now)
        link = NEXT.search(body)
        return Page(ends_with_news, link[1].decode() if link else None)


def run(world: World, options: Options) -> tuple[list[Measure], str]:
    stack = world.stack()
    stack.worker(concurrency=2)
    stack.beat()
    stack.web()
    stack.edge(env={"EDGE_AUTH": "token"})
    token = stack.token(stack.user())
    watcher = ListWatcher(stack.web_port, token)
    with closing(load.Client(_job(stack, options, token))) as client:
        watcher.watch(client)
        result = client.result()
    stack.wait_until_drained(seconds=60)
    watcher.read_all()
    reconciled = reconcile(stack, result, watcher)
    return list(measures(stack, result, watcher, options)), reconciled


def _job(stack: Stack, options: Options, token: str) -> Job:
    return Job(
        stack.edge_port,
        connections=CONNECTIONS,
        warmup=WARMUP_SECONDS,
        seconds=options.latency_seconds,
        rate=options.rate,
        tag="latency",
        keep_ids=True,
        token=token,
    )


def reconcile(stack: Stack, result: Result, watcher: ListWatcher) -> str:
    counts = {
        "sent": result.sent,
        "acknowledged": len(result.due),
        "in Kafka": sum(stack.end_offsets().values()),
        "stored": stack.count("todo"),
        "seen in the list": len(watcher.seen.keys() & result.due.keys()),
    }
    if len(set(counts.values())) > 1:
        raise NotReconciled(f"{counts}")
    return f"{result.sent:,} acknowledged = in Kafka = stored = seen in the list"


def measures(stack: Stack, result: Result, watcher: ListWatcher, options: Options) -> Iterator[Measure]:
    first = min(result.due.values()) + WARMUP_SECONDS
    due = {todo_id: at for todo_id, at in result.due.items() if at >= first}
    stored = dict(stack.rows("SELECT id::text, extract(epoch FROM stored_at)::float FROM todos_todo"))
    visible = percentiles([(watcher.seen[todo_id] - at) * 1000 for todo_id, at in due.items()])
    in_database = percentiles([(stored[todo_id] - at) * 1000 for todo_id, at in due.items()])
    what = f"{options.rate:,.0f} POSTs/s for {options.latency_seconds:,.0f} s"
    every = options.latency_seconds / max(watcher.polls, 1) * 1000
    for rank, value in visible.items():
        goal = Goal(GOALS[rank], "ours", at_most=True) if rank in GOALS else None
        yield Measure(f"POST to visible: {rank}", "ms", [value], goal=goal)
    for rank, value in in_database.items():
        yield Measure(f"POST to its transaction: {rank}", "ms", [value])
    for rank in ("p50", "p99"):
        yield Measure(f"POST to 202: {rank}", "ms", [result.latencies[rank]])
    (gap,) = stack.rows(GAPS, first, max(result.due.values()))[0]
    note = f"{what}, the list was read every {every:.0f} ms"
    yield Measure("longest time without a batch of a partition", "s", [float(gap)], note=note)
