"""One Idempotency-Key for two contents: the first is stored, the second is kept as a conflict, and nothing is lost."""

from collections.abc import Callable
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command

from edge_api.contract import TodoFields, fingerprint
from tests.support.topic import Topic, event
from todos.dead_letters.service import ActionRefused, edit, redrive, reopen
from todos.kafka.producer import KafkaSender
from todos.models import Batch, DeadLetter, PartitionLedger, Todo
from todos.operations.audit import OffsetKind, audit_partition

pytestmark = pytest.mark.django_db(transaction=True)
MakeTopic = Callable[..., Topic]
ID, OTHER = UUID(int=7), UUID(int=8)
CONFLICT, DISCARDED = DeadLetter.Reason.CONFLICT, DeadLetter.Status.DISCARDED


def send(topic: Topic, title: str, *, todo_id: UUID = ID) -> None:
    """As the edge does under a key."""
    headers = [("request-id", b"r"), ("fingerprint", fingerprint(TodoFields(title=title)).encode())]
    topic.send(event(id=str(todo_id), title=title), key=str(todo_id).encode(), headers=headers)


def conflicts() -> list[tuple[int, int]]:
    found = DeadLetter.objects.filter(reason=CONFLICT, status=DISCARDED).order_by("partition", "offset")
    return list(found.values_list("partition", "offset"))


def outcomes(topic: Topic) -> dict[OffsetKind, int]:
    audit = audit_partition(topic.log(), 0)
    assert audit.is_proved(accept_deleted=False)
    return {kind: count for kind, count in audit.kinds.items() if count}


@pytest.mark.parametrize("max_records", [1, 100])
def test_the_first_content_wins_in_one_batch_as_over_several(make_memory_topic: MakeTopic, max_records: int) -> None:
    topic = make_memory_topic()
    for title in ("a", "a", "b", "a", "c"):
        send(topic, title)

    summary = topic.poll(max_records=max_records)

    assert (1, 2, 2) == (summary.stored, summary.duplicates, summary.dead_letters)
    assert ("a", 0) == Todo.objects.values_list("title", "source_offset").get()
    assert [(0, 2), (0, 4)] == conflicts()
    counted = Batch.objects.filter(topic=topic.kafka.topic).values_list("stored", "duplicates", "dead_letters")
    assert [1, 2, 2] == [sum(column) for column in zip(*counted, strict=True)]
    ledger = PartitionLedger.objects.get(topic=topic.kafka.topic)
    assert (1, 2, 2) == (ledger.stored_total, ledger.duplicates_total, ledger.dead_letters_total)
    assert {OffsetKind.STORED: 1, OffsetKind.DUPLICATE: 2, OffsetKind.DEAD_LETTER: 2} == outcomes(topic)


def test_without_a_fingerprint_on_both_sides_there_is_no_conflict(make_memory_topic: MakeTopic) -> None:
    """Foreign producers and files of exported todos tell nothing of a key."""
    topic = make_memory_topic()
    topic.send(event(id=str(ID), title="foreign"))
    send(topic, "a")
    send(topic, "b", todo_id=OTHER)
    topic.send(event(id=str(OTHER), title="foreign"))

    assert 2 == topic.poll().duplicates
    assert [] == conflicts()


def test_an_edited_todo_is_still_what_its_key_stored(make_memory_topic: MakeTopic) -> None:
    topic = make_memory_topic()
    send(topic, "a")
    topic.poll()
    Todo.objects.update(title="edited")
    send(topic, "a")

    assert 1 == topic.poll().duplicates
    assert [] == conflicts()


def test_any_number_of_conflicts_never_stops_the_partition(make_memory_topic: MakeTopic) -> None:
    topic = make_memory_topic()
    send(topic, "first")
    for number in range(150):
        send(topic, str(number))

    summary = topic.poll(dead_letter_percent=1)

    assert (1, 150, 0) == (summary.stored, summary.dead_letters, summary.failures)


def test_what_is_read_again_is_found_again(make_topic: MakeTopic, settings: Any) -> None:
    topic = make_topic()
    settings.KAFKA = topic.kafka
    for title in ("a", "b", "a"):
        send(topic, title)
    topic.poll()
    call_command("rewind", "--partition", "0", "--to-beginning", stdout=StringIO())

    summary = topic.poll()

    assert (0, 2, 1) == (summary.stored, summary.duplicates, summary.dead_letters)
    assert [(0, 1)] == conflicts()
    assert {OffsetKind.STORED: 1, OffsetKind.DUPLICATE: 1, OffsetKind.DEAD_LETTER: 1} == outcomes(topic)


def test_a_conflict_is_redriven_as_another_todo_or_not_at_all(make_topic: MakeTopic) -> None:
    topic = make_topic()
    for title in ("a", "b"):
        send(topic, title)
    topic.poll()
    letter = DeadLetter.objects.get(reason=CONFLICT)
    reopen(letter.id, by="a test")
    with KafkaSender(topic.kafka) as sender:
        with pytest.raises(ActionRefused, match="stored already"):
            redrive(letter.id, sender=sender, by="a test")
        edit(letter.id, event(id=str(OTHER), title="b"), by="a test")
        redrive(letter.id, sender=sender, by="a test")

    assert 1 == topic.poll().stored
    assert {(ID, "a"), (OTHER, "b")} == set(Todo.objects.values_list("id", "title"))
