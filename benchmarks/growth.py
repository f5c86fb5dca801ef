"""What ten million todos in the table cost: the drain, the list of the API, the admin's list."""

import http.client
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import timedelta
from statistics import median
from urllib.parse import urlencode

from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client

from benchmarks.backlog import drain, fill
from benchmarks.measures import Goal, Measure
from benchmarks.options import Options
from benchmarks.world import NotReconciled, World
from tests.support.stack import Stack
from todos.owners import owner_of
from todos.selectors import PageCursor

FEW = 10_000
GETS = 20  # of each page in a round
FLAT = Goal(1.5, at_most=True)
GENERATED = 9999  # source_partition of the todos that did not come from Kafka
DAYS = 30.0  # over which they are spread
GENERATE = """
    INSERT INTO todos_todo
        (id, title, description, is_done, created_at, updated_at, source_partition, source_offset, owner)
    SELECT id, 'Do homework ' || n, 'Finish pending homeworks', n %% 10 = 0, uuid_extract_timestamp(id), now(),
           %(partition)s, n, %(owner)s
    FROM (SELECT n, uuidv7((n - %(rows)s) * %(days)s / %(rows)s * interval '1 day') AS id
          FROM generate_series(1, %(rows)s) AS n) AS new
"""
MIDDLE = "SELECT created_at, id FROM todos_todo ORDER BY created_at DESC, id DESC LIMIT 1 OFFSET %s"
ROWS_READ = """
    SELECT pg_stat_force_next_flush(),
           seq_tup_read + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes i WHERE i.relid = t.relid)
    FROM pg_stat_user_tables t WHERE relname = 'todos_todo'
"""


def generate(stack: Stack, rows: int) -> None:
    """The table holds just these todos, with ids and times as the edge gives them, all of them the admin's."""
    stack.rows("TRUNCATE todos_todo")
    with stack.django():
        owner = owner_of(admin(stack))
    stack.rows(GENERATE % {"partition": GENERATED, "rows": rows, "days": DAYS, "owner": f"'{owner}'"})
    stack.rows("VACUUM (ANALYZE) todos_todo")  # as autovacuum does in time


# --- Drain


def drain_more(stack: Stack, backlog: int, max_records: int) -> float:
    """Rows per second."""
    fill(stack, backlog)
    before = stack.count("todo")
    rate = drain(stack, max_records=max_records).rate
    if (stored := stack.count("todo") - before) != backlog:
        raise NotReconciled(f"the backlog was {backlog}, stored were {stored}")
    return rate


def drains(few: Stack, many: Stack, options: Options) -> Measure:
    at_few, at_many = [], []
    for _ in range(options.rounds):
        generate(few, FEW)
        at_few.append(drain_more(few, options.growth_backlog, options.max_records))
        at_many.append(drain_more(many, options.growth_backlog, options.max_records))
    return Measure("drain", "rows/s", at_many, at_few, f"at {FEW:,} rows", Goal(0.9))


# --- Pages


def pages(stack: Stack) -> dict[str, str]:
    """Paths by what they show."""
    rows = stack.count("todo")
    created_at, todo_id = stack.rows(MIDDLE, rows // 2)[0]
    day = {"created_after": (created_at - timedelta(days=1)).isoformat(), "created_before": created_at.isoformat()}
    middle = PageCursor(created_at, todo_id, backwards=False).encode()
    return {
        "API, first page": "/api/todos/",
        "API, page in the middle": f"/api/todos/?cursor={middle}",
        "API, oldest first": "/api/todos/?ordering=created_at",
        "API, what is done": "/api/todos/?is_done=true",
        "API, what is not done": "/api/todos/?is_done=false",
        "API, a day": f"/api/todos/?{urlencode(day)}",
        "API, search that finds nothing": "/api/todos/?search=nowhere",
        "admin, list": "/admin/todos/todo/",
        "admin, list of what is done": "/admin/todos/todo/?done=yes",
    }


def signed_in(stack: Stack) -> Client:
    """Sessions are in the stack's database."""
    user = admin(stack)
    with stack.django():
        client = Client(SERVER_NAME="localhost")
        client.force_login(user)
    return client


def admin(stack: Stack) -> User:
    with stack.django():
        return User.objects.get_or_create(username="admin", is_staff=True, is_superuser=True)[0]


class Reader:
    """Reads pages of the stack's web process."""

    def __init__(self, stack: Stack) -> None:
        self.pages = pages(stack)
        self.headers = {"Cookie": f"sessionid={signed_in(stack).cookies['sessionid'].value}"}
        stack.web()
        self.port = stack.web_port

    def milliseconds(self, page: str) -> float:
        """The median over one connection, without its first request."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port)) as web:
            return median([self._get(web, self.pages[page]) for _ in range(GETS + 1)][1:])

    def _get(self, web: http.client.HTTPConnection, path: str) -> float:
        started = time.perf_counter()
        web.request("GET", path, headers=self.headers)
        answer = web.getresponse()
        answer.read()
        if answer.status != http.client.OK:
            raise NotReconciled(f"{path} was answered with {answer.status}")
        return (time.perf_counter() - started) * 1000


def rows_read(stack: Stack) -> Mapping[str, int]:
    """By page: how many rows and index entries of the table PostgreSQL read for it."""
    client, read = signed_in(stack), {}
    with stack.django():
        for name, path in pages(stack).items():
            before = _counter()
            if (status := client.get(path).status_code) != http.client.OK:
                raise NotReconciled(f"{path} was answered with {status}")
            read[name] = _counter() - before
    return read


def _counter() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute(ROWS_READ)
        return int(cursor.fetchone()[1])


def reading(few: Stack, many: Stack, options: Options) -> Iterator[Measure]:
    call_command("collectstatic", interactive=False, verbosity=0)
    at_few, at_many = Reader(few), Reader(many)
    for name in at_few.pages:
        sides: tuple[list[float], list[float]] = ([], [])
        for _ in range(options.rounds):
            for side, reader in zip(sides, (at_many, at_few), strict=True):
                side.append(reader.milliseconds(name))
        yield Measure(f"{name}: time", "ms", *sides, f"at {FEW:,} rows", FLAT)
    read_few, read_many = rows_read(few), rows_read(many)
    for name, count in read_many.items():
        sides = [float(count)], [float(max(read_few[name], 1))]
        yield Measure(f"{name}: rows read", "rows", *sides, f"at {FEW:,} rows", FLAT)


def run(world: World, options: Options) -> tuple[list[Measure], str]:
    few, many = world.stack(), world.stack()
    generate(few, FEW)
    generate(many, options.growth_rows)
    measures = [drains(few, many, options)]
    generate(few, FEW)
    measures += reading(few, many, options)
    return measures, f"{options.rounds} x {options.growth_backlog:,} in Kafka = stored at either size"
