"""An operator gets a halted partition past what blocks it, and no good todo behind it is lost."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.chains import assert_whole
from tests.support.manage import run
from tests.support.memory_topic import MemoryTopic
from tests.support.todos import constraint
from tests.support.topic import Topic, event, event_of_version
from todos.dead_letters.service import ActionRefused, check_redrive
from todos.event_log import OffsetOutOfRange
from todos.ingest.dead_letter_limit import MIN_RECORDS
from todos.ingest.errors import SystemicFailure
from todos.ledger.leases import Leases
from todos.models import DeadLetter, HaltReason, PartitionLedger, Poller, Todo
from todos.operations.audit import audit_partition
from todos.operations.set_aside import NothingToSetAside, set_aside

pytestmark = pytest.mark.django_db(transaction=True)
POISON = b"{}"


@pytest.fixture
def topic(make_memory_topic: Callable[..., MemoryTopic]) -> MemoryTopic:
    """Two partitions, of which the first is halted at nonsense with ten good todos among it."""
    topic = make_memory_topic(partitions=2)
    topic.send(*[POISON] * MIN_RECORDS)
    topic.send_todos(10)
    topic.send_todos(5, partition=1)
    topic.poll()
    assert {0: 0, 1: 5} == topic.ledger()
    return topic


def halted(topic: Topic) -> list[int]:
    ledgers = PartitionLedger.objects.filter(topic=topic.kafka.topic).exclude(halt_text="")
    return list(ledgers.values_list("partition", flat=True))


def snapshot() -> list[Any]:
    return [sorted(model.objects.values_list()) for model in (PartitionLedger, Todo, DeadLetter, Poller)]


def test_what_can_be_stored_is_and_the_rest_are_dead_letters(topic: MemoryTopic) -> None:
    before = snapshot()
    planned = set_aside(topic.log(), 0, dry_run=True)
    assert before == snapshot()

    outcome = set_aside(topic.log(), 0)

    assert planned == outcome
    assert (0, 110, 10, 0, MIN_RECORDS) == (
        outcome.first, outcome.end, outcome.todos, outcome.duplicates, outcome.dead_letters
    )  # fmt: skip
    assert (15, MIN_RECORDS, []) == (
        Todo.objects.count(),
        DeadLetter.objects.filter(status="open").count(),
        halted(topic),
    )
    assert_whole(topic.kafka.topic, {0: 110, 1: 5})
    topic.send_todos(3)
    assert 3 == topic.poll().stored


def test_it_ends_where_the_operator_says_and_the_rest_stays_halted(topic: MemoryTopic) -> None:
    outcome = set_aside(topic.log(), 0, 40)
    assert (40, 40) == (outcome.end, outcome.dead_letters)
    assert {0: 40, 1: 5} == topic.ledger()
    topic.poll()
    assert [0] == halted(topic)


@pytest.mark.parametrize("end", [None, 200])
def test_it_ends_before_an_open_transaction(
    topic: MemoryTopic, monkeypatch: pytest.MonkeyPatch, end: int | None
) -> None:
    monkeypatch.setattr("todos.operations.set_aside.SILENCE_SECONDS", 0)
    topic.held = {0: 105}
    outcome = set_aside(topic.log(), 0, end)
    assert (105, 5) == (outcome.end, outcome.todos)

    topic.held = {}
    assert 5 == topic.poll().stored


def test_a_record_for_a_newer_worker_is_set_aside_and_can_be_redriven_by_one(
    make_memory_topic: Callable[..., MemoryTopic],
) -> None:
    topic = make_memory_topic()
    topic.send_todos(2)
    topic.send(event_of_version(2))
    topic.send_todos(2)
    topic.poll()
    assert [0] == halted(topic)

    outcome = set_aside(topic.log(), 0)

    letter = DeadLetter.objects.get()
    assert ("set_aside", 2, "open", event_of_version(2)[:40]) == (
        letter.reason, letter.offset, letter.status, bytes(letter.value or b"")[:40]
    )  # fmt: skip
    assert (2, 4, []) == (outcome.todos, Todo.objects.count(), halted(topic))
    assert audit_partition(topic.log(), 0).is_proved(accept_deleted=False)
    with pytest.raises(ActionRefused, match="version"):
        check_redrive(letter.pk)


def test_a_poll_that_holds_the_partition_loses_it(topic: MemoryTopic) -> None:
    with Leases(topic.kafka.topic, "a poll") as leases:
        leases.refresh([0, 1])
        assert 10 == set_aside(topic.log(), 0).todos
        leases.refresh([0, 1])
        assert {1} <= leases.held.keys()
    assert {0: 110, 1: 5} == topic.ledger()


def test_a_database_that_refuses_every_todo_makes_no_dead_letters(topic: MemoryTopic) -> None:
    with constraint("title = 'none'"):
        for dry_run in (True, False):
            with pytest.raises(SystemicFailure, match="refuses every todo"):
                set_aside(topic.log(), 0, dry_run=dry_run)
    assert (0, [0], {0: 0, 1: 5}) == (DeadLetter.objects.count(), halted(topic), topic.ledger())


@pytest.mark.parametrize("reason", ["", HaltReason.LOG_DIVERGED, HaltReason.LEDGER_EDITED, HaltReason.UNREADABLE])
def test_a_partition_that_no_record_blocks_is_left_alone(topic: MemoryTopic, reason: str) -> None:
    PartitionLedger.objects.filter(partition=0).update(halt_reason=reason, halt_text=reason and "why")
    with pytest.raises(NothingToSetAside):
        set_aside(topic.log(), 0)
    assert {0: 0, 1: 5} == topic.ledger()


def test_the_command_says_what_it_would_do_and_does_it(make_topic: Callable[..., Topic], settings: Any) -> None:
    topic = make_topic()
    settings.KAFKA = topic.kafka
    assert (1, True) == ((done := run("set_aside", "--partition", 0)).code, "no ledger" in done.said)
    topic.send(*[POISON] * MIN_RECORDS, event())
    topic.poll()

    dry = run("set_aside", "--partition", 0, "--dry-run")
    assert "1 todos are stored, 0 were stored before, 100 records become dead letters" in dry.out
    assert dry.out.endswith("Dry run: nothing was changed.\n")
    assert 0 == Todo.objects.count()

    assert dry.out.startswith(run("set_aside", "--partition", 0).out)
    assert (1, 100) == (Todo.objects.count(), DeadLetter.objects.count())
    assert "is not halted" in run("set_aside", "--partition", 0).said


def test_what_kafka_deleted_is_left_to_the_next_poll(topic: MemoryTopic) -> None:
    topic.delete_records(0, before=7)
    with pytest.raises(OffsetOutOfRange):
        set_aside(topic.log(), 0)
    assert 7 == topic.poll().lost
