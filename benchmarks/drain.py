"""The drain: one worker child against a backlog, beside what its two halves cost alone.

The serial limit is what one process could do that first reads with kafka-python and then stores with one COPY, and
does nothing else: 1 / (1 / COPY + 1 / read) rows per second.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from statistics import median
from typing import IO

import psycopg2

from benchmarks.backlog import Drained, checkpoint, drain, fill
from benchmarks.measures import Goal, Measure
from benchmarks.options import Options
from benchmarks.stats import growth_percent, serial_limit
from benchmarks.world import CORES, NotReconciled, World, run_module
from tests.support.stack import Stack

TABLES = "todos_todo, todos_batch, todos_partitionledger, todos_poller, todos_deadletter, todos_offsetloss"
EXACT = "SELECT count(*), count(DISTINCT (source_partition, source_offset)) FROM todos_todo"
BUFFER = 1 << 20
FLAT_PERCENT = 5.0


class Bench:
    def __init__(self, world: World, options: Options) -> None:
        self.options = options
        self.stack, self.naive_stack = world.stack(), world.stack()
        fill(self.stack, options.rows)
        fill(self.naive_stack, options.naive_rows)

    # --- Contenders: each one finds an empty table, and nothing left to be written

    def ours(self, concurrency: int) -> Drained:
        empty(self.stack)
        drained = drain(self.stack, concurrency=concurrency, max_records=self.options.max_records)
        check_exact(self.stack, self.options.rows)
        return drained

    def copy(self) -> float:
        """Rows per second of one COPY of the rows that were drained just now, into the same table."""
        with tempfile.TemporaryFile() as file, closing(psycopg2.connect(self.stack.database_url)) as database:
            with database.cursor() as cursor:
                cursor.copy_expert("COPY todos_todo TO STDOUT", file, BUFFER)
            database.rollback()
            empty(self.stack)
            file.seek(0)
            return self.options.rows / _copy_in(database, file)

    def read(self) -> float:
        """Records per second of kafka-python alone."""
        found = run_module("kafka_read", env=self.stack.env)
        if found["count"] != self.options.rows:
            raise NotReconciled(f"kafka-python alone read {found['count']} of {self.options.rows} records")
        return float(found["count"] / found["seconds"])

    def naive(self) -> float:
        empty(self.naive_stack)
        seconds = run_module("naive_consumer", self.options.naive_rows, env=self.naive_stack.env)
        if (stored := self.naive_stack.count("todo")) != self.options.naive_rows:
            raise NotReconciled(f"the naive consumer stored {stored} of {self.options.naive_rows}")
        return self.options.naive_rows / float(seconds)

    # --- Measures

    def measure(self) -> Iterator[Measure]:
        one, two, limit, parts = [], [], [], []
        for _ in range(self.options.rounds):
            one.append(self.ours(1))
            copy, read = self.copy(), self.read()
            limit.append(serial_limit(copy, read))
            parts.append((copy, read))
            two.append(self.ours(2))
        rates = [drained.rate for drained in one]
        note = "serial limit of one COPY at {:,.0f} rows/s and kafka-python alone at {:,.0f}".format(
            *(median(side) for side in zip(*parts, strict=True))
        )
        yield Measure("one child", "rows/s", rates, limit, "serial limit", Goal(0.6), note)
        busy = f"busy cores of {len(CORES)}, all programs: {_busy(one):.2f} with one child, {_busy(two):.2f} with two"
        yield Measure("two children", "rows/s", [drained.rate for drained in two], rates, "one child", Goal(1.0), busy)
        yield from memory(one)
        yield Measure("one child", "rows/s", [median(rates)], [self.naive()], "naive consumer")


def memory(drains: list[Drained]) -> Iterator[Measure]:
    most = [max(size for _, size in drained.memory) for drained in drains]
    growth = [growth_percent([size for _, size in drained.memory]) for drained in drains]
    yield Measure("most memory of the child", "MiB", most)
    note = "the most in the last third of the drain beside the most in the third before"
    raw = {"memory_mib": [[(round(at, 1), round(size, 1)) for at, size in each.memory] for each in drains]}
    goal = Goal(FLAT_PERCENT, "ours", at_most=True)
    yield Measure("growth of the child's memory", "%", growth, goal=goal, note=note, raw=raw)


def _busy(drains: list[Drained]) -> float:
    return median(drained.busy_cores for drained in drains)


def empty(stack: Stack) -> None:
    """Nothing of the topic is stored."""
    stack.rows(f"TRUNCATE {TABLES} CASCADE")
    checkpoint(stack)


def check_exact(stack: Stack, rows: int) -> None:
    found = (*stack.rows(EXACT)[0], stack.count("deadletter"), stack.count("offsetloss"))
    if found != (rows, rows, 0, 0) or stack.ledger() != stack.end_offsets():
        raise NotReconciled(f"rows, positions, dead letters and losses are {found}, wanted were {rows} of the first")


def _copy_in(database: "psycopg2.extensions.connection", file: IO[bytes]) -> float:
    started = time.perf_counter()
    with database, database.cursor() as cursor:  # commits at the end
        cursor.copy_expert("COPY todos_todo FROM STDIN", file, BUFFER)
    return time.perf_counter() - started


def run(world: World, options: Options) -> tuple[list[Measure], str]:
    bench = Bench(world, options)
    measures = list(bench.measure())
    return measures, f"{options.rows:,} in Kafka = stored, at as many positions, in every round"
