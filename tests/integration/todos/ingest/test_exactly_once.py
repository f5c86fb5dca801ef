"""Each record of the topic ends as one todo or one dead letter, whatever comes in between."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from edge_api.contract import id_from_position
from tests.support.topic import Topic, event
from todos.models import DeadLetter, Todo
from todos.operations.rewind import rewind

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("either_kafka_api")]
MakeTopic = Callable[..., Topic]
GOOD_ID = "0198c0de-0000-7000-8000-000000000001"


def test_stores_what_the_topic_holds_and_moves_the_ledger(make_topic: MakeTopic) -> None:
    topic = make_topic(partitions=3)
    ids = topic.send_todos(5, partition=0) + topic.send_todos(7, partition=2)

    summary = topic.poll()

    assert (summary.stored, summary.duplicates, summary.dead_letters) == (12, 0, 0)
    assert {str(todo.id) for todo in Todo.objects.all()} == set(ids)
    assert topic.ledger() == {0: 5, 1: 0, 2: 7}


def test_keeps_every_field_of_the_event_and_its_position(make_topic: MakeTopic) -> None:
    topic = make_topic(partitions=2)
    text = "quote ' backslash \\ brace { comma , newline \n emoji \N{ROCKET} null-like NULL"
    topic.send_todos(3, partition=1)
    topic.send(event(id=GOOD_ID, title=f"  {text} ", description=text * 9), partition=1)

    topic.poll()

    todo = Todo.objects.get(id=GOOD_ID)
    assert (todo.title, todo.description, todo.is_done) == (text, text * 9, False)
    assert todo.created_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert (todo.source_partition, todo.source_offset) == (1, 3)


def test_a_second_poll_goes_on_where_the_first_ended(make_topic: MakeTopic) -> None:
    topic = make_topic()
    topic.send_todos(3)
    topic.poll()
    topic.send_todos(4)

    assert topic.poll().stored == 4
    assert Todo.objects.count() == 7


def test_a_bare_todo_of_a_foreign_producer_gets_id_and_time_from_its_record(make_topic: MakeTopic) -> None:
    topic = make_topic()
    topic.send(b'{"title": "Do homework", "description": "Finish it"}', timestamp_ms=1_700_000_000_123)

    topic.poll()

    todo = Todo.objects.get()
    assert todo.id == id_from_position(topic.kafka.topic, 0, 0)
    assert (todo.title, todo.description) == ("Do homework", "Finish it")
    assert todo.created_at == datetime.fromtimestamp(1_700_000_000.123, UTC)


def test_a_producers_retry_is_stored_once_in_one_batch_and_over_two(make_topic: MakeTopic) -> None:
    topic = make_topic()
    topic.send(event(id=GOOD_ID), event(id=GOOD_ID))
    first = topic.poll()
    topic.send(event(id=GOOD_ID))
    second = topic.poll()

    assert (first.stored, first.duplicates) == (1, 1)
    assert (second.stored, second.duplicates) == (0, 1)
    assert Todo.objects.count() == 1


def test_reading_a_range_again_changes_nothing(make_topic: MakeTopic) -> None:
    topic = make_topic()
    topic.send_todos(20)
    topic.send(b"poison")
    topic.poll()
    stored = list(Todo.objects.values()), list(DeadLetter.objects.values("id", "offset", "reason"))
    rewind(topic.kafka.topic, 0, 0)

    again = topic.poll()

    assert (again.stored, again.duplicates, again.dead_letters, again.failures) == (0, 20, 1, 0)
    assert (list(Todo.objects.values()), list(DeadLetter.objects.values("id", "offset", "reason"))) == stored


def test_a_poisoned_record_becomes_a_dead_letter_and_blocks_nobody(make_topic: MakeTopic) -> None:
    topic = make_topic()
    before, after = topic.send_todos(2), None
    poison = b'{"title": "\\u0000"}'
    topic.send(poison, key=b"\xff\x00", headers=[("trace\x00", b"\x00\x01"), ("empty", b"")], timestamp_ms=17)
    after = topic.send_todos(2)

    summary = topic.poll()

    assert (summary.stored, summary.dead_letters) == (4, 1)
    assert {str(todo.id) for todo in Todo.objects.all()} == {*before, *after}
    letter = DeadLetter.objects.get()
    assert (letter.topic, letter.partition, letter.offset) == (topic.kafka.topic, 0, 2)
    assert (bytes(letter.key or b""), bytes(letter.value or b"")) == (b"\xff\x00", poison)
    assert letter.timestamp_ms == 17
    assert letter.headers == [["trace\\x00", base64.b64encode(b"\x00\x01").decode()], ["empty", ""]]
    assert (letter.reason, letter.detail) == ("invalid", "title: must not contain the character U+0000")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"\xff\xfe", "invalid"),
        (b"[" * 100_000, "invalid"),
        (b'{"title": "\\ud800"}', "invalid"),
        (b'{"title": "x", "version": 2}', "invalid"),
        (b'{"title": "x", "created_at": "0001-01-01T00:00:00+23:59"}', "invalid"),
    ],
)
def test_no_bytes_can_stop_a_partition(make_topic: MakeTopic, value: bytes | None, reason: str) -> None:
    topic = make_topic()
    topic.send(value, event(id=GOOD_ID), key=b"Kafka wants a key or a value")

    topic.poll()

    assert [letter.reason for letter in DeadLetter.objects.all()] == [reason]
    assert [str(todo.id) for todo in Todo.objects.all()] == [GOOD_ID]


def test_a_batch_holds_no_more_than_max_records(make_topic: MakeTopic) -> None:
    topic = make_topic()
    topic.send_todos(25)

    summary = topic.poll(max_records=10)

    assert (summary.stored, summary.batches) == (25, 3)
