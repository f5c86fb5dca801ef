"""A dead letter that is redriven becomes exactly one todo, also after a crash or an outage."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

import pytest

from devstack import Kafka
from edge_api.contract import id_from_position
from tests.support.dead_letters import DiesAfterSending, Killed, Poison, at_once, history
from tests.support.hostile import RawName
from tests.support.manage import nowhere
from tests.support.todos import constraint
from tests.support.topic import Topic, records_in
from tests.support.waiting import Stopwatch
from todos.dead_letters import service as dead_letters
from todos.dead_letters.service import MAX_REPLAYS, ActionRefused
from todos.event_log import LogUnavailable, RecordRefused
from todos.ingest.parsing import headers_of
from todos.kafka.producer import KafkaSender
from todos.models import DeadLetter, Todo

pytestmark = pytest.mark.django_db(transaction=True)
GOOD = b'{"title": "Do homework"}'
TIME = "2026-01-02T03:04:05+00:00"
GOOD_ID = UUID("0198c0de-0000-7000-8000-000000000001")


def test_an_edited_letter_is_stored_once_with_the_time_and_headers_of_its_record(
    topic: Topic, poison: Poison, sender: KafkaSender
) -> None:
    letter = poison(headers=[("trace", b"\x00\xff"), ("not \\ ascii é", b"")], timestamp_ms=1_700_000_000_123)
    dead_letters.edit(letter.pk, GOOD, by="olga")
    dead_letters.redrive(letter.pk, sender=sender, by="ivan")

    assert topic.poll().stored == 1
    todo = Todo.objects.get()
    assert (todo.id, todo.title) == (id_from_position(topic.kafka.topic, 0, letter.offset), "Do homework")
    assert todo.created_at == datetime.fromtimestamp(1_700_000_000.123, UTC)
    letter.refresh_from_db()
    assert (letter.status, letter.todo_id, letter.changed_by) == ("redriven", todo.id, "ivan")
    assert (bytes(letter.value or b""), bytes(letter.edited_value or b"")) == (b'{"title": ""}', GOOD)
    assert history(letter) == [("edited", "olga"), ("redriven", "ivan")]
    position = f"{topic.kafka.topic}/{todo.source_partition}/{todo.source_offset}"
    assert letter.events.get(action="redriven").note == f"todo {todo.id}, sent to {position}"


def test_an_id_of_the_payload_is_kept(topic: Topic, poison: Poison, sender: KafkaSender) -> None:
    letter = poison()
    dead_letters.edit(letter.pk, b'{"title": "x", "id": "%s"}' % str(GOOD_ID).encode(), by="olga")
    dead_letters.redrive(letter.pk, sender=sender, by="olga")
    topic.poll()

    assert Todo.objects.get().id == GOOD_ID


@pytest.mark.parametrize(
    ("original", "has_id", "has_time"),
    [
        (f'{{"title": "", "id": "{GOOD_ID}", "created_at": "{TIME}"}}', True, True),
        (f'{{"id": "{GOOD_ID}", "created_at": "soon"}}', True, False),
        (f'{{"title": "", "id": 7, "created_at": "{TIME}"}}', False, True),
        (f'{{"title": 1, "n": {"9" * 5000}, "id": "{GOOD_ID}"}}', False, False),
        ("[]", False, False),
        ("not JSON", False, False),
    ],
)
def test_an_edit_that_leaves_out_id_and_time_keeps_those_of_the_record(
    poison: Poison, original: str, has_id: bool, has_time: bool
) -> None:
    letter = poison(original.encode(), timestamp_ms=0)
    event = dead_letters.event_of(letter, GOOD)

    assert event.id == (GOOD_ID if has_id else id_from_position(letter.topic, 0, letter.offset))
    assert event.created_at == (datetime.fromisoformat(TIME) if has_time else datetime(1970, 1, 1, tzinfo=UTC))


def test_an_edit_that_leaves_out_the_owner_does_not_take_the_todo_away(
    topic: Topic, poison: Poison, sender: KafkaSender
) -> None:
    letter = poison(b'{"title": "", "owner": "7"}')
    dead_letters.edit(letter.pk, GOOD, by="olga")
    dead_letters.redrive(letter.pk, sender=sender, by="olga")
    topic.poll()

    assert "7" == Todo.objects.get().owner


def test_a_double_click_sends_once(topic: Topic, poison: Poison, sender: KafkaSender) -> None:
    letter = poison()
    dead_letters.edit(letter.pk, GOOD, by="olga")
    before = records_in(topic)

    raised = at_once(*[lambda: dead_letters.redrive(letter.pk, sender=sender, by="olga")] * 4)

    assert sorted(type(exc).__name__ for exc in raised) == ["ActionRefused"] * 3 + ["NoneType"]
    assert "is redriven, by olga at " in next(str(exc) for exc in raised if exc)
    assert (records_in(topic) - before, topic.poll().stored) == (1, 1)
    assert history(letter) == [("edited", "olga"), ("redriven", "olga")]


def test_killed_between_kafka_and_the_commit_then_redriven_again_is_stored_once(
    topic: Topic, poison: Poison, sender: KafkaSender
) -> None:
    letter = poison()
    dead_letters.edit(letter.pk, GOOD, by="olga")
    before = records_in(topic)
    with DiesAfterSending(topic.kafka) as dying, pytest.raises(Killed):
        dead_letters.redrive(letter.pk, sender=dying, by="olga")
    letter.refresh_from_db()
    assert (letter.status, history(letter)) == ("open", [("edited", "olga")])

    dead_letters.redrive(letter.pk, sender=sender, by="olga")

    summary = topic.poll()
    assert (records_in(topic) - before, summary.stored, summary.duplicates) == (2, 1, 1)
    assert Todo.objects.count() == 1


def test_after_a_crash_an_edit_cannot_make_a_second_todo(topic: Topic, poison: Poison, sender: KafkaSender) -> None:
    letter = poison()
    dead_letters.edit(letter.pk, GOOD, by="olga")
    with DiesAfterSending(topic.kafka) as dying, pytest.raises(Killed):
        dead_letters.redrive(letter.pk, sender=dying, by="olga")

    with pytest.raises(ValueError, match=r"id: must stay .*, which may have been sent already"):
        dead_letters.edit(letter.pk, b'{"title": "x", "id": "%s"}' % str(GOOD_ID).encode(), by="olga")
    dead_letters.edit(letter.pk, b'{"title": "another title"}', by="olga")
    dead_letters.redrive(letter.pk, sender=sender, by="olga")
    topic.poll()

    assert Todo.objects.count() == 1


def test_what_is_still_invalid_is_not_sent(topic: Topic, poison: Poison, sender: KafkaSender) -> None:
    letter = poison()
    before = records_in(topic)
    with pytest.raises(ActionRefused, match=f"^{letter}: not valid: title: String should have at least 1 character$"):
        dead_letters.redrive(letter.pk, sender=sender, by="olga")

    assert (records_in(topic), history(letter)) == (before, [])
    assert DeadLetter.objects.values_list("status", "todo_id").get() == ("open", None)


def test_an_id_that_is_stored_already_is_refused_not_swallowed(
    topic: Topic, poison: Poison, sender: KafkaSender
) -> None:
    letter = poison(b'{"title": "", "id": "%s"}' % str(GOOD_ID).encode())
    topic.send(b'{"title": "first", "id": "%s"}' % str(GOOD_ID).encode())
    topic.poll()
    with pytest.raises(ValueError, match=f"id: todo {GOOD_ID} is stored already: discard, or give it another id"):
        dead_letters.edit(letter.pk, b'{"title": "second", "id": "%s"}' % str(GOOD_ID).encode(), by="olga")


@pytest.fixture
def no_homework() -> Iterator[None]:
    """The database refuses one title, which the contract does not know of."""
    with constraint("title <> 'Do homework'"):
        yield


@pytest.mark.usefixtures("no_homework")
def test_a_todo_that_keeps_coming_back_must_be_edited(topic: Topic, poison: Poison, sender: KafkaSender) -> None:
    letter = poison(GOOD, headers=[("trace", b"1"), ("dead-letter-replays", b"nonsense")])
    for replays in range(1, MAX_REPLAYS + 1):
        dead_letters.redrive(letter.pk, sender=sender, by="olga")
        topic.poll()
        before, letter = letter, DeadLetter.objects.get(status="open")
        assert (letter.reason, letter.replays) == ("rejected", replays)
        assert headers_of(letter) == [
            ("trace", b"1"),
            ("dead-letter-id", b"%d" % before.pk),
            ("dead-letter-replays", b"%d" % replays),
        ]

    with pytest.raises(ActionRefused, match="came back 3 times; edit it before it is sent again"):
        dead_letters.redrive(letter.pk, sender=sender, by="olga")
    dead_letters.edit(letter.pk, b'{"title": "Rest"}', by="olga")
    dead_letters.redrive(letter.pk, sender=sender, by="olga")

    assert topic.poll().stored == 1
    assert Todo.objects.get().id == id_from_position(topic.kafka.topic, 0, 0)
    assert set(DeadLetter.objects.values_list("status", flat=True)) == {"redriven"}


@pytest.mark.parametrize(
    ("header", "replays"),
    [(b"2", 2), (b"0", 0), (b"", 0), (b"-1", 0), (b"99999999999", 0), (b"\xff", 0), ("२".encode(), 0)],
)
def test_only_a_plain_number_counts_as_replays(poison: Poison, header: bytes, replays: int) -> None:
    assert poison(headers=[("dead-letter-replays", header)]).replays == replays


@pytest.mark.parametrize("where", ["nowhere", "a missing topic"])
def test_kafka_away_changes_nothing_and_is_told_in_time(topic: Topic, poison: Poison, where: str) -> None:
    letter = poison()
    dead_letters.edit(letter.pk, GOOD, by="olga")
    if where == "a missing topic":
        DeadLetter.objects.update(topic="not-there")
    watch = Stopwatch()
    names = nowhere(topic.kafka) if where == "nowhere" else topic.kafka
    message = r"^Kafka at 127\.0\.0\.1:\d+ did not acknowledge: "
    with KafkaSender(names) as unreachable, pytest.raises(LogUnavailable, match=message):
        dead_letters.redrive(letter.pk, sender=unreachable, by="olga")

    assert watch.seconds < 5
    letter.refresh_from_db()
    assert (letter.status, letter.changed_by, history(letter)) == ("open", "olga", [("edited", "olga")])


def test_a_frozen_broker_is_told_in_time_and_the_todo_is_stored_once_later(
    topic: Topic, poison: Poison, sender: KafkaSender, kafka: Kafka
) -> None:
    first, second = poison(), poison()
    for letter in (first, second):
        dead_letters.edit(letter.pk, GOOD, by="olga")
    dead_letters.redrive(first.pk, sender=sender, by="olga")  # connected, with metadata
    kafka.pause()
    try:
        watch = Stopwatch()
        with KafkaSender(topic.kafka) as other, pytest.raises(LogUnavailable):
            dead_letters.redrive(second.pk, sender=other, by="olga")
        with pytest.raises(LogUnavailable):
            dead_letters.redrive(second.pk, sender=sender, by="olga")
        assert watch.seconds < 10
    finally:
        kafka.resume()
    with KafkaSender(topic.kafka) as fresh:
        dead_letters.redrive(second.pk, sender=fresh, by="olga")

    topic.poll()
    assert set(Todo.objects.values_list("id", flat=True)) == set(DeadLetter.objects.values_list("todo_id", flat=True))


def test_headers_too_large_for_kafka_are_refused_by_name(topic: Topic, poison: Poison, sender: KafkaSender) -> None:
    letter = poison()
    dead_letters.edit(letter.pk, GOOD, by="olga")
    DeadLetter.objects.update(headers=[["big", "A" * 2_000_000]])
    with pytest.raises(ActionRefused, match="too large for Kafka") as refused:
        dead_letters.redrive(letter.pk, sender=sender, by="olga")
    assert isinstance(refused.value.__cause__, RecordRefused)


def test_a_header_without_a_value_is_sent_empty(topic: Topic, poison: Poison, sender: KafkaSender) -> None:
    letter = poison()
    DeadLetter.objects.update(headers=[["null", None]])
    assert headers_of(DeadLetter.objects.get()) == [("null", None)]
    dead_letters.edit(letter.pk, GOOD, by="olga")
    dead_letters.redrive(letter.pk, sender=sender, by="olga")
    assert topic.poll().stored == 1


def test_a_header_whose_name_is_not_utf_8_is_sent_escaped(topic: Topic, poison: Poison, sender: KafkaSender) -> None:
    letter = poison(headers=[(RawName(b"\xff"), b"v")])
    dead_letters.edit(letter.pk, GOOD, by="olga")
    dead_letters.redrive(letter.pk, sender=sender, by="olga")

    assert topic.poll().stored == 1
    assert headers_of(letter) == [("\udcff", b"v")]


def test_an_undecodable_batch_is_redriven_only_with_a_payload_of_the_operators(
    topic: Topic, sender: KafkaSender
) -> None:
    letter = DeadLetter.objects.create(
        topic=topic.kafka.topic, partition=0, offset=9, reason="undecodable", detail="bad checksum", value=b"\x00\x01"
    )
    with pytest.raises(ActionRefused, match="not valid: body"):
        dead_letters.redrive(letter.pk, sender=sender, by="olga")
    dead_letters.edit(letter.pk, GOOD, by="olga")
    dead_letters.redrive(letter.pk, sender=sender, by="olga")

    assert topic.poll().stored == 1


def test_many_are_redriven_no_faster_than_asked_and_one_bad_one_stops_nobody(
    topic: Topic, poison: Poison, sender: KafkaSender
) -> None:
    letters = [poison() for _ in range(6)]
    for letter in letters[1:]:
        dead_letters.edit(letter.pk, GOOD, by="olga")
    ids = [letter.pk for letter in letters]

    started = time.monotonic()
    results = list(
        dead_letters.apply_each(
            lambda letter_id: dead_letters.redrive(letter_id, sender=sender, by="olga"),
            dead_letters.paced(ids, per_second=10),
        )
    )

    assert time.monotonic() - started >= 0.5
    assert [result.letter_id for result in results] == ids
    assert [result.refusal is None for result in results] == [False] + [True] * 5
    assert topic.poll().stored == 5
