"""A row that another session has locked stops only its partition, and no statement of a lease waits without end."""

from collections.abc import Callable
from functools import partial
from uuid import uuid4

import pytest
from django.db import OperationalError
from django.db.models.functions import Now

from tests.support.memory_topic import MemoryTopic
from tests.support.sessions import open_transaction, waiting_sessions
from tests.support.threads import in_thread
from tests.support.waiting import eventually
from todos.ingest.consumer import ConsumerRun
from todos.ingest.options import PollOptions
from todos.ledger import held_rows, leases
from todos.ledger.leases import Leases, ensure_ledger, recreated_partitions
from todos.models import PartitionLedger, Poller

pytestmark = pytest.mark.django_db(transaction=True)
TOPIC = "leased"
LOCK_ROW = "SELECT FROM todos_partitionledger WHERE topic = %s AND partition = %s FOR UPDATE"
LOCK_BATCHES = "SELECT FROM todos_batch WHERE topic = %s AND partition = %s FOR UPDATE"
UPDATE_ROW = "UPDATE todos_partitionledger SET epoch = epoch WHERE topic = %s AND partition = %s"


def run_until(topic: MemoryTopic, should_stop: Callable[[], bool]) -> ConsumerRun:
    options = PollOptions(timeout_ms=30_000, time_budget_seconds=30)
    return ConsumerRun(topic.log(), options, "a test", should_stop=should_stop)


def test_pollers_that_expired_together_renew_without_a_deadlock() -> None:
    poll = Leases(TOPIC, "one")
    poll.heartbeat()
    poll.invalidate()  # so that the next heartbeat is due
    Poller.objects.create(id=uuid4(), topic=TOPIC, worker="other", expires_at=Now())
    Poller.objects.update(expires_at=Now())

    with open_transaction() as other:  # it renews its own row, and then deletes those that have expired
        other.execute("UPDATE todos_poller SET expires_at = now() + interval '1 hour' WHERE worker = 'other'")
        thread = in_thread(poll.heartbeat)
        eventually(
            lambda: waiting_sessions() == 1 or not thread.is_alive(), seconds=20, what="the heartbeat to wait or to end"
        )
        other.execute("DELETE FROM todos_poller WHERE worker = 'one' AND expires_at < now()")
    thread.join()

    assert Poller.objects.filter(worker="one", expires_at__gt=Now()).exists()


@pytest.mark.parametrize("lock", [LOCK_ROW, UPDATE_ROW, LOCK_BATCHES], ids=["locked", "changed", "history"])
@pytest.mark.parametrize("is_leased", [False, True], ids=["before the lease", "during the lease"])
def test_a_locked_row_stops_only_its_partition(
    make_memory_topic: Callable[..., MemoryTopic], monkeypatch: pytest.MonkeyPatch, lock: str, is_leased: bool
) -> None:
    monkeypatch.setattr("todos.ingest.store.LOCK_TIMEOUT", "100ms")
    monkeypatch.setattr("todos.ingest.assignment.LEFT_OUT_SECONDS", 0.2)
    topic = make_memory_topic(partitions=3)
    ensure_ledger(topic.kafka.topic, range(3))
    run = run_until(topic, lambda: set(topic.ledger().values()) == {5})
    if is_leased:
        for partition in range(3):
            topic.send_todos(1, partition)
        thread = in_thread(run.run)
        eventually(lambda: set(topic.ledger().values()) == {1}, seconds=20, what="the first todos")
    with open_transaction() as session:
        session.execute(lock, [topic.kafka.topic, 1])
        for partition in range(3):
            topic.send_todos(4 if is_leased else 5, partition)
        if not is_leased:
            thread = in_thread(run.run)
        eventually(lambda: topic.ledger() == {0: 5, 1: int(is_leased), 2: 5}, seconds=20, what="the free partitions")
    thread.join()

    assert {0: 5, 1: 5, 2: 5} == topic.ledger()


def test_a_partition_that_waits_for_a_lock_costs_the_others_one_attempt(
    make_memory_topic: Callable[..., MemoryTopic], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("todos.ingest.store.LOCK_TIMEOUT", "100ms")
    topic = make_memory_topic(partitions=2)
    ensure_ledger(topic.kafka.topic, range(2))

    def has_stored(count: int) -> bool:
        return topic.ledger()[0] == count

    run = run_until(topic, partial(has_stored, 5))
    topic.send_todos(1, 1)
    topic.send_todos(1, 0)
    with open_transaction() as session:
        session.execute(LOCK_BATCHES, [topic.kafka.topic, 1])
        thread = in_thread(run.run)
        for count in range(1, 5):
            eventually(partial(has_stored, count), seconds=20, what="the other partition")
            topic.send_todos(1, 0)
        thread.join()

    assert (1, {0: 5, 1: 0}) == (run.summary.failures, topic.ledger())


@pytest.mark.parametrize(
    "statement",
    [
        lambda poll: ensure_ledger(TOPIC, [0, 1, 2]),
        lambda poll: poll.heartbeat(),
        lambda poll: poll.refresh([0, 1]),
        lambda poll: poll.release([0]),
        lambda poll: recreated_partitions(TOPIC, uuid4(), [0, 1]),
    ],
    ids=["ensure", "heartbeat", "refresh", "release", "adopt"],
)
def test_no_statement_waits_for_a_locked_table(
    monkeypatch: pytest.MonkeyPatch, statement: Callable[[Leases], object]
) -> None:
    monkeypatch.setattr(leases, "LOCK_TIMEOUT", "50ms")
    ensure_ledger(TOPIC, [0, 1])
    poll = Leases(TOPIC, "a test")
    poll.refresh([0, 1])
    poll.invalidate()
    with open_transaction() as session:
        session.execute("SET idle_in_transaction_session_timeout = '5s'")
        session.execute("LOCK TABLE todos_partitionledger, todos_poller")
        with pytest.raises(OperationalError, match="lock timeout"):
            statement(poll)


def test_a_locked_row_without_a_topic_id_is_no_row_of_another_topic() -> None:
    ensure_ledger(TOPIC, [0, 1])
    PartitionLedger.objects.update(next_offset=7)
    topic_id = uuid4()
    with open_transaction() as session:
        session.execute(LOCK_ROW, [TOPIC, 0])
        assert not recreated_partitions(TOPIC, topic_id, [0, 1])
    assert [None, topic_id] == list(PartitionLedger.objects.values_list("topic_id", flat=True))

    assert not recreated_partitions(TOPIC, topic_id, [0, 1])
    assert {topic_id} == set(PartitionLedger.objects.values_list("topic_id", flat=True))


@pytest.mark.parametrize("lock", [LOCK_ROW, UPDATE_ROW, LOCK_BATCHES], ids=["locked", "changed", "history"])
def test_the_session_that_holds_a_row_is_named(monkeypatch: pytest.MonkeyPatch, lock: str) -> None:
    ensure_ledger(TOPIC, [0, 1])
    with open_transaction("forgotten") as session:
        session.execute("SELECT pg_backend_pid(), current_user, now()")
        pid, user, since = session.fetchone()
        session.execute(lock, [TOPIC, 1])
        assert [] == held_rows.held_rows(TOPIC)  # any worker that stores a batch locks its rows for a moment
        monkeypatch.setattr(held_rows, "IDLE_PATIENCE_SECONDS", 0)
        (held,) = held_rows.held_rows(TOPIC)
        assert (1, pid, user, "forgotten", since) == held
        assert str(pid) in str(held)

    assert [] == held_rows.held_rows(TOPIC)
