"""GET /api/receipts/…: each outcome of a record, at the same cost in a table of any size."""

import json
import re
import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from tests.support.threads import in_thread
from tests.support.todos import make_todos
from tests.support.waiting import Stopwatch, eventually
from todos.api import receipts
from todos.ledger.leases import ensure_ledger
from todos.models import DeadLetter, OffsetLoss, Owner, PartitionLedger, Todo
from todos.owners import owner_of
from todos.receipts.waiter import LedgerWatch

pytestmark = pytest.mark.django_db
TOPIC = django_settings.KAFKA.topic
ID = UUID(int=1)  # of the first todo that make_todos makes
Reason = DeadLetter.Reason


@pytest.fixture(autouse=True)
def ledger() -> None:
    ensure_ledger(TOPIC, [0, 1])
    move(10)


def move(next_offset: int) -> None:
    PartitionLedger.objects.filter(topic=TOPIC, partition=0).update(next_offset=next_offset)


def url(offset: int, *, todo_id: UUID = ID, partition: int = 0) -> str:
    return f"/api/receipts/{todo_id}/{partition}-{offset}/"


def letter(offset: int, reason: Reason, *, value: bytes = b'{"title": "x"}', key: UUID = ID) -> DeadLetter:
    where = {"topic": TOPIC, "partition": 0, "offset": offset}
    return DeadLetter.objects.create(**where, reason=reason, detail="inside", key=str(key).encode(), value=value)


def receipt(client: Client, *args: Any, **options: Any) -> dict[str, Any]:
    response = client.get(url(*args, **options))
    assert 200 == response.status_code
    assert ("no-store", response.json()["status"] == "pending") == (
        response["Cache-Control"],
        "Retry-After" in response,
    )
    return dict(response.json())


def test_a_stored_todo_is_named(client: Client) -> None:
    make_todos(1)
    stored: dict[str, Any] = {
        "status": "stored",
        "todo": f"http://testserver/api/todos/{ID}/",
        "reason": None,
        "errors": [],
    }
    assert stored == receipt(client, 0)
    assert stored == receipt(client, 5)  # of a replay
    assert 200 == client.get(stored["todo"]).status_code


@pytest.mark.parametrize(("partition", "offset"), [(0, 10), (1, 0), (7, 0), (0, 10**30), (10**30, 0)])
def test_what_the_ledger_has_not_passed_is_pending(client: Client, partition: int, offset: int) -> None:
    """A topic may have more partitions and records than the web process knows, since it does not query Kafka."""
    make_todos(1)
    assert "pending" == receipt(client, offset, partition=partition)["status"]


def test_a_rejected_todo_has_its_reason_and_the_fields_at_fault(client: Client) -> None:
    letter(3, Reason.INVALID, value=b'{"title": ""}')
    letter(4, Reason.REJECTED)

    invalid, refused = receipt(client, 3), receipt(client, 4)

    assert ("rejected", "not a valid TodoCreated event", ["title"]) == (
        invalid["status"],
        invalid["reason"],
        [error["field"] for error in invalid["errors"]],
    )
    assert {"status": "rejected", "todo": None, "reason": "refused by the database", "errors": []} == refused


def test_a_rejected_todo_that_was_redriven_is_stored(client: Client) -> None:
    letter(3, Reason.REJECTED)
    make_todos(1)
    assert "stored" == receipt(client, 3)["status"]


def test_nobody_learns_of_a_dead_letter_whose_id_they_do_not_know(client: Client) -> None:
    letter(3, Reason.REJECTED, key=UUID(int=2))
    assert {"status": "deleted", "todo": None, "reason": None, "errors": []} == receipt(client, 3)


def test_a_conflict_names_the_todo_that_came_first(client: Client) -> None:
    make_todos(1)
    letter(3, Reason.CONFLICT)
    conflict = receipt(client, 3)
    assert ("conflict", f"http://testserver/api/todos/{ID}/") == (conflict["status"], conflict["todo"])
    assert conflict["reason"]
    assert "stored" == receipt(client, 0)["status"]
    Todo.objects.all().delete()
    assert ("conflict", None) == tuple(receipt(client, 3)[name] for name in ("status", "todo"))


def test_what_is_gone_is_told_from_what_never_was(client: Client) -> None:
    make_todos(1)
    Todo.objects.all().delete()
    where = {"topic": TOPIC, "partition": 0}
    OffsetLoss.objects.create(**where, first_offset=2, next_offset=4)
    OffsetLoss.objects.create(**where, first_offset=7, next_offset=8, cause=OffsetLoss.Cause.SKIPPED)

    receipts_ = [receipt(client, offset) for offset in (0, 2, 3, 4, 7)]

    assert ["deleted", "lost", "lost", "deleted", "lost"] == [one["status"] for one in receipts_]
    assert "an operator moved the ledger past it" == receipts_[-1]["reason"]


@pytest.mark.parametrize("path", ["x/0-0/", f"{ID}/0/", f"{ID}/0--1/", f"{ID}/-1-0/", f"{ID}/0-{'9' * 5000}/"])
def test_what_is_no_receipt_is_not_found(client: Client, path: str) -> None:
    assert 404 == client.get(f"/api/receipts/{path}").status_code


@pytest.mark.parametrize("wait", ["-1", "10.1", "nan", "inf", "soon", ""])
def test_a_wait_that_is_none_is_refused(client: Client, wait: str) -> None:
    response = client.get(url(0), {"wait": wait})
    problem = response.json()
    assert (400, ["wait"]) == (problem["status"], [error["field"] for error in problem["errors"]])


