"""An operator moves a ledger: what is read again changes nothing, what is skipped is on record."""

import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.support.chains import assert_whole, chain
from tests.support.threads import in_thread
from tests.support.topic import Topic
from tests.support.waiting import eventually
from todos.ingest.consumer import ConsumerRun
from todos.ingest.options import PollOptions
from todos.ledger.leases import ensure_ledger
from todos.models import Batch, DeadLetter, OffsetLoss, PartitionLedger, Todo

pytestmark = pytest.mark.django_db(transaction=True)
MakeTopic = Callable[..., Topic]


@pytest.fixture
def topic(make_topic: MakeTopic, settings: Any) -> Topic:
    """Ten records of which the fifth is poison, all of them polled."""
    topic = make_topic()
    settings.KAFKA = topic.kafka
    for number in range(10):
        if number == 4:
            topic.send(b"poison", timestamp_ms=1_700_000_000_000)
        else:
            topic.send(f'{{"title": "todo {number}"}}'.encode(), timestamp_ms=1_700_000_000_000 + number)
    topic.poll()
    return topic


def rewind(**options: Any) -> str:
    out = io.StringIO()
    defaults = {"partition": 0, "offset": None, "timestamp": None, "to_beginning": False}
    arguments = [
        f"--{name.replace('_', '-')}" + ("" if value is True else f"={value}")
        for name, value in (defaults | options).items()
        if value is not None and value is not False
    ]
    call_command("rewind", *arguments, stdout=out)
    return out.getvalue()


def test_what_is_read_again_changes_nothing(topic: Topic) -> None:
    todos, letters = list(Todo.objects.values()), list(DeadLetter.objects.values())

    out = rewind(offset=3)
    again = topic.poll()

    assert "moves back from 10 to 3: 7 offsets are read again" in out
    assert (again.stored, again.duplicates, again.dead_letters) == (0, 6, 1)
    assert (list(Todo.objects.values()), list(DeadLetter.objects.values())) == (todos, letters)


def test_a_rewind_begins_a_new_chain_and_keeps_the_old_one(topic: Topic) -> None:
    rewind(offset=3)
    topic.poll()

    name = topic.kafka.topic
    assert chain(name, generation=0)[0] == (None, 0)
    assert chain(name, generation=0)[-1][1] == 10
    assert chain(name, generation=1)[0] == (None, 3)
    assert chain(name, generation=1)[-1][1] == 10
    assert PartitionLedger.objects.get().generation == 1


def test_a_todo_that_was_deleted_comes_back(topic: Topic) -> None:
    Todo.objects.filter(source_offset=7).delete()

    assert "todos that were deleted since are stored again" in rewind(to_beginning=True, dry_run=True)
    rewind(to_beginning=True)
    assert topic.poll().stored == 1


@pytest.mark.parametrize(
    ("moment", "offset"),
    [
        ("2023-11-14T22:13:20.006", 6),
        ("2023-11-14T23:13:20.006+01:00", 6),
        ("1970-01-01", 0),
        ("1969-12-31T23:59:59.999", 0),
    ],
)
def test_a_time_is_the_first_record_as_young_as_that(topic: Topic, moment: str, offset: int) -> None:
    assert datetime.fromtimestamp(1_700_000_000, UTC).isoformat() == "2023-11-14T22:13:20+00:00"
    assert f"moves back from 10 to {offset}" in rewind(timestamp=moment, dry_run=True)


@pytest.mark.parametrize("where", [{"offset": 2}, {"offset": 10}, {"to_beginning": True}])
def test_a_dry_run_says_what_would_happen_and_does_nothing(topic: Topic, where: dict[str, Any]) -> None:
    before = [list(model.objects.values()) for model in (PartitionLedger, Batch, OffsetLoss)]

    assert rewind(**where, dry_run=True).endswith("Dry run: nothing was changed.\n")
    assert [list(model.objects.values()) for model in (PartitionLedger, Batch, OffsetLoss)] == before


