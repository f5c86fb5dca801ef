"""The batches of a partition are one chain without gap, overlap or fork, because the database refuses any other."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction

from tests.support.chains import assert_whole, chain
from tests.support.threads import in_threads
from tests.support.topic import Topic, event
from todos import tasks
from todos.ingest import consumer as ingest
from todos.ingest.consumer import ConsumerRun
from todos.ingest.options import PollOptions
from todos.ingest.parsing import ParsedBatch, TodoRow
from todos.ingest.store import store
from todos.ledger.batch_history import ChainBroken, WriterInfo, broken_chains, trim
from todos.ledger.leases import Lease, ensure_ledger
from todos.models import Batch, DeadLetter, OffsetLoss, PartitionLedger, Todo

pytestmark = pytest.mark.django_db(transaction=True)
MakeTopic = Callable[..., Topic]
TOPIC = "t"


def batch(first: int | None, end: int, generation: int = 0, **counts: int) -> Batch:
    where = {"topic": TOPIC, "partition": 0, "generation": generation}
    return Batch.objects.create(**where, first_offset=first, next_offset=end, **counts)


@pytest.fixture
def to_ten() -> None:
    """An anchor at 0, and batches 0 to 4 and 5 to 9."""
    batch(None, 0)
    batch(0, 5, stored=5)
    batch(5, 10, stored=3, duplicates=1, dead_letters=1)


@pytest.mark.usefixtures("to_ten")
@pytest.mark.parametrize(
    ("first", "end", "counts", "constraint"),
    [
        (11, 15, {}, "todos_batch_follows"),  # a gap
        (7, 12, {}, "todos_batch_follows"),  # an overlap that begins inside a batch
        (5, 12, {}, "batch_begins_once"),  # a fork
        (0, 10, {}, "batch_(begins|ends)_once"),  # the same range once more
        (0, 12, {}, "batch_begins_once"),
        (None, 10, {}, "batch_(begins|ends)_once"),  # a second anchor
        (None, 20, {}, "batch_begins_once"),
        (10, 10, {}, "batch_(not_empty|ends_once)"),
        (10, 9, {}, "batch_(not_empty|counts_fit)"),
        (10, 20, {"stored": 9, "duplicates": 2}, "batch_counts_fit"),
    ],
)
def test_the_database_refuses_what_is_no_chain(
    first: int | None, end: int, counts: dict[str, int], constraint: str
) -> None:
    with pytest.raises(IntegrityError, match=constraint):
        batch(first, end, **counts)
    assert chain(TOPIC) == [(None, 0), (0, 5), (5, 10)]


@pytest.mark.usefixtures("to_ten")
def test_the_database_accepts_the_next_batch_and_another_generation() -> None:
    batch(10, 20, stored=10)
    batch(None, 5, generation=1)
    batch(5, 12, generation=1)


@pytest.mark.usefixtures("to_ten")
def test_the_database_refuses_to_lose_a_batch_in_the_middle() -> None:
    with pytest.raises(IntegrityError, match="todos_batch_follows"):
        Batch.objects.filter(next_offset=5).delete()
    assert len(chain(TOPIC)) == 3


def test_every_stored_range_is_a_batch_with_its_counts(make_memory_topic: MakeTopic) -> None:
    topic = make_memory_topic(partitions=2)
    good = event(title="once", id="0198c0de-0000-7000-8000-000000000001")
    topic.send(good, good, b"poison", partition=0)
    topic.send_todos(2, partition=1)
    ConsumerRun(topic.log(), PollOptions(timeout_ms=1000), "host:1", "a-task").run()

    name = topic.kafka.topic
    assert_whole(name, {0: 3, 1: 2})
    (row,) = Batch.objects.filter(topic=name, partition=0, first_offset=0).values()
    expected = {"next_offset": 3, "stored": 1, "duplicates": 1, "dead_letters": 1, "lost": 0, "generation": 0}
    assert expected.items() <= row.items()
    assert (row["bytes"], row["worker"], row["task_id"]) == (2 * len(good) + len(b"poison"), "host:1", "a-task")
    assert Batch.objects.get(topic=name, partition=1, stored=2).duplicates == 0


def test_a_batch_of_several_partitions_counts_each_of_them() -> None:
    """A todo that partition 0 sent twice, and partition 1 once more, in one transaction."""
    ensure_ledger(TOPIC, [0, 1])
    now = datetime.now(UTC)
    todos = [TodoRow(UUID(int=n), "t", "", now, p, o) for n, p, o in ((1, 0, 0), (1, 0, 1), (1, 1, 0), (2, 1, 1))]
    result = store(TOPIC, {0: Lease(0, 0), 1: Lease(0, 0)}, ParsedBatch(todos=todos), {0: 2, 1: 2})

    assert (result.todos, result.duplicates) == (2, 2)
    counts = Batch.objects.filter(first_offset=0).order_by("partition").values_list("stored", "duplicates")
    assert list(counts) == [(1, 1), (1, 1)]


def test_the_chain_is_whole_after_polls_at_the_same_time(
    make_memory_topic: MakeTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leases are stolen all the while."""
    topic = make_memory_topic(partitions=4)
    for partition in range(4):
        topic.send_todos(300, partition)
    calls = iter(range(10**6))

    def steal_now_and_then(*args: Any, **kwargs: Any) -> Any:
        if next(calls) % 5 == 0:
            PartitionLedger.objects.filter(partition=0).update(epoch=1_000 + next(calls))
        return store(*args, **kwargs)

    monkeypatch.setattr(ingest, "store", steal_now_and_then)
    options = PollOptions(timeout_ms=20_000, max_records=20, time_budget_seconds=60)
    polls: list[ConsumerRun] = []

    def is_done() -> bool:
        return sum(poll.summary.stored for poll in polls) == 1200

    polls += [ConsumerRun(topic.log(), options, f"worker {n}", should_stop=is_done) for n in range(3)]
    in_threads(*(poll.run for poll in polls))

    assert Todo.objects.count() == 1200
    assert_whole(topic.kafka.topic, dict.fromkeys(range(4), 300))
    assert sum(Batch.objects.values_list("stored", flat=True)) == 1200


