"""Whatever bytes a record has, it ends as one todo or one dead letter, and the next record is read."""

import itertools
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from devstack import Kafka
from devstack.kafka import tool_command
from tests.support.batches import CODECS, rot
from tests.support.hostile import Draft, assert_kept, drafts
from tests.support.topic import Topic, event
from todos.ingest.consumer import ConsumerRun
from todos.ingest.dead_letter_limit import DeadLetterLimit
from todos.ingest.options import PollOptions
from todos.ingest.parsing import ParsedBatch, parse_records
from todos.ingest.store import store
from todos.kafka.decoding.compression import MAX_UNCOMPRESSED_BYTES
from todos.kafka.failed_reads import READS_OF_A_BAD_CHECKSUM
from todos.ledger.leases import Lease, ensure_ledger
from todos.models import DeadLetter, Todo

pytestmark = pytest.mark.django_db(transaction=True)
MakeTopic = Callable[..., Topic]
# One database and one topic serve all examples of a test: each example reads on where the last one ended.
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
NUL_IN_THE_REASON = Draft(b'{"title": "x", "id": "\\u0000"}')
HOSTILE_HEADER = Draft(event(), raw_headers=((b"\xff\x00\\name", b"\x00"), (b"", b"")))


def send(topic: Topic, records: Sequence[Draft]) -> list[int]:
    return [topic.send(record.value, **record.send_options())[0] for record in records]


def assert_stored(topic: str, batch: ParsedBatch, sent: Sequence[Draft]) -> None:
    """Each record is in one place: as the row that it says, or as a dead letter with all its bytes."""
    letters = {letter.offset: letter for letter in DeadLetter.objects.filter(topic=topic)}
    for row in batch.todos:
        todo = Todo.objects.get(id=row.id)
        assert row.source_offset not in letters
        if todo.source_offset == row.source_offset:  # else an earlier record had the same id
            assert (todo.title, todo.description) == (row.title, row.description)
    for letter in batch.dead_letters:
        assert_kept(sent[letter.offset - sent[0].offset], letters[letter.offset])


@pytest.fixture
def offsets() -> "itertools.count[int]":
    return itertools.count()


@SHARED
@given(st.lists(drafts(), min_size=1, max_size=5))
@example([NUL_IN_THE_REASON, HOSTILE_HEADER])
def test_postgresql_stores_every_record_that_is_parsed(offsets: "itertools.count[int]", records: list[Draft]) -> None:
    ensure_ledger("any", [0])
    records = [replace(record, offset=next(offsets)) for record in records]
    lease, end = Lease(records[0].offset, 0), records[-1].offset + 1

    batch = parse_records("any", records)

    stored = store("any", {0: lease}, batch, {0: end}, limit=DeadLetterLimit(percent=100))

    assert sum(stored) == len(records)
    assert_stored("any", batch, records)
    for row in batch.todos:
        assert Todo.objects.filter(id=row.id, source_offset__lt=row.source_offset) or Todo.objects.get(
            id=row.id, created_at=row.created_at
        )