def test_records_are_skipped_only_on_demand_and_on_record(topic: Topic) -> None:
    topic.send_todos(5)

    with pytest.raises(CommandError, match="would skip 3 offsets; --skip records them as lost"):
        rewind(offset=13)
    assert rewind(offset=13, dry_run=True).endswith("nothing was changed. It needs --skip.\n")
    assert (topic.ledger(), OffsetLoss.objects.count()) == ({0: 10}, 0)

    assert "3 offsets are not stored" in rewind(offset=13, skip=True)
    loss = OffsetLoss.objects.get()
    assert (loss.first_offset, loss.next_offset, loss.cause) == (10, 13, "skipped")
    assert topic.poll().stored == 2
    assert_whole(topic.kafka.topic, {0: 15})


def test_what_was_skipped_can_be_read_after_all_and_skipped_again(topic: Topic) -> None:
    topic.send_todos(5)
    rewind(offset=15, skip=True)
    rewind(offset=10)
    rewind(offset=12, skip=True)

    assert topic.poll().stored == 3
    assert OffsetLoss.objects.count() == 2


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"offset": 11}, "--offset: Kafka has 0 to 10"),
        ({"offset": -1}, "--offset: Kafka has 0 to 10"),
        ({"timestamp": "2123-01-01"}, "--timestamp: .* has no record of 2123-01-01"),
        ({"timestamp": "soon"}, "--timestamp: invalid"),
        ({"partition": 7, "offset": 0}, "--partition: .* has 0 to 0"),
        ({"to_agreement": True}, "is not known to have diverged"),
        ({}, "one of the arguments --offset --timestamp --to-beginning --to-agreement is required"),
    ],
)
def test_nonsense_is_refused_in_a_line(topic: Topic, where: dict[str, Any], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        rewind(**where)
    assert topic.ledger() == {0: 10}


def test_a_running_poll_follows_a_rewind(topic: Topic) -> None:
    Todo.objects.all().delete()
    options = PollOptions(timeout_ms=20_000, time_budget_seconds=30)
    poll = ConsumerRun(topic.log(), options, "running", should_stop=lambda: poll.summary.records >= 10)
    thread = in_thread(poll.run)
    eventually(lambda: 0 in poll.leases.held, seconds=20, what="the poll to hold the partition")
    rewind(to_beginning=True)
    thread.join()

    assert (poll.summary.stored, poll.summary.failures, topic.ledger()) == (9, 0, {0: 10})
    assert_whole(topic.kafka.topic, {})
    assert chain(topic.kafka.topic, generation=1)[-1][1] == 10


def test_a_ledger_ahead_of_the_log_is_brought_back(make_topic: MakeTopic, settings: Any) -> None:
    """As after the topic was deleted and recreated under its name."""
    topic = make_topic()
    settings.KAFKA = topic.kafka
    topic.send_todos(2)
    ensure_ledger(topic.kafka.topic, [0])
    Batch.objects.create(topic=topic.kafka.topic, partition=0, generation=0, first_offset=0, next_offset=50)
    PartitionLedger.objects.update(next_offset=50)
    assert topic.poll().stored == 0

    assert "Kafka ends at 2, so the topic was recreated" in rewind(to_beginning=True)
    assert topic.poll().stored == 2


def test_a_ledger_moved_by_hand_is_measured_from_its_batches(topic: Topic) -> None:
    topic.send_todos(5)
    PartitionLedger.objects.update(next_offset=14)
    assert topic.poll().stored == 0

    with pytest.raises(CommandError, match="is stored up to offset 10: moving to 14 would skip 4 offsets"):
        rewind(offset=14)
    rewind(offset=10)
    assert topic.poll().stored == 5
    assert_whole(topic.kafka.topic, {0: 15})


def test_a_partition_without_any_history_gets_one(topic: Topic) -> None:
    Batch.objects.all().delete()
    topic.send_todos(1)
    assert topic.poll().stored == 0

    rewind(offset=10)
    assert topic.poll().stored == 1
    assert chain(topic.kafka.topic, generation=1) == [(None, 10), (10, 11)]
