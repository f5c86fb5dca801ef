"""The drain: worker children against a backlog, beside librdkafka's consumer and the serial limit.

The serial limit is what one process could do that first reads with kafka-python and then stores with one COPY, and
does nothing else: 1 / (1 / COPY + 1 / read) rows per second.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from statistics import median
from typing import IO, NamedTuple

import psycopg2

from benchmarks.backlog import Drained, checkpoint, drain, fill
from benchmarks.measures import Goal, Measure
from benchmarks.meter import core_seconds, since
from benchmarks.options import Options
from benchmarks.stats import growth_percent, serial_limit
from benchmarks.world import CORES, NotReconciled, World, run_module
from tests.support.stack import Stack

TABLES = "todos_todo, todos_batch, todos_partitionledger, todos_poller, todos_deadletter, todos_offsetloss"
EXACT = "SELECT count(*), count(DISTINCT (source_partition, source_offset)) FROM todos_todo"
BUFFER = 1 << 20
FLAT_PERCENT = 5.0
MANY_CHILDREN = 4  # measured where there are as many cores
PEER = "confluent-kafka"


class Peer(NamedTuple):
    """The same figures of the consumer that is compared, under the names that Drained has for them."""

    rate: float
    cpu: dict[str, float]
    first_row_seconds: float
    tree_memory: float

    def cpu_us(self, party: str) -> float:
        return self.cpu[party]


class Bench:
    def __init__(self, world: World, options: Options) -> None:
        self.options, self.services = options, world.services
        self.stack = world.stack()
        fill(self.stack, options.rows)

    # --- Contenders: each one finds an empty table, and nothing left to be written

    def ours(self, concurrency: int) -> Drained:
        empty(self.stack)
        drained = drain(self.stack, concurrency=concurrency, max_records=self.options.max_records)
        check_exact(self.stack, self.options.rows)
        return drained

    def confluent(self) -> Peer:
        empty(self.stack)
        rows = self.options.rows
        parties = {"postgres": [self.services.postgres.process], "kafka": [self.services.kafka.process]}
        before = core_seconds(parties)
        found = run_module("confluent_consumer", rows, env=self.stack.env)
        used = since(before, core_seconds(parties)) | {"worker": found["cpu_seconds"]}
        if (stored := self.stack.rows(EXACT)[0]) != (rows, rows):
            raise NotReconciled(f"{PEER} stored {stored[0]} rows of {stored[1]} positions, wanted were {rows}")
        cpu = {party: seconds / rows * 1e6 for party, seconds in used.items()}
        return Peer(rows / found["seconds"], cpu, found["first_row_seconds"], found["memory_mib"])

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

    # --- Measures

    def measure(self) -> Iterator[Measure]:
        one, parts, two, many, peers = [], [], [], [], []
        for _ in range(self.options.rounds):
            one.append(self.ours(1))
            parts.append((self.copy(), self.read()))
            peers.append(self.confluent())
            two.append(self.ours(2))
            if len(CORES) >= MANY_CHILDREN:
                many.append(self.ours(MANY_CHILDREN))
        rates = _rates(one)
        yield Measure("one child", "rows/s", rates, _rates(peers), PEER, Goal(1.3))
        note = "serial limit of one COPY at {:,.0f} rows/s and kafka-python alone at {:,.0f}".format(
            *(median(side) for side in zip(*parts, strict=True))
        )
        limit = [serial_limit(*rates) for rates in parts]
        yield Measure("one child", "rows/s", rates, limit, "serial limit", Goal(0.6), note)
        busy = f"busy cores of {len(CORES)}, all programs: {_busy(one):.2f} with one child, {_busy(two):.2f} with two"
        yield Measure("two children", "rows/s", _rates(two), rates, "one child", Goal(1.6), busy)
        if many:
            yield Measure("four children", "rows/s", _rates(many), rates, "one child")
        yield from costs(one, two, peers)
        yield growth(one)


def costs(one: list[Drained], two: list[Drained], peers: list[Peer]) -> Iterator[Measure]:
    """Processor time of each party, and what a start costs."""
    worker = _costs(one, "worker")
    name = "the worker's processor time"
    yield Measure(name, "us/todo", worker, _costs(peers, "worker"), PEER, _at_most(14))
    yield Measure(
        f"{name}, two children", "us/todo", _costs(two, "worker"), worker, "one child", Goal(1.15, at_most=True)
    )
    for party, title, goal in (("postgres", "PostgreSQL", _at_most(17)), ("kafka", "Kafka", None)):
        sides = _costs(one, party), _costs(peers, party)
        yield Measure(f"{title}'s processor time", "us/todo", *sides, PEER, goal)
    sides = [drained.first_row_seconds for drained in one], [peer.first_row_seconds for peer in peers]
    yield Measure("from the worker's start to its first row", "s", *sides, PEER, _at_most(3))
    sides = [drained.tree_memory for drained in one], [peer.tree_memory for peer in peers]
    yield Measure("most memory of the worker and its child", "MiB", *sides, PEER, _at_most(230))


def growth(drains: list[Drained]) -> Measure:
    percents = [growth_percent([size for _, size in drained.child_memory]) for drained in drains]
    note = "the most in the last third of the drain beside the most in the third before"
    raw = {"memory_mib": [[(round(at, 1), round(size, 1)) for at, size in each.child_memory] for each in drains]}
    return Measure("growth of the child's memory", "%", percents, goal=_at_most(FLAT_PERCENT), note=note, raw=raw)


def _at_most(limit: float) -> Goal:
    return Goal(limit, "ours", at_most=True)


def _rates(contender: Sequence[Drained | Peer]) -> list[float]:
    return [each.rate for each in contender]


def _costs(contender: Sequence[Drained | Peer], party: str) -> list[float]:
    return [each.cpu_us(party) for each in contender]


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