def test_a_loss_is_a_part_of_the_chain(make_memory_topic: MakeTopic) -> None:
    topic = make_memory_topic()
    topic.send_todos(10)
    topic.delete_records(0, before=4)
    topic.poll()

    assert_whole(topic.kafka.topic, {0: 10})
    assert list(Batch.objects.order_by("next_offset").values_list("lost", "stored")) == [(0, 0), (4, 0), (0, 6)]
    assert OffsetLoss.objects.get().cause == "deleted"


def test_a_ledger_moved_by_hand_stops_its_partition_only(
    make_memory_topic: MakeTopic, caplog: pytest.LogCaptureFixture
) -> None:
    topic = make_memory_topic(partitions=2)
    topic.send_todos(10, partition=0)
    topic.poll()
    topic.send_todos(10, partition=0)
    topic.send_todos(3, partition=1)
    PartitionLedger.objects.filter(partition=0).update(next_offset=15)

    summary = topic.poll()

    assert (summary.stored, topic.ledger(), DeadLetter.objects.count()) == (3, {0: 15, 1: 3}, 0)
    assert f"{topic.kafka.topic}/0 is at 15, but its batches end at 10" in caplog.text


def test_a_store_on_a_broken_chain_stores_nothing() -> None:
    ensure_ledger(TOPIC, [0])
    PartitionLedger.objects.update(next_offset=5)

    with pytest.raises(ChainBroken, match="todos_batch_follows"):
        store(TOPIC, {0: Lease(5, 0)}, ParsedBatch(), {0: 7}, writer=WriterInfo("w"))

    assert (PartitionLedger.objects.get().next_offset, chain(TOPIC)) == (5, [(None, 0)])


@pytest.fixture
def aged() -> None:
    """A ledger at 30 whose batches of 10 are 50, 40 and 3 days old."""
    ensure_ledger(TOPIC, [0])
    for first in (0, 10, 20):
        batch(first, first + 10, stored=10)
    PartitionLedger.objects.update(next_offset=30)
    with connection.cursor() as cursor:
        for end, days in ((0, 60), (10, 50), (20, 40), (30, 3)):
            sql = "UPDATE todos_batch SET created_at = now() - %s * interval '1 day' WHERE next_offset = %s"
            cursor.execute(sql, [days, end])


@pytest.mark.usefixtures("aged")
@pytest.mark.parametrize(
    ("days", "left"),
    [
        (70, [(None, 0), (0, 10), (10, 20), (20, 30)]),
        (45, [(None, 10), (10, 20), (20, 30)]),
        (30, [(None, 20), (20, 30)]),
        (1, [(None, 20), (20, 30)]),  # the last one stays
    ],
)
def test_a_trim_leaves_a_chain_that_goes_on(days: int, left: list[tuple[int | None, int]]) -> None:
    trim(days)
    assert (chain(TOPIC), broken_chains(TOPIC).exists()) == (left, False)
    assert trim(days) == 0

    store(TOPIC, {0: Lease(30, 0)}, ParsedBatch(), {0: 31})
    assert chain(TOPIC) == [*left, (30, 31)]


@pytest.mark.usefixtures("aged")
def test_a_trim_goes_on_over_many_transactions_until_its_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("todos.ledger.batch_history.TRIM_ROWS", 2)
    monkeypatch.setattr("todos.ledger.batch_history.TRIM_SECONDS", 0)
    assert trim(30) == 0
    monkeypatch.setattr("todos.ledger.batch_history.TRIM_SECONDS", 5)
    assert trim(30) == 2
    assert chain(TOPIC) == [(None, 20), (20, 30)]


@pytest.mark.usefixtures("aged")
def test_a_trim_does_not_wait_for_a_poll_that_stores_nor_the_other_way_round() -> None:
    """Each in the middle of its transaction."""
    with transaction.atomic():
        batch(30, 40)

        def trim_meanwhile() -> None:
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '1s'")
            trim(1)

        in_threads(trim_meanwhile)
    assert chain(TOPIC) == [(None, 20), (20, 30), (30, 40)]


@pytest.mark.usefixtures("aged")
def test_the_task_trims_and_refuses_nonsense(caplog: pytest.LogCaptureFixture) -> None:
    tasks.trim_batches(keep_days=0)
    assert len(chain(TOPIC)) == 4
    assert "nothing is trimmed" in caplog.text
    tasks.trim_batches(keep_days=45)
    assert len(chain(TOPIC)) == 3
