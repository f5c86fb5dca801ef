"""A failure holds the offsets; it never loses a record, and never makes a dead letter."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.db import DatabaseError, OperationalError, connection, transaction

from devstack import Postgres
from tests.support.database import database_away
from tests.support.memory_topic import MemoryTopic
from tests.support.threads import in_thread, in_threads
from tests.support.topic import Topic
from tests.support.waiting import eventually
from todos.event_log import LogUnavailable, Record
from todos.ingest import consumer as ingest
from todos.ingest.consumer import ConsumerRun
from todos.ingest.options import PollOptions
from todos.ingest.parsing import parse_records
from todos.ingest.store import LeaseLost, advance_ledger, insert_todos, store
from todos.kafka.consumer import KafkaLog
from todos.ledger.leases import Lease, Leases, ensure_ledger
from todos.models import DeadLetter, OffsetLoss, PartitionLedger, Poller, PollRun, Todo

pytestmark = pytest.mark.django_db(transaction=True)
MakeTopic = Callable[..., Topic]


def read_everything(topic: Topic, records: int) -> dict[int, list[Record]]:
    log = topic.log()
    read: dict[int, list[Record]] = {}
    log.assign(dict.fromkeys(log.partitions(), 0))
    while sum(len(batch) for batch in read.values()) < records:
        for partition, batch in log.poll(timeout_ms=5000, max_records=records).items():
            read[partition] = [*read.get(partition, []), *batch]
    return read


def test_many_workers_that_store_the_same_batch_store_it_once(make_memory_topic: MakeTopic) -> None:
    topic = make_memory_topic()
    topic.send_todos(200)
    (records,) = read_everything(topic, 200).values()
    ensure_ledger(topic.kafka.topic, [0])
    outcomes: list[str] = []

    def force() -> None:
        try:
            result = store(topic.kafka.topic, {0: Lease(0, 0)}, parse_records(topic.kafka.topic, records), {0: 200})
            outcomes.append(f"stored {result.todos}")
        except LeaseLost:
            outcomes.append("refused")

    in_threads(*[force] * 8)

    assert sorted(outcomes) == ["refused"] * 7 + ["stored 200"]
    assert topic.ledger() == {0: 200}


def test_a_worker_whose_lease_was_taken_stores_nothing(make_memory_topic: MakeTopic) -> None:
    topic = make_memory_topic()
    topic.send_todos(3)
    (records,) = read_everything(topic, 3).values()
    ensure_ledger(topic.kafka.topic, [0])
    with Leases(topic.kafka.topic, "slow") as slow:
        slow.refresh([0])
        Poller.objects.all().delete()  # its time ran out
        with Leases(topic.kafka.topic, "quick") as quick:
            assert quick.refresh([0])
            with pytest.raises(LeaseLost):
                store(topic.kafka.topic, slow.held, parse_records(topic.kafka.topic, records), {0: 3})
            assert (Todo.objects.count(), topic.ledger()) == (0, {0: 0})
            store(topic.kafka.topic, quick.held, parse_records(topic.kafka.topic, records), {0: 3})
    assert Todo.objects.count() == 3


def test_a_lease_stolen_in_the_middle_of_a_poll_costs_only_time(
    make_memory_topic: MakeTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = make_memory_topic()
    ids = topic.send_todos(30)
    thefts = iter(range(2))

    def steal_first(*args: object, **kwargs: object) -> object:
        if next(thefts, None) is not None:
            PartitionLedger.objects.update(epoch=1_000)
        return store(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(ingest, "store", steal_first)
    summary = topic.poll(max_records=10)

    assert (summary.stored, summary.duplicates, summary.failures) == (30, 0, 0)
    assert {str(todo.id) for todo in Todo.objects.all()} == set(ids)


@pytest.mark.parametrize(
    ("breakage", "repair"),
    [
        ("ALTER TABLE todos_todo RENAME TO away", "ALTER TABLE away RENAME TO todos_todo"),
        (
            "ALTER TABLE todos_todo ADD CONSTRAINT no_more CHECK (false) NOT VALID",
            "ALTER TABLE todos_todo DROP CONSTRAINT no_more",
        ),
        (
            "ALTER TABLE todos_batch ADD CONSTRAINT no_more CHECK (first_offset IS NULL) NOT VALID",
            "ALTER TABLE todos_batch DROP CONSTRAINT no_more",
        ),
        (
            "ALTER DATABASE {name} SET default_transaction_read_only = on",
            "SET default_transaction_read_only = off;;ALTER DATABASE {name} RESET default_transaction_read_only",
        ),
    ],
    ids=["missing table", "constraint", "history", "read-only server"],
)
def test_an_error_of_the_database_dead_letters_nothing(
    make_memory_topic: MakeTopic, breakage: str, repair: str
) -> None:
    topic = make_memory_topic()
    ids = topic.send_todos(5)
    topic.send(b"poison")
    ensure_ledger(topic.kafka.topic, [0])
    name = connection.settings_dict["NAME"]
    with connection.cursor() as cursor:
        cursor.execute(breakage.format(name=name))
    connection.close()
    try:
        broken = topic.poll(time_budget_seconds=1)
    finally:
        with connection.cursor() as cursor:
            for statement in repair.format(name=name).split(";;"):  # one by one: a transaction stays read-only
                cursor.execute(statement)
        connection.close()

    assert 0 < broken.failures < 10  # with a pause after each
    assert (broken.records, DeadLetter.objects.count(), topic.ledger()) == (0, 0, {0: 0})
    assert topic.poll().records == 6
    assert {str(todo.id) for todo in Todo.objects.all()} == set(ids)


def test_a_connection_that_is_cut_again_and_again_loses_nothing(
    make_memory_topic: MakeTopic, postgres: Postgres
) -> None:
    topic = make_memory_topic(partitions=3)
    ids = [todo_id for partition in range(3) for todo_id in topic.send_todos(400, partition)]
    ends, over = dict.fromkeys(range(3), 400), threading.Event()
    options = PollOptions(timeout_ms=60_000, max_records=20, time_budget_seconds=60)
    poll = ConsumerRun(topic.log(), options, "cut", should_stop=over.is_set)
    thread = in_thread(poll.run)

    cuts = 0
    while cuts < 10 and topic.ledger() != ends:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            cuts += cursor.fetchone()[0]
        time.sleep(0.05)
    try:
        eventually(lambda: topic.ledger() == ends, seconds=60, what="all to be stored")
    finally:
        over.set()
        thread.join()

    assert poll.summary.dead_letters == 0  # what it stored it cannot always know: a COMMIT's answer may be cut off
    assert {str(todo.id) for todo in Todo.objects.all()} == set(ids)


def test_a_locked_table_is_waited_for(make_memory_topic: MakeTopic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("todos.ingest.store.LOCK_TIMEOUT", "50ms")
    topic = make_memory_topic()
    topic.send_todos(5)
    poll = ConsumerRun(topic.log(), PollOptions(timeout_ms=3000), "patient")
    locked, release = threading.Event(), threading.Event()

    def lock() -> None:
        with connection.cursor() as cursor:
            cursor.execute("BEGIN; LOCK TABLE todos_todo")
            locked.set()
            release.wait(30)
            cursor.execute("COMMIT")

    locker = in_thread(lock)
    assert locked.wait(30)
    thread = in_thread(poll.run)
    eventually(lambda: poll.summary.failures >= 2, seconds=20, what="two failures")
    assert "lock timeout" in poll.summary.last_error
    release.set()
    locker.join()
    thread.join()

    assert (poll.summary.stored, DeadLetter.objects.count()) == (5, 0)


def test_a_worker_frozen_in_its_transaction_loses_it_and_another_goes_on(make_memory_topic: MakeTopic) -> None:
    topic = make_memory_topic()
    topic.send_todos(3)
    (records,) = read_everything(topic, 3).values()
    ensure_ledger(topic.kafka.topic, [0])
    frozen, thaw = threading.Event(), threading.Event()
    outcome: list[str] = []

    def store_slowly() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SHOW idle_in_transaction_session_timeout")
            outcome.append(cursor.fetchone()[0])
            cursor.execute("SET idle_in_transaction_session_timeout = '300ms'")  # so that the test need not wait 30 s
        try:
            with transaction.atomic():
                advance_ledger(topic.kafka.topic, {0: Lease(0, 0)}, {0: 3}, {})
                frozen.set()
                thaw.wait(30)
                insert_todos(parse_records(topic.kafka.topic, records).todos)
        except DatabaseError as exc:
            outcome.append(type(exc).__name__)

    thread = in_thread(store_slowly)
    assert frozen.wait(30)
    summary = topic.poll(timeout_ms=5000)
    thaw.set()
    thread.join()

    assert outcome == ["30s", "OperationalError"]
    assert (summary.stored, summary.duplicates, Todo.objects.count(), topic.ledger()) == (3, 0, 3, {0: 3})


def test_kafka_away_is_a_failure_that_ends_in_time(make_topic: MakeTopic) -> None:
    topic = make_topic()
    nowhere = KafkaLog(topic.kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:9"}))
    try:
        summary = topic.poll(nowhere, time_budget_seconds=1)
    finally:
        nowhere.close()

    assert summary.failures > 0
    assert summary.last_error.startswith("LogUnavailable: ")
    assert not Poller.objects.exists()


def test_a_missing_topic_says_how_to_make_it(make_topic: MakeTopic) -> None:
    topic = make_topic()
    unknown = KafkaLog(topic.kafka.model_copy(update={"topic": "not-there"}))
    try:
        summary = topic.poll(unknown, time_budget_seconds=1)
    finally:
        unknown.close()

    assert "topic not-there does not exist; manage.py create_topics makes it" in summary.last_error


def test_offsets_that_kafka_deleted_become_a_recorded_loss(make_memory_topic: MakeTopic) -> None:
    topic = make_memory_topic(partitions=2)
    topic.send_todos(10, partition=0)
    others = topic.send_todos(3, partition=1)
    topic.delete_records(0, before=4)

    summary = topic.poll()

    assert (summary.stored, summary.lost) == (9, 4)
    loss = OffsetLoss.objects.get()
    assert (loss.topic, loss.partition, loss.first_offset, loss.next_offset) == (topic.kafka.topic, 0, 0, 4)
    assert topic.ledger() == {0: 10, 1: 3}
    assert set(others) <= {str(todo.id) for todo in Todo.objects.all()}
    assert topic.poll().lost == 0


def test_a_poll_that_its_time_limit_ends_leaves_the_reason(
    make_memory_topic: MakeTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    def over_time(*_: object, **__: object) -> None:
        raise SoftTimeLimitExceeded

    topic = make_memory_topic()
    topic.send_todos(1)
    monkeypatch.setattr(ingest, "store", over_time)
    with pytest.raises(SoftTimeLimitExceeded):
        topic.poll()

    run = PollRun.objects.get(topic=topic.kafka.topic)
    assert (1, True) == (run.failures, run.last_error.startswith("SoftTimeLimitExceeded"))


def test_a_poll_that_the_database_refuses_leaves_the_name_of_its_error(
    make_memory_topic: MakeTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = make_memory_topic()
    topic.send_todos(1)
    monkeypatch.setattr("todos.ingest.store.LOCK_TIMEOUT", "50ms")
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("LOCK TABLE todos_todo IN EXCLUSIVE MODE")
            held.set()
            done.wait(30)

    thread = in_thread(hold)
    assert held.wait(30)
    topic.poll(time_budget_seconds=1)
    done.set()
    thread.join()

    run = PollRun.objects.get(topic=topic.kafka.topic)
    assert (0, True) == (run.batches, run.failures > 0)
    assert run.last_error.startswith("LockNotAvailable: ")


def test_a_ledger_that_was_moved_ahead_of_the_log_stops_that_partition_only(
    make_memory_topic: MakeTopic, caplog: pytest.LogCaptureFixture
) -> None:
    topic = make_memory_topic(partitions=2)
    topic.send_todos(2, partition=0)
    topic.send_todos(3, partition=1)
    ensure_ledger(topic.kafka.topic, [0, 1])
    PartitionLedger.objects.filter(partition=0).update(next_offset=50)

    summary = topic.poll()

    assert (summary.stored, topic.ledger()) == (3, {0: 50, 1: 3})
    assert f"{topic.kafka.topic}/0 is at 50, but its batches end at 0" in caplog.text


def test_a_database_that_is_away_is_an_operational_error_not_a_crash(make_memory_topic: MakeTopic) -> None:
    topic = make_memory_topic()
    topic.send_todos(1)
    right = connection.settings_dict["PORT"]
    connection.close()
    connection.settings_dict["PORT"] = 9
    try:
        summary = topic.poll(time_budget_seconds=1)
    finally:
        connection.settings_dict["PORT"] = right
        connection.close()

    assert summary.failures > 0
    assert summary.last_error.startswith(OperationalError.__name__)
    assert topic.poll().stored == 1


@contextmanager
def log_away(topic: MemoryTopic) -> Iterator[None]:
    """Meanwhile the topic does not answer."""

    def fail(_log: object) -> list[int]:
        raise LogUnavailable("no broker answers")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tests.support.memory_topic.TopicLog.partitions", fail)
        yield


@pytest.mark.parametrize("away", [log_away, lambda _topic: database_away()], ids=["log", "database"])
def test_an_outage_is_one_line_and_its_end_however_many_polls_meet_it(
    make_memory_topic: Callable[..., MemoryTopic],
    caplog: pytest.LogCaptureFixture,
    away: Callable[[MemoryTopic], AbstractContextManager[None]],
) -> None:
    def levels() -> list[str]:
        return [record.levelname for record in caplog.records if record.name == ingest.__name__]

    caplog.set_level(logging.INFO)
    topic = make_memory_topic()
    topic.poll()
    with away(topic):
        for _ in range(2):
            assert topic.poll(timeout_ms=1000).failures
    assert ["WARNING"] == levels()

    topic.poll()
    assert ["WARNING", "INFO"] == levels()
