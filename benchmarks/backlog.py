"""A backlog in Kafka, and a real worker that drains it while its memory is watched."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psutil
import psycopg2

from benchmarks.world import CORES, NotReconciled, run_module
from devstack.process import Process
from tests.support.stack import Stack, children, query

SAMPLE_SECONDS = 0.25
PATIENCE_SECONDS = 60
SLOWEST = 1000  # rows per second; a slower drain counts as stuck
FIRST_POLL = "SELECT min(started_at) FROM todos_poller"
WAL = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"
LEDGER = "SELECT partition, next_offset, moved_at FROM todos_partitionledger WHERE topic = %s"


@dataclass
class Drained:
    """Seconds from the first poll's start to the last move of the ledger, by PostgreSQL's clock.

    `memory` is the resident set of the largest child in MiB, by the seconds since the first sample. `busy_cores` are
    the machine's, whoever used them.
    """

    rows: int
    seconds: float = 0.0
    memory: list[tuple[float, float]] = field(default_factory=list)
    busy_cores: float = 0.0

    @property
    def rate(self) -> float:
        return self.rows / self.seconds


def fill(stack: Stack, count: int) -> None:
    """`count` todos more in the topic, from as many producers as there are cores."""
    shares = [count // len(CORES)] * len(CORES)
    shares[0] += count - sum(shares)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda share: run_module("kafka_produce", share, env=stack.env), shares))


def drain(stack: Stack, *, concurrency: int = 1, max_records: int) -> Drained:
    """Everything that is in the topic and not stored, with the schedule of an operator who has a backlog."""
    ends = stack.end_offsets()
    drained = Drained(sum(ends.values()) - sum(stack.ledger().values()))
    stack.schedule(every_seconds=1, time_budget_seconds=60, max_records=max_records)  # each child gets its tick at once
    worker = stack.worker(concurrency=concurrency)
    checkpoint(stack)
    beat = stack.beat()
    try:
        _watch(Watch(stack.database_url, stack.kafka.topic), worker, ends, drained)
    finally:
        beat.stop()
        worker.stop()
    return drained


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


def _watch(watch: Watch, worker: Process, ends: dict[int, int], drained: Drained) -> None:
    began = time.monotonic()
    deadline = began + PATIENCE_SECONDS + drained.rows / SLOWEST
    first_poll: datetime | None = None
    while True:
        if first_poll is None and (first_poll := watch.first_poll()):
            psutil.cpu_percent()  # counts from here
        if first_poll:
            drained.memory.append((time.monotonic() - began, max(map(_resident, children(worker)), default=0.0)))
        ledger, moved_at = watch.ledger()
        if ledger == ends and first_poll:
            break
        if time.monotonic() > deadline:
            raise NotReconciled(f"the backlog was not drained in time: {ledger} of {ends}")
        time.sleep(SAMPLE_SECONDS)
    drained.busy_cores = psutil.cpu_percent() / 100 * len(CORES)
    watch.close()
    drained.seconds = (moved_at - first_poll).total_seconds()


def _resident(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        return float(process.memory_info().rss / 2**20)
    return 0.0
