"""What the real database refuses is sorted: bad records are found among good ones, a bad table stops everything."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.support.todos import constraint
from tests.support.topic import Topic, event
from todos.ingest import consumer as ingest
from todos.ingest.dead_letter_limit import MIN_RECORDS
from todos.ingest.parsing import ParsedBatch, parse_records
from todos.ingest.store import store
from todos.ledger.leases import Lease, ensure_ledger
from todos.models import Batch, DeadLetter, Todo
from todos.monitoring.lag import fetch_status

pytestmark = pytest.mark.django_db(transaction=True)
MakeTopic = Callable[..., Topic]
HOSTILE = event(title="hostile")


def test_the_records_that_the_database_refuses_are_found_and_the_rest_is_stored(make_memory_topic: MakeTopic) -> None:
    topic = make_memory_topic()
    ids = topic.send_todos(130)
    topic.send(HOSTILE, key=b"k", headers=[("h", b"v")])
    topic.send(b"not even JSON")
    ids += topic.send_todos(130)
    topic.send(HOSTILE)

    with constraint("title <> 'hostile'"):
        summary = topic.poll()

    assert (summary.stored, summary.dead_letters, summary.failures) == (260, 3, 0)
    assert {str(todo.id) for todo in Todo.objects.all()} == set(ids)
    letters = {letter.offset: letter for letter in DeadLetter.objects.all()}
    assert {offset: letter.reason for offset, letter in letters.items()} == {
        130: "rejected",
        131: "invalid",
        262: "rejected",
    }
    assert bytes(letters[130].value or b"") == HOSTILE
    assert letters[130].headers == [["h", "dg=="]]
    assert letters[130].detail == ('23514: new row for relation "todos_todo" violates check constraint "strict"')
    assert topic.ledger() == {0: 263}


def test_one_bad_record_is_found_by_halves() -> None:
    rows, at_fault = 1024, 700
    ensure_ledger("t", [0])
    records = [Fake(offset, b"hostile" if offset == at_fault else b"fine") for offset in range(rows)]

    with constraint("title <> 'hostile'"), CaptureQueriesContext(connection) as queries:
        result = store("t", {0: Lease(0, 0)}, fake_batch(records), {0: rows})

    assert (result.todos, result.dead_letters) == (rows - 1, 1)
    assert DeadLetter.objects.get().offset == at_fault
    inserts = sum("INSERT INTO todos_todo" in query["sql"] for query in queries.captured_queries)
    assert inserts <= 2 + 2 * 10 + 1  # the first try and the canary, then two halves for each of log2(1024) steps


@pytest.mark.parametrize("title", ["NUL \0", "surrogate \ud800"])
def test_what_can_never_be_written_down_is_dead_lettered_even_if_the_contract_let_it_pass(title: str) -> None:
    ensure_ledger("t", [0])
    batch = fake_batch([Fake(0, b"fine"), Fake(1, b"fine"), Fake(2, b"fine")])
    batch.todos[1] = batch.todos[1]._replace(title=title)

    result = store("t", {0: Lease(0, 0)}, batch, {0: 3})

    assert (result.todos, result.dead_letters) == (2, 1)
    assert (DeadLetter.objects.get().offset, DeadLetter.objects.get().reason) == (1, "rejected")


def test_a_constraint_that_speaks_at_commit_is_data_too() -> None:
    ensure_ledger("t", [0])
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF NEW.title = 'hostile' THEN RAISE check_violation USING MESSAGE = 'too late'; END IF;"
            " RETURN NULL; END $$;"
            "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON todos_todo"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
    try:
        result = store("t", {0: Lease(0, 0)}, fake_batch([Fake(0, b"fine"), Fake(1, b"hostile")]), {0: 2})
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION refuse CASCADE")

    assert (result.todos, result.dead_letters) == (1, 1)
    assert DeadLetter.objects.get().detail == "23514: too late"


def test_a_table_that_refuses_every_todo_dead_letters_nothing_not_even_a_single_record(
    make_memory_topic: MakeTopic, caplog: pytest.LogCaptureFixture
) -> None:
    topic = make_memory_topic()
    topic.send_todos(1)

    with constraint("false"):
        summary = topic.poll(time_budget_seconds=1)

    assert (DeadLetter.objects.count(), topic.ledger()) == (0, {0: 0})
    assert "SystemicFailure: the database refuses every todo: 23514" in summary.last_error
    assert [record.levelno for record in caplog.records if record.name == ingest.__name__] == [logging.ERROR]
    assert topic.poll().stored == 1


@pytest.mark.parametrize("kind", ["refused by the database", "not valid"])
def test_when_most_of_a_large_batch_is_bad_nothing_is_dead_lettered_until_an_operator_says_so(
    make_memory_topic: MakeTopic, kind: str
) -> None:
    topic = make_memory_topic()
    bad = MIN_RECORDS // 2 + 1
    topic.send_todos(MIN_RECORDS - bad)
    topic.send(*[HOSTILE if kind == "refused by the database" else b"{}"] * bad)

    with constraint("title <> 'hostile'"):
        stopped = topic.poll(time_budget_seconds=1, max_records=MIN_RECORDS)
        assert (stopped.records, DeadLetter.objects.count(), topic.ledger()) == (0, 0, {0: 0})
        (partition,) = fetch_status(topic.log()).partitions
        assert "cannot be stored, so no more are made dead letters" in partition.halt_text
        assert f"TooManyDeadLetters: {partition.halt_text}" == stopped.last_error

        allowed = topic.poll(dead_letter_percent=100)

    assert (allowed.stored, allowed.dead_letters) == (MIN_RECORDS - bad, bad)
    assert [partition.halt_text for partition in fetch_status(topic.log()).partitions] == [""]


def test_half_of_a_large_batch_may_be_bad(make_memory_topic: MakeTopic) -> None:
    topic = make_memory_topic()
    topic.send_todos(MIN_RECORDS // 2)
    topic.send(*[b"{}"] * (MIN_RECORDS // 2))

    summary = topic.poll()

    assert (summary.stored, summary.dead_letters) == (MIN_RECORDS // 2, MIN_RECORDS // 2)


def test_a_statement_that_takes_too_long_holds_the_offsets(
    make_memory_topic: MakeTopic, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("todos.ingest.store.STATEMENT_TIMEOUT", "50ms")
    topic = make_memory_topic()
    topic.send_todos(3)
    with slow_insert("1"):
        summary = topic.poll(time_budget_seconds=1)

    assert "statement timeout" in summary.last_error
    assert (summary.records, DeadLetter.objects.count(), topic.ledger()) == (0, 0, {0: 0})
    assert {logging.WARNING} == {record.levelno for record in caplog.records if record.name == ingest.__name__}
    assert topic.poll().stored == 3


def test_what_takes_too_long_at_once_is_stored_in_parts(
    make_memory_topic: MakeTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("todos.ingest.store.STATEMENT_TIMEOUT", "300ms")
    topic = make_memory_topic(partitions=2)
    ids = topic.send_todos(40) + topic.send_todos(10, partition=1)

    with slow_insert("0.02 * (SELECT count(*) FROM new)"):  # 15 of them at most
        summary = topic.poll()

    assert (50, 0, 0) == (summary.stored, summary.duplicates, summary.failures)
    assert set(ids) == {str(todo.id) for todo in Todo.objects.all()}
    assert max(Batch.objects.values_list("stored", flat=True)) == 10
    assert topic.ledger() == {0: 40, 1: 10}


@contextmanager
def slow_insert(seconds: str) -> Iterator[None]:
    """An expression, in which `new` are the rows."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; END $$;"
            "CREATE TRIGGER slow AFTER INSERT ON todos_todo REFERENCING NEW TABLE AS new"
            " FOR EACH STATEMENT EXECUTE FUNCTION slow()"
        )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION slow CASCADE")


class Fake:
    """A record that never went through Kafka; its value is the title."""

    partition = timestamp = 0
    leader_epoch = -1
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()

    def __init__(self, offset: int, title: bytes) -> None:
        self.offset = offset
        self.value = event(title=title.decode())


def fake_batch(records: list[Fake]) -> ParsedBatch:
    return parse_records("t", records)