def test_a_receipt_is_for_the_owner_of_its_todo(client: Client) -> None:
    user = User.objects.create_user("olga")
    make_todos(1)
    Todo.objects.update(owner=owner_of(user))
    assert ["deleted", "pending"] == [receipt(client, offset)["status"] for offset in (0, 10)]
    client.force_login(user)
    assert ["stored", "pending"] == [receipt(client, offset)["status"] for offset in (0, 10)]


@pytest.mark.parametrize("former", [None, 7])
def test_a_rejected_todo_is_for_the_owner_that_its_record_names(client: Client, former: int | None) -> None:
    """Before migration 0016 records named the user's primary key."""
    user = User.objects.create_user("olga")
    Owner.objects.update(former=former)
    owner = str(former or owner_of(user))
    letter(3, Reason.INVALID, value=json.dumps({"title": "", "owner": owner}).encode())
    assert "deleted" == receipt(client, 3)["status"]
    client.force_login(user)
    assert ["title"] == [error["field"] for error in receipt(client, 3)["errors"]]
    client.force_login(User.objects.create_user("ivan"))
    assert "deleted" == receipt(client, 3)["status"]


def test_a_receipt_needs_the_api_s_permission(client: Client, settings: Settings) -> None:
    settings.API_AUTH = "token"
    assert 401 == client.get(url(0)).status_code


def test_every_row_is_found_by_an_index(client: Client) -> None:
    with connection.cursor() as cursor:
        for sql in (
            "INSERT INTO todos_todo (id, title, description, is_done, created_at, updated_at, source_partition,"
            " source_offset) SELECT gen_random_uuid(), 't', '', false, now(), now(), 0, n"
            " FROM generate_series(1, 30000) n",
            'INSERT INTO todos_deadletter (topic, partition, "offset", reason, detail, headers)'
            f" SELECT '{TOPIC}', 0, n, 'invalid', '', '[]' FROM generate_series(1, 30000) n",
            "INSERT INTO todos_offsetloss (topic, partition, first_offset, next_offset, cause)"
            f" SELECT '{TOPIC}', 0, n, n + 1, 'deleted' FROM generate_series(40000, 70000) n",
            f"INSERT INTO todos_partitionledger (topic, partition, next_offset, epoch, generation)"
            f" SELECT '{TOPIC}', n, 100000, 0, 0 FROM generate_series(2, 5000) n",
            "ANALYZE todos_todo, todos_deadletter, todos_offsetloss, todos_partitionledger",
        ):
            cursor.execute(sql)
    move(100_000)
    with CaptureQueriesContext(connection) as queries:
        assert "lost" == receipt(client, 50_000)["status"]

    statements = [query["sql"] for query in queries]
    tables = [re.search(r"todos_\w+", sql) for sql in statements]
    assert ["todos_partitionledger", "todos_todo", "todos_deadletter", "todos_offsetloss"] == [
        t and t[0] for t in tables
    ]
    with connection.cursor() as cursor:
        for sql in statements:
            cursor.execute(f"EXPLAIN {sql}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
            assert "Index" in plan, plan
            assert "Seq Scan" not in plan, plan


@pytest.mark.django_db(transaction=True)
class TestWait:
    @pytest.fixture(autouse=True)
    def watch(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Allow one waiting request, and end its thread before the next test."""
        monkeypatch.setattr(receipts, "watch", LedgerWatch(TOPIC, max_waiting=1))
        yield
        self.wait_for_watch(alive=False)

    def wait_for_watch(self, *, alive: bool) -> None:
        def is_as_wanted() -> bool:
            return any(thread.name == "ledger-watch" for thread in threading.enumerate()) is alive

        eventually(is_as_wanted, seconds=10, what=f"the watch of the ledger, {alive=}")

    def test_it_is_answered_when_the_ledger_has_passed(self, client: Client) -> None:
        def store() -> None:
            self.wait_for_watch(alive=True)
            make_todos(1)
            move(11)

        thread = in_thread(store)
        watch = Stopwatch()
        with CaptureQueriesContext(connection) as queries:
            response = client.get(url(10), {"wait": "10"})
        seconds = watch.seconds
        thread.join()

        assert "stored" == response.json()["status"]
        assert seconds < 9
        assert 2 == sum("todos_todo" in query["sql"] for query in queries)  # before and after, never meanwhile

    def test_it_is_pending_when_the_time_is_up(self, client: Client) -> None:
        response = client.get(url(10), {"wait": "0.2"})
        assert ("pending", "1") == (response.json()["status"], response["Retry-After"])

    def test_who_finds_no_place_is_told_to_come_again(self, client: Client) -> None:
        first = in_thread(lambda: Client().get(url(10), {"wait": "5"}))
        self.wait_for_watch(alive=True)
        response = client.get(url(11), {"wait": "10"})
        assert first.is_alive()
        assert ("pending", "1") == (response.json()["status"], response["Retry-After"])
        move(11)
        first.join()

    def test_a_watch_that_loses_its_database_releases_all_and_another_replaces_it(self, client: Client) -> None:
        waiting = in_thread(lambda: Client().get(url(10), {"wait": "10"}))
        eventually(self.end_session_of_the_watch, seconds=9, what="the watch to ask")
        self.wait_for_watch(alive=False)
        waiting.join()

        assert "pending" == client.get(url(10), {"wait": "0.2"}).json()["status"]

    def end_session_of_the_watch(self) -> bool:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                ' AND pid <> pg_backend_pid() AND query LIKE \'%%"next_offset" FROM "todos_partitionledger"%%\''
            )
            return bool(cursor.rowcount > 0)
