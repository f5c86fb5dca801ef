"""A backlog in Kafka, and a real worker that drains it while its memory is watched."""

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import psycopg2
from django.conf import settings
from redis import Redis

from benchmarks.meter import Seconds, child_memory, core_seconds, since, tree_memory
from benchmarks.world import CORES, NotReconciled, run_module
from devstack.process import Process
from tests.support.stack import Stack, query
from tests.support.waiting import eventually

SAMPLE_SECONDS = 0.25
SAMPLES_PER_TREE = 4  # the memory of a tree costs 10 ms a process, and stops it meanwhile
PATIENCE_SECONDS = 60
TICK_SECONDS = 10  # until a tick expires
SLOWEST = 1000  # rows per second; a slower drain counts as stuck
FIRST_POLL = "SELECT min(started_at) FROM todos_poller"
FIRST_ROW = """
    SELECT extract(epoch FROM min(created_at + milliseconds * interval '1 ms'))::float
    FROM todos_batch WHERE first_offset IS NOT NULL AND created_at >= to_timestamp(%s)
"""
WAL = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"
LEDGER = "SELECT partition, next_offset, moved_at FROM todos_partitionledger WHERE topic = %s"


@dataclass
class Drained:
    """What a drain of so many rows took.

    `seconds` run from the first poll's start to the last move of the ledger, `first_row_seconds` from the worker's
    start to the end of its first transaction. `used` holds core-seconds by party, from when the worker is ready to the
    end. Memory is in MiB: the most of the worker's whole tree, and the largest child's by the seconds since then.
    """

    rows: int
    seconds: float
    first_row_seconds: float
    used: Seconds
    busy_cores: float  # including those that other programs kept busy
    tree_memory: float
    child_memory: list[tuple[float, float]]

    @property
    def rate(self) -> float:
        return self.rows / self.seconds

    def cpu_us(self, party: str) -> float:
        """Return the microseconds that a todo costs a party."""
        return self.used[party] / self.rows * 1e6


def fill(stack: Stack, count: int) -> None:
    """`count` todos more in the topic, from as many producers as there are cores."""
    shares = [count // len(CORES)] * len(CORES)
    shares[0] += count - sum(shares)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda share: run_module("kafka_produce", share, env=stack.env), shares))


def drain(stack: Stack, *, concurrency: int = 1, max_records: int) -> Drained:
    """Everything that is in the topic and not stored, with the schedule of an operator who has a backlog."""
    ends = stack.end_offsets()
    rows = sum(ends.values()) - sum(stack.ledger().values())
    stack.schedule(every_seconds=1, expire_seconds=TICK_SECONDS, time_budget_seconds=60, max_records=max_records)
    checkpoint(stack)
    _start_beat(stack, ticks=concurrency)
    started = time.time()
    try:
        worker = stack.worker(concurrency=concurrency)
        with closing(Watch(stack.database_url, stack.kafka.topic)) as watch:
            return _watch(stack, watch, worker, started, rows, ends)
    finally:
        stack.processes["beat"].stop()
        stack.processes["worker"].stop()


def _start_beat(stack: Stack, *, ticks: int) -> None:
    """Wait until there is a tick for each child, so that no child waits for one."""
    with closing(Redis.from_url(stack.redis_url)) as redis:
        redis.flushdb()  # what an earlier drain left
        stack.beat()
        queued = partial(redis.llen, settings.CELERY_TASK_DEFAULT_QUEUE)
        eventually(lambda: queued() >= ticks, seconds=PATIENCE_SECONDS, what="beat's ticks")


def checkpoint(stack: Stack) -> None:
    """What one contender left to be written must not slow down the next."""
    query(stack.database_url, "CHECKPOINT")


class Watch:
    """One connection for all samples: a new one each time would cost PostgreSQL more than the query."""

    def __init__(self, database_url: str, topic: str) -> None:
        self.topic = topic
        self._database = psycopg2.connect(database_url)
        self._database.autocommit = True

    def first_poll(self) -> datetime | None:
        started_at: datetime | None = self._rows(FIRST_POLL)[0][0]
        return started_at

    def first_row(self, since: float) -> float:
        """When the first transaction after `since` ended; both in seconds since 1970."""
        return float(self._rows(FIRST_ROW, since)[0][0])

    def ledger(self) -> tuple[dict[int, int], datetime]:
        """Next offsets, and when the last of them moved."""
        rows = self._rows(LEDGER, self.topic)
        moves = [moved_at for _, _, moved_at in rows if moved_at]
        return {partition: offset for partition, offset, _ in rows}, max(moves, default=datetime.min)  # noqa: DTZ901

    def wal(self) -> int:
        """Bytes that were ever written to PostgreSQL's log."""
        return int(self._rows(WAL)[0][0])

    def _rows(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        with self._database.cursor() as cursor:
            cursor.execute(sql, params)
            return cursor.fetchall()

    def close(self) -> None:
        self._database.close()


def _watch(stack: Stack, watch: Watch, worker: Process, started: float, rows: int, ends: dict[int, int]) -> Drained:
    services = stack.services
    parties = {"worker": [worker], "postgres": [services.postgres.process], "kafka": [services.kafka.process]}
    before, began = core_seconds(parties), time.monotonic()
    deadline = began + PATIENCE_SECONDS + rows / SLOWEST
    first_poll: datetime | None = None
    most, samples = 0.0, []
    for number in itertools.count():
        if number % SAMPLES_PER_TREE == 0:
            most = max(most, tree_memory(worker))
        first_poll = first_poll or watch.first_poll()
        if first_poll:
            samples.append((time.monotonic() - began, child_memory(worker)))
        ledger, moved_at = watch.ledger()
        if first_poll and ledger == ends:
            seconds = (moved_at - first_poll).total_seconds()
            break
        if time.monotonic() > deadline:
            raise NotReconciled(f"the backlog was not drained in time: {ledger} of {ends}")
        time.sleep(SAMPLE_SECONDS)
    used, elapsed = since(before, core_seconds(parties)), time.monotonic() - began
    return Drained(
        rows=rows,
        seconds=seconds,
        first_row_seconds=watch.first_row(started) - started,
        used=used,
        busy_cores=min(sum(used.values()) / elapsed, len(CORES)),
        tree_memory=most,
        child_memory=samples,
    )
