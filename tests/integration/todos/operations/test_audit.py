"""The audit proves a complete range, and fails as soon as anything is missing."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from devstack import Kafka
from tests.support.batches import rot
from tests.support.todos import constraint
from tests.support.topic import Topic, event
from todos.dead_letters import service as dead_letters
from todos.models import Batch, DeadLetter, PartitionLedger, Todo
from todos.operations.rewind import rewind

pytestmark = pytest.mark.django_db(transaction=True)
MakeTopic = Callable[..., Topic]
SAME_ID = "0198c0de-0000-7000-8000-000000000001"
Report = dict[str, Any]


@pytest.fixture
def topic(make_topic: MakeTopic, settings: Any) -> Topic:
    """Two partitions: nine todos, one of them sent twice, two poisoned records, and a recorded loss."""
    topic = make_topic(partitions=2)
    settings.KAFKA = topic.kafka
    topic.send_todos(6, partition=0)
    topic.delete_records(0, before=2)
    topic.send(b"poison", event(id=SAME_ID), None, event(id=SAME_ID), key=b"k", partition=0)
    topic.send_todos(4, partition=1)
    topic.poll(max_records=3)
    return topic


def audit(*arguments: str) -> tuple[int, Report]:
    """The exit code, and the report as JSON."""
    out = io.StringIO()
    code = 0
    try:
        call_command("audit", "--json", *arguments, stdout=out)
    except CommandError as exc:
        code = exc.returncode
    return code, json.loads(out.getvalue() or "{}")


def counts(report: Report) -> dict[str, int]:
    total: dict[str, int] = {}
    for partition in report["partitions"]:
        assert sum(partition["counts"].values()) == partition["to"] - partition["from"]
        for kind, count in partition["counts"].items():
            total[kind] = total.get(kind, 0) + count
    return {kind: count for kind, count in total.items() if count}


def offenders(report: Report) -> list[tuple[int, int, str]]:
    return [
        (partition["partition"], offender["offset"], offender["kind"])
        for partition in report["partitions"]
        for offender in partition["offenders"]
    ]


def problems(report: Report) -> list[str]:
    return [problem for partition in report["partitions"] for problem in partition["problems"]]


def test_an_honest_topic_is_proved(topic: Topic) -> None:
    code, report = audit()

    assert (code, report["proved"], problems(report), offenders(report)) == (0, True, [], [])
    assert counts(report) == {"stored": 9, "duplicate": 1, "dead_letter": 2}


def test_each_offset_is_counted_once_also_where_nothing_can_be_read(topic: Topic) -> None:
    topic.send_todos(3, partition=1)
    code, report = audit("--from=0")

    assert (code, counts(report)) == (
        0, {"stored": 9, "duplicate": 1, "dead_letter": 2, "lost": 2, "pending": 3}
    )  # fmt: skip
    topic.delete_records(1, before=1)
    assert counts(audit("--from=0")[1])["gone"] == 1


def test_a_range_of_one_partition(topic: Topic) -> None:
    code, report = audit("--partition=0", "--from=6", "--to=8")

    assert [(p["partition"], p["from"], p["to"]) for p in report["partitions"]] == [(0, 6, 8)]
    assert (code, counts(report)) == (0, {"stored": 1, "dead_letter": 1})


def test_a_deleted_row_is_found_and_told_from_one_that_never_was(topic: Topic) -> None:
    Todo.objects.filter(source_partition=1, source_offset=2).delete()

    code, report = audit()
    assert (code, offenders(report)) == (1, [(1, 2, "deleted")])
    assert audit("--accept-deleted")[0] == 0

    # Now the history says that only the others were stored.
    batch = Batch.objects.get(partition=1, first_offset__lte=2, next_offset__gt=2)
    Batch.objects.filter(pk=batch.pk).update(stored=batch.stored - 1)
    code, report = audit("--accept-deleted")
    assert (code, offenders(report)) == (1, [(1, 2, "missing")])
    assert "more than were counted" in problems(report)[0]


def test_a_row_is_not_excused_by_a_batch_that_is_read_in_part(topic: Topic) -> None:
    Todo.objects.filter(source_partition=1, source_offset=2).delete()
    assert offenders(audit("--accept-deleted", "--partition=1", "--from=2", "--to=3")[1]) == [(1, 2, "missing")]


def test_a_deleted_dead_letter_is_found(topic: Topic) -> None:
    DeadLetter.objects.filter(offset=6).delete()
    code, report = audit("--accept-deleted")
    assert (code, offenders(report)) == (1, [(0, 6, "missing")])


def test_a_todo_that_is_also_a_dead_letter_is_found(topic: Topic) -> None:
    DeadLetter.objects.create(topic=topic.kafka.topic, partition=1, offset=1, reason="invalid", detail="d")
    code, report = audit()
    assert (code, offenders(report)) == (1, [(1, 1, "twice")])


@pytest.mark.parametrize("next_offset", [3, 5])
def test_a_ledger_moved_by_hand_is_found(topic: Topic, next_offset: int) -> None:
    topic.send_todos(2, partition=1)
    PartitionLedger.objects.filter(partition=1).update(next_offset=next_offset)
    code, report = audit("--accept-deleted")
    assert code == 1
    assert problems(report) == [f"the ledger is at {next_offset}, but its batches end at 4"]


def test_a_ledger_ahead_of_the_log_is_found(topic: Topic) -> None:
    Batch.objects.create(topic=topic.kafka.topic, partition=1, generation=0, first_offset=4, next_offset=9)
    PartitionLedger.objects.filter(partition=1).update(next_offset=9)
    code, report = audit()
    assert (code, problems(report)) == (1, ["the ledger is at 9, ahead of the log, which ends at 4"])


def test_a_removed_last_batch_is_found(topic: Topic) -> None:
    last = Batch.objects.filter(partition=1).latest("next_offset")
    last.delete()
    code, report = audit()
    assert (code, problems(report)) == (
        1, [f"the ledger is at 4, but its batches end at {last.first_offset}"]
    )  # fmt: skip


def test_a_batch_removed_past_the_constraints_is_found(topic: Topic) -> None:
    first = Batch.objects.filter(partition=1, first_offset=0).get()
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # switches foreign keys off
        first.delete()
        cursor.execute("RESET session_replication_role")
    code, report = audit()
    assert (code, problems(report)) == (
        1, [f"no batch of generation 0 ends where one begins, at {first.next_offset}"]
    )  # fmt: skip


def test_records_that_kafka_deleted_unread_are_found(topic: Topic) -> None:
    topic.send_todos(5, partition=1)
    topic.delete_records(1, before=7)
    code, report = audit()
    assert (code, problems(report)) == (1, ["Kafka deleted offsets 4 to 6 before they were stored"])
    topic.poll()
    assert audit()[0] == 0


def test_a_range_that_was_read_again_is_proved(topic: Topic) -> None:
    rewind(topic.kafka.topic, 0, 4)
    topic.poll(max_records=2)
    assert audit()[0] == 0


def test_a_rejected_record_that_a_rewind_stored_is_proved_when_its_dead_letter_is_discarded(topic: Topic) -> None:
    topic.send(event(title="refused"), partition=1)
    with constraint("title <> 'refused'"):
        topic.poll()
    rewind(topic.kafka.topic, 1, 4)
    topic.poll()
    code, report = audit()
    assert (code, offenders(report)) == (1, [(1, 4, "twice")])

    letter = DeadLetter.objects.get(partition=1)
    dead_letters.discard(letter.pk, because="stored by a rewind", by="olga")

    code, report = audit()
    assert (code, counts(report)) == (0, {"stored": 10, "duplicate": 1, "dead_letter": 2})


def test_a_batch_that_rotted_on_the_brokers_disk_is_proved(topic: Topic, kafka: Kafka) -> None:
    """A bad checksum is read several times before it is believed."""
    topic.send(event(title="rotten"), partition=1)
    rot(kafka, topic, b"rotten", lambda batch: batch.replace(b"rotten", b"ROTTEN"), partition=1)
    topic.send_todos(1, partition=1)
    topic.poll()

    code, report = audit()

    assert (code, counts(report)) == (0, {"stored": 10, "duplicate": 1, "dead_letter": 3})


def test_what_an_operator_skipped_is_a_loss(topic: Topic) -> None:
    topic.send_todos(3, partition=1)
    rewind(topic.kafka.topic, 1, 6, skip=True)
    topic.poll()
    code, report = audit()
    assert (code, counts(report)) == (0, {"stored": 10, "duplicate": 1, "dead_letter": 2, "lost": 2})


def test_a_large_range_is_read_in_chunks(make_topic: MakeTopic, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("todos.operations.audit.CHUNK_RECORDS", 70)
    topic = make_topic()
    settings.KAFKA = topic.kafka
    topic.send_todos(1000)
    topic.poll()
    Todo.objects.filter(source_offset__in=range(300, 320)).delete()
    code, report = audit()
    assert (code, counts(report), len(offenders(report))) == (1, {"stored": 980, "deleted": 20}, 10)


def test_a_person_reads_the_counts_and_the_first_offenders(topic: Topic) -> None:
    Todo.objects.all().delete()
    out = io.StringIO()
    with pytest.raises(CommandError, match="found what cannot be proved"):
        call_command("audit", stdout=out)
    lines = out.getvalue().splitlines()
    assert [line.split("│")[1].strip() for line in lines if "deleted since" in line and "│" in line] == ["10"]
    assert f"{topic.kafka.topic}/0/2: stored once, deleted since" in lines


@pytest.mark.parametrize(
    "arguments",
    [["--partition=7"], ["--from=-1"], ["--from=3", "--to=2"], ["--from=11"], ["--topic=not-there"], ["--topic=a/b"]],
)
def test_what_cannot_be_told_is_exit_code_2(topic: Topic, arguments: list[str]) -> None:
    assert audit(*arguments) == (2, {})


def test_a_database_that_refuses_the_audit_is_exit_code_2(topic: Topic) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET search_path = nowhere")
    try:
        assert audit() == (2, {})
    finally:
        connection.close()
