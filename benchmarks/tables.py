"""One table of todos beside the same todos in partitions: how fast the drain's own statement inserts into each.

Ids of the edge begin with their time, so they come at the right end of the index; ids that are made of an
Idempotency-Key come anywhere in it.
"""

import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from io import BytesIO
from itertools import pairwise

import psycopg2
from uuid_utils.compat import uuid7

from benchmarks.backlog import checkpoint
from benchmarks.growth import DAYS, GENERATED, generate
from benchmarks.measures import Measure
from benchmarks.options import Options
from benchmarks.world import NotReconciled, World
from tests.support.stack import Stack
from todos.ingest.parsing import TodoRow, copy_lines
from todos.ingest.store import COPY_TODOS, FIND_STORED

PLAIN = "todos_todo"
HASHES = 16


def by_hash(stack: Stack) -> str:
    stack.rows(f"CREATE TABLE by_hash (LIKE {PLAIN} INCLUDING ALL) PARTITION BY HASH (id)")
    for number in range(HASHES):
        bounds = f"WITH (MODULUS {HASHES}, REMAINDER {number})"
        stack.rows(f"CREATE TABLE by_hash_{number} PARTITION OF by_hash FOR VALUES {bounds}")
    return "by_hash"


def by_day(stack: Stack) -> str:
    """Of the id; those that are made of a key, and what is younger, have one of their own."""
    stack.rows(f"CREATE TABLE by_day (LIKE {PLAIN} INCLUDING ALL) PARTITION BY RANGE (id)")
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    days = [today + timedelta(days=number) for number in range(-int(DAYS) - 1, 3)]
    for number, (start, end) in enumerate(pairwise(days)):
        bounds = f"FROM ('{_first_id(start)}') TO ('{_first_id(end)}')"
        stack.rows(f"CREATE TABLE by_day_{number} PARTITION OF by_day FOR VALUES {bounds}")
    stack.rows("CREATE TABLE by_day_other PARTITION OF by_day DEFAULT")
    return "by_day"


def _first_id(moment: datetime) -> uuid.UUID:
    """No UUIDv7 of that time or later is less."""
    return uuid.UUID(int=int(moment.timestamp() * 1000) << 80)


class Tables:
    def __init__(self, stack: Stack, options: Options) -> None:
        self.stack, self.options, self.offset = stack, options, 0
        generate(stack, options.growth_rows)
        self.names = {"one table": PLAIN, f"{HASHES} hashes of id": by_hash(stack), "a day each": by_day(stack)}
        for name in self.names.values():
            if name != PLAIN:
                stack.rows(f"INSERT INTO {name} TABLE {PLAIN}")
                stack.rows(f"VACUUM (ANALYZE) {name}")

    def insert(self, table: str, *, from_keys: bool) -> float:
        """Rows per second, in transactions as large as the drain's."""
        checkpoint(self.stack)
        rows, batch = self.options.growth_backlog, self.options.max_records
        find, copy = FIND_STORED.replace(PLAIN, table), COPY_TODOS.replace(PLAIN, table)
        seconds = 0.0
        with closing(psycopg2.connect(self.stack.database_url)) as database:
            for _ in range(0, rows, batch):
                todos = self._todos(batch, from_keys=from_keys)
                ids, lines = ",".join(str(todo.id) for todo in todos), "\n".join(sorted(copy_lines(todos))).encode()
                started = time.perf_counter()
                with database, database.cursor() as cursor:
                    cursor.execute(find, [f"{{{ids}}}"])
                    cursor.copy_expert(copy, BytesIO(lines), len(lines))
                seconds += time.perf_counter() - started
                if cursor.rowcount != batch:
                    raise NotReconciled(f"{batch} todos copied into {table}, {cursor.rowcount} are stored")
        return rows / seconds

    def _todos(self, count: int, *, from_keys: bool) -> list[TodoRow]:
        now = datetime.now(UTC)
        self.offset += count
        return [
            TodoRow(
                uuid.uuid4() if from_keys else uuid7(),
                f"Do homework {number}",
                "Finish pending homeworks",
                now,
                GENERATED + 1,
                self.offset + number,
            )
            for number in range(count)
        ]

    def measure(self, *, from_keys: bool) -> Iterator[Measure]:
        rates: dict[str, list[float]] = {name: [] for name in self.names}
        for _ in range(self.options.rounds):
            for name, table in self.names.items():
                rates[name].append(self.insert(table, from_keys=from_keys))
        plain, *others = rates
        ids = "ids of keys" if from_keys else "ids of the edge"
        for name in others:
            yield Measure(f"insert, {ids}: {name}", "rows/s", rates[name], rates[plain], plain)


def run(world: World, options: Options) -> tuple[list[Measure], str]:
    tables = Tables(world.stack(), options)
    measures = [*tables.measure(from_keys=False), *tables.measure(from_keys=True)]
    return measures, f"{options.growth_rows:,} rows before, each of {options.growth_backlog:,} new in every round"
