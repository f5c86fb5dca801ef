"""All sessions touch rows in one order, so that no two of them can deadlock."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest
from django.db import transaction
from django.db.models.functions import Now

import todos.ingest.store
from tests.support.hostile import Draft
from tests.support.sessions import open_transaction, waiting_sessions
from tests.support.threads import in_thread
from tests.support.todos import constraint
from tests.support.topic import event
from tests.support.waiting import eventually
from todos.ingest.bisect import insert_bisecting
from todos.ingest.parsing import ParsedBatch, TodoRow, parse_records
from todos.ingest.store import StoreResult, advance_ledger, insert_todos, store
from todos.ledger.leases import Lease, ensure_ledger
from todos.models import PartitionLedger, Todo

pytestmark = pytest.mark.django_db(transaction=True)
TOPIC = "order"
LOW, MIDDLE, HIGH = (UUID(int=number) for number in (1, 2, 3))
STORE = """
    INSERT INTO todos_todo (id, title, description, created_at, source_partition, source_offset)
    VALUES (%s, '', '', now(), 9, 9)
"""
LOCK_ROW = "SELECT FROM todos_partitionledger WHERE topic = %s AND partition = %s FOR UPDATE"


def batch(partition: int, *ids: UUID) -> ParsedBatch:
    records = [Draft(event(id=str(id_)), partition=partition, offset=offset) for offset, id_ in enumerate(ids)]
    return parse_records(TOPIC, records)


def test_batches_with_the_same_todos_in_opposite_orders_are_stored_once() -> None:
    ensure_ledger(TOPIC, [0, 1])
    results: list[StoreResult] = []

    def store_in(partition: int, *ids: UUID) -> None:
        results.append(store(TOPIC, {partition: Lease(0, 0)}, batch(partition, *ids), {partition: len(ids)}))

    with open_transaction() as session:  # both batches wait for it before they have touched all of their todos
        session.execute(STORE, [MIDDLE])
        threads = [
            in_thread(lambda: store_in(0, LOW, MIDDLE, HIGH)),
            in_thread(lambda: store_in(1, HIGH, MIDDLE, LOW)),
        ]
        eventually(lambda: waiting_sessions() == 2, seconds=20, what="both batches to wait")
    for thread in threads:
        thread.join()

    assert [StoreResult(0, 3, 0), StoreResult(3, 0, 0)] == sorted(results)
    assert {LOW, MIDDLE, HIGH} == set(Todo.objects.values_list("id", flat=True))


@pytest.mark.parametrize("first", [LOW, MIDDLE, HIGH])
def test_a_todo_that_another_batch_stores_just_now_is_a_duplicate(monkeypatch: pytest.MonkeyPatch, first: UUID) -> None:
    """Between the look for stored ids and the COPY: for the whole batch, and for a todo of a bisected one."""
    find_stored = todos.ingest.store._find_stored

    def before_another(ids: Iterable[str]) -> dict[str, str]:
        found = find_stored(ids)
        if str(first) in ids and str(first) not in found:
            with open_transaction() as session:
                session.execute(STORE, [first])
                session.execute("COMMIT")
        return found

    monkeypatch.setattr(todos.ingest.store, "_find_stored", before_another)
    ensure_ledger(TOPIC, [0])

    assert StoreResult(2, 1, 0) == store(TOPIC, {0: Lease(0, 0)}, batch(0, LOW, MIDDLE, HIGH), {0: 3})

    Todo.objects.all().delete()
    with transaction.atomic():
        result = insert_bisecting(insert_todos, batch(0, first).todos, max_rejected=1)
    assert (0, []) == (result.inserted.total(), result.rejected)


@pytest.mark.parametrize("change", ["UPDATE todos_todo SET is_done = true", "DELETE FROM todos_todo"])
def test_a_stored_todo_that_another_session_changes_holds_up_no_batch(change: str) -> None:
    ensure_ledger(TOPIC, [0])
    store(TOPIC, {0: Lease(0, 0)}, batch(0, MIDDLE), {0: 1})

    with open_transaction() as session:
        session.execute(change)
        result = store(TOPIC, {0: Lease(1, 0)}, batch(0, LOW, MIDDLE), {0: 3})

    assert StoreResult(1, 1, 0) == result


def test_a_batch_that_is_bisected_keeps_the_order_of_ids() -> None:
    ids = [UUID(int=number) for number in (7, 3, 9, 1, 5, 8)]
    todos = [TodoRow(id_, "fine" if id_.int != 9 else "refused", "", datetime.now(UTC), 0, 0) for id_ in ids]
    inserted: list[int] = []

    def insert(half: Sequence[TodoRow]) -> Counter[int]:
        counts = insert_todos(half)
        inserted.extend(todo.id.int for todo in half if todo in todos)
        return counts

    with constraint("title <> 'refused'"), transaction.atomic():
        result = insert_bisecting(insert, todos, max_rejected=1)

    assert [1, 3, 5, 7, 8] == inserted
    assert [ids.index(UUID(int=9))] == [todo.index for todo in result.rejected]


def test_the_ledger_advances_in_the_order_of_partitions() -> None:
    ensure_ledger(TOPIC, [0, 1])
    PartitionLedger.objects.filter(partition=0).update(moved_at=Now())  # on disk it now follows partition 1

    def advance() -> None:
        with transaction.atomic():
            advance_ledger(TOPIC, {0: Lease(0, 0), 1: Lease(0, 0)}, {0: 5, 1: 5}, {})

    with open_transaction() as session:
        session.execute(LOCK_ROW, [TOPIC, 0])
        thread = in_thread(advance)
        eventually(lambda: waiting_sessions() == 1, seconds=20, what="the advance to wait for partition 0")
        session.execute(LOCK_ROW, [TOPIC, 1])  # a deadlock, if the advance had locked partition 1
    thread.join()

    assert {5} == set(PartitionLedger.objects.values_list("next_offset", flat=True))