def test_dead_letters_too_large_for_one_statement_take_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("todos.ingest.store.MAX_LETTERS_BYTES", 1_000)
    ensure_ledger("any", [0])
    sizes = [400, 400, 400, 2_000, 2_000, 1, 1]
    records = [Draft(b"\0" * (size // 2), raw_headers=((b"n" * (size - size // 2), b""),)) for size in sizes]
    batch = parse_records("any", [replace(record, offset=offset) for offset, record in enumerate(records)])

    with CaptureQueriesContext(connection) as queries:
        stored = store("any", {0: Lease(0, 0)}, batch, {0: len(sizes)})

    assert (stored.dead_letters, DeadLetter.objects.count()) == (len(sizes), len(sizes))
    assert 5 == sum('INSERT INTO "todos_deadletter"' in query["sql"] for query in queries.captured_queries)


@pytest.fixture
def topic(make_topic: MakeTopic) -> Topic:
    return make_topic()


@settings(SHARED, max_examples=15)
@given(st.lists(drafts(header_values=st.binary(max_size=10)), min_size=1, max_size=20))
@example([NUL_IN_THE_REASON, HOSTILE_HEADER, Draft(None)])
def test_real_kafka_loses_no_record_and_blocks_nothing(topic: Topic, records: list[Draft]) -> None:
    # kafka-python sends no record that has neither key nor value.
    records = [record if record.value is not None else replace(record, key=record.key or b"") for record in records]
    offsets = send(topic, records)
    records = [replace(record, offset=offset) for record, offset in zip(records, offsets, strict=True)]

    options = PollOptions(dead_letter_percent=100)
    poll = ConsumerRun(topic.logs[0], options, "a test", should_stop=lambda: poll.summary.records >= len(records))
    summary = poll.run()

    assert (summary.records, summary.failures) == (len(records), 0)
    assert topic.ledger() == {0: offsets[-1] + 1}
    assert_stored(topic.kafka.topic, parse_records(topic.kafka.topic, records), records)


def test_header_names_of_any_bytes_block_nothing(topic: Topic) -> None:
    poison = replace(HOSTILE_HEADER, value=b"poison", offset=2)
    send(topic, [Draft(event()), HOSTILE_HEADER, poison, Draft(event())])

    summary = topic.poll()

    assert (summary.stored, summary.dead_letters, summary.failures) == (3, 1, 0)
    assert_kept(poison, DeadLetter.objects.get())


@pytest.mark.usefixtures("either_kafka_api")
@pytest.mark.parametrize("codec", CODECS[1:])
def test_compressed_records_are_stored(topic: Topic, codec: str) -> None:
    producer = topic.new_producer(compression_type=codec, linger_ms=1_000)
    for number in range(200):
        producer.send(topic.kafka.topic, event(title=f"{number}"), partition=0)
    producer.close()

    summary = topic.poll()

    assert (summary.stored, summary.dead_letters, summary.failures) == (200, 0, 0)
    assert {todo.title for todo in Todo.objects.all()} == {str(number) for number in range(200)}


@pytest.mark.parametrize("codec", CODECS[1:])
def test_records_that_kafkas_own_producer_compresses_are_stored(topic: Topic, codec: str) -> None:
    options = ["--topic", topic.kafka.topic, "--compression-codec", codec]
    command = tool_command("kafka-console-producer", topic.kafka.bootstrap_servers, *options)
    lines = b"".join(event(title=f"{number}") + b"\n" for number in range(200))
    subprocess.run(command, input=lines, check=True, capture_output=True, timeout=60)

    summary = topic.poll()

    assert (summary.stored, summary.dead_letters, summary.failures) == (200, 0, 0)


@pytest.mark.usefixtures("either_kafka_api")
def test_a_huge_value_is_one_dead_letter(topic: Topic) -> None:
    sent = Draft(b"\0" * 1_000_000)
    send(topic, [sent, Draft(event())])

    summary = topic.poll()

    assert (summary.stored, summary.dead_letters, summary.failures) == (1, 1, 0)
    assert_kept(sent, DeadLetter.objects.get())


def test_a_decompression_bomb_is_one_dead_letter_of_its_own_size(topic: Topic) -> None:
    """Kafka counts compressed bytes; kafka-python's producer counts those before."""
    producer = topic.new_producer(compression_type="zstd", max_request_size=2**28)
    producer.send(topic.kafka.topic, bytes(MAX_UNCOMPRESSED_BYTES + 1), partition=0).get(30)
    producer.close()
    topic.send_todos(1)

    summary = topic.poll()

    assert (summary.stored, summary.dead_letters, summary.failures) == (1, 1, 0)
    letter = DeadLetter.objects.get()
    assert (letter.offset, letter.reason) == (0, DeadLetter.Reason.UNDECODABLE)
    assert "when decompressed" in letter.detail
    assert 0 < len(bytes(letter.value or b"")) < MAX_UNCOMPRESSED_BYTES / 100


@pytest.mark.usefixtures("either_kafka_api")
def test_the_markers_of_transactions_block_nothing(topic: Topic) -> None:
    producer = topic.new_producer(transactional_id=topic.kafka.topic)
    producer.init_transactions()
    for number in range(3):
        producer.begin_transaction()
        producer.send(topic.kafka.topic, event(title=f"{number}"), partition=0)
        producer.commit_transaction()
    producer.close()
    topic.send_todos(1)

    summary = topic.poll()

    assert (summary.stored, summary.dead_letters, summary.failures) == (4, 0, 0)
    assert topic.ledger() == {0: 7}  # three of the seven offsets are markers


@pytest.mark.usefixtures("either_kafka_api")
def test_what_a_transaction_aborted_is_not_stored_and_its_offsets_leave_no_lag(topic: Topic) -> None:
    producer = topic.new_producer(transactional_id=topic.kafka.topic)
    producer.init_transactions()
    for title, outcome in [("kept", "commit"), ("aborted", "abort"), ("kept too", "commit"), ("aborted too", "abort")]:
        producer.begin_transaction()
        sent = producer.send(topic.kafka.topic, event(title=title), partition=0)
        producer.flush(30)
        sent.get(30)
        getattr(producer, f"{outcome}_transaction")()
    producer.close()

    summary = topic.poll()

    assert set(Todo.objects.values_list("title", flat=True)) == {"kept", "kept too"}
    assert (summary.stored, summary.dead_letters, summary.failures) == (2, 0, 0)
    end = topic.log().offset_ranges([0])[0].end
    assert (topic.ledger(), end) == ({0: end}, 8)  # four records, four markers


def test_bytes_that_rotted_on_the_brokers_disk_become_dead_letters(kafka: Kafka, topic: Topic) -> None:
    topic.send_todos(1)
    producer = topic.new_producer(linger_ms=1_000)
    for title in ("before", "rotten", "after"):
        producer.send(topic.kafka.topic, event(title=title), partition=0)  # one batch
    producer.close()
    topic.send_todos(1)
    rot(kafka, topic, b"rotten", lambda batch: batch.replace(b"rotten", b"ROTTEN"))

    summary = topic.poll(timeout_ms=3_000)

    assert (summary.stored, summary.dead_letters, topic.ledger()) == (2, 3, {0: 5})
    assert 0 < summary.failures < READS_OF_A_BAD_CHECKSUM
    first, *others = DeadLetter.objects.order_by("offset")
    assert [1, 2, 3] == [first.offset, *(letter.offset for letter in others)]
    assert {DeadLetter.Reason.UNDECODABLE.value} == {letter.reason for letter in (first, *others)}
    raw = bytes(first.value or b"")
    assert all(title in raw for title in (b"before", b"ROTTEN", b"after"))
    assert [None, None] == [letter.value for letter in others]


@pytest.mark.parametrize("claimed", [0, 1_000])
def test_a_batch_whose_offset_rotted_is_a_dead_letter_alone(kafka: Kafka, topic: Topic, claimed: int) -> None:
    """No checksum covers where it begins."""
    topic.send_todos(3)
    topic.send(event(title="rotten"))
    topic.send_todos(2)
    rot(kafka, topic, b"rotten", lambda batch: bytearray(claimed.to_bytes(8, "big")) + batch[8:])

    summary = topic.poll()

    assert (summary.stored, summary.dead_letters, summary.failures, topic.ledger()) == (5, 1, 0, {0: 6})
    assert (DeadLetter.objects.get().offset, DeadLetter.objects.get().reason) == (3, DeadLetter.Reason.UNDECODABLE)


def test_a_reading_that_was_bad_once_is_repeated(kafka: Kafka, topic: Topic) -> None:
    topic.send(event(title="mended"))
    rot(kafka, topic, b"mended", lambda batch: batch.replace(b"mended", b"broken"))
    poll = ConsumerRun(topic.log(), PollOptions(), "a test", should_stop=lambda: poll.summary.failures > 0)
    summary = poll.run()
    assert (summary.records, summary.failures > 0) == (0, True)
    rot(kafka, topic, b"broken", lambda batch: batch.replace(b"broken", b"mended"))

    assert topic.poll().stored == 1
    assert (Todo.objects.get().title, DeadLetter.objects.count()) == ("mended", 0)
