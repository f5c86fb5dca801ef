"""Without the inside of kafka-python that todos.kafka.decoding expects: no record is lost, and one warning says why.

What differs from the rest of this folder, because the public API gives no bytes of what it cannot decode: damage halts
its partition with an alarm, where it would otherwise become dead letters.
"""

import logging
from collections.abc import Callable

import pytest

from devstack import Kafka
from tests.support.batches import ATTRIBUTES_POSITION, rot, signed
from tests.support.hostile import RawName
from tests.support.topic import Topic, event
from todos.models import DeadLetter
from todos.monitoring.lag import fetch_status
from todos.operations.rewind import rewind

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("public_kafka_api")]
MakeTopic = Callable[..., Topic]
Change = Callable[[bytearray], bytearray]


def alarms(topic: Topic) -> dict[int, str]:
    return {partition.partition: partition.halt_text for partition in fetch_status(topic.log()).partitions}


def with_codec_7(batch: bytearray) -> bytearray:
    batch[ATTRIBUTES_POSITION + 1] |= 7
    return signed(batch, int.from_bytes(batch[:8], "big"))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda batch: batch.replace(b"rotten", b"ROTTEN"), "failed crc check"),
        (with_codec_7, "Unrecognized compression type: 7"),
        (lambda batch: batch[:8] + (-1).to_bytes(4, "big", signed=True) + batch[12:], "CorruptRecordError"),
        (lambda batch: (1_000).to_bytes(8, "big") + batch[8:], "a batch claims to begin at 1000"),
    ],
    ids=["checksum", "codec", "length", "base offset"],
)
def test_damage_halts_its_partition_with_an_alarm_and_no_other(
    kafka: Kafka, make_topic: MakeTopic, change: Change, why: str
) -> None:
    topic = make_topic(partitions=2)
    for todo in (event(), event(title="rotten"), *[event(description="x" * 5_000)] * 2):
        topic.send(todo)
    topic.send_todos(5, partition=1)
    rot(kafka, topic, b"rotten", change)
    log = topic.log()

    summary = topic.poll(log, time_budget_seconds=20, timeout_ms=4_000)

    assert (6, {0: 1, 1: 5}) == (summary.stored, topic.ledger())
    assert "offset 1 of partition 0 cannot be read: " in alarms(topic)[0]
    assert why in alarms(topic)[0]
    assert "manage.py rewind --partition 0 --offset 2 --skip" in alarms(topic)[0]
    assert alarms(topic)[1] == ""
    assert not DeadLetter.objects.exists()

    rewind(topic.kafka.topic, 0, 3, skip=True)
    assert (1, {0: 4, 1: 5}) == (topic.poll(log).stored, topic.ledger())


def test_a_header_name_that_is_not_utf_8_halts_its_partition(make_topic: MakeTopic) -> None:
    topic = make_topic()
    topic.send_todos(2)
    topic.send(event(), headers=[(RawName(b"\xff"), b"")])

    summary = topic.poll(time_budget_seconds=20, timeout_ms=4_000)

    assert (2, {0: 2}) == (summary.stored, topic.ledger())
    assert "offset 2 of partition 0 cannot be read: CorruptRecordError" in alarms(topic)[0]


def test_a_base_offset_that_is_too_low_halts_its_partition(kafka: Kafka, make_topic: MakeTopic) -> None:
    """Each reading begins at the last record, so it sees that no record follows it."""
    topic = make_topic()
    for title in ("first", "rotten", "last"):
        topic.send(event(title=title))
    rot(kafka, topic, b"rotten", lambda batch: bytearray(8) + batch[8:])
    log = topic.log()

    for each in (log, log, topic.log()):
        topic.poll(each)
        assert {0: 1} == topic.ledger()
        assert "offset 1 of partition 0 cannot be read: a batch claims to begin at 0" in alarms(topic)[0]


def test_one_warning_says_why_it_is_slower(make_topic: MakeTopic, caplog: pytest.LogCaptureFixture) -> None:
    topic = make_topic()
    topic.send_todos(3)
    with caplog.at_level(logging.WARNING):
        assert topic.poll(topic.log()).stored == 3
        topic.poll(topic.log(), timeout_ms=100)

    said = [record.getMessage() for record in caplog.records if record.name == "todos.kafka.decoding"]
    assert len(said) == 1
    assert "kafka-python's public API: slower, still exact" in said[0]
