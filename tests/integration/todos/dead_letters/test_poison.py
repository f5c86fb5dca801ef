"""One percent of poison is set aside and repaired in the admin; a topic of nothing but poison is left alone."""

import io
import json
import random
import re
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from typing import NamedTuple

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from devstack import Kafka
from tests.support.batches import ATTRIBUTES_POSITION, rot, signed
from tests.support.dead_letters import act, messages_in, save
from tests.support.todos import constraint
from tests.support.topic import Topic, event
from todos.models import DeadLetter, Todo

pytestmark = pytest.mark.django_db(transaction=True)
GOOD, BAD, PARTITIONS = 3_960, 40, 3
Position = tuple[int, int]


class Kind(NamedTuple):
    """One way to be poison, and what the dead letter must say of it."""

    value: bytes | None
    reason: str
    detail: str


PLAIN = [
    Kind(None, "empty", "body: no value"),
    Kind(b"", "empty", "body: no value"),
    Kind(b"Do homework", "invalid", "body: must be valid JSON"),
    Kind(b'{"title": "\xff"}', "invalid", "body: must be UTF-8"),
    Kind(b'{"description": "Finish pending homeworks"}', "invalid", "title: Field required"),
    Kind(b'{"title": " \\t "}', "invalid", "title: String should have at least 1 character"),
    Kind(event(title="t" * 256), "invalid", "title: String should have at most 255 characters"),
    Kind(event(title="a\0b"), "invalid", "title: must not contain the character U+0000"),
    Kind(event(version=2), "invalid", "version: Input should be 1"),
]
REFUSED = Kind(event(title="refused"), "rejected", '23514: new row for relation "todos_todo" violates check constraint')
ROTTEN = Kind(event(title="rotten"), "undecodable", "its checksum is wrong; the first one keeps their batch")
UNKNOWN_CODEC = Kind(event(title="unknown codec"), "undecodable", "codec")
KINDS = [*PLAIN, REFUSED, ROTTEN, UNKNOWN_CODEC]


def send_all(topic: Topic, kafka: Kafka, poison: Sequence[Kind], good: int) -> dict[Position, Kind]:
    """Good records with the poison anywhere between them; where it is."""
    damaged = [kind for kind in (ROTTEN, UNKNOWN_CODEC) if kind in poison]
    records = [*(kind for kind in poison if kind not in damaged), *[None] * good]
    random.Random(1).shuffle(records)
    placed = send(topic, records[: good // 2])
    for partition, kind in enumerate(damaged):
        placed |= send_as_one_batch(topic, [kind] * poison.count(kind), partition)
    if damaged:
        rot(kafka, topic, b"rotten", lambda batch: batch.replace(b"rotten", b"ROTTEN"), partition=0)
        rot(kafka, topic, b"unknown codec", name_codec_7, partition=1)
    return placed | send(topic, records[good // 2 :])


def send(topic: Topic, records: Sequence[Kind | None]) -> dict[Position, Kind]:
    """Where the poison is; the key makes a record without value one that kafka-python sends."""
    futures = []
    for number, kind in enumerate(records):
        value = kind.value if kind else event()
        future = topic.producer.send(topic.kafka.topic, value, key=b"k", partition=number % PARTITIONS)
        futures.append((kind, future))
    topic.producer.flush(60)
    placed = [(kind, future.get(60)) for kind, future in futures]
    return {(where.partition, where.offset): kind for kind, where in placed if kind}


def send_as_one_batch(topic: Topic, records: Sequence[Kind], partition: int) -> dict[Position, Kind]:
    with closing(topic.new_producer(linger_ms=1_000)) as producer:
        futures = [(kind, producer.send(topic.kafka.topic, kind.value, partition=partition)) for kind in records]
    return {(partition, future.get(60).offset): kind for kind, future in futures}


def name_codec_7(batch: bytearray) -> bytearray:
    """As a producer of the far future would."""
    batch[ATTRIBUTES_POSITION + 1] |= 7
    return signed(batch, int.from_bytes(batch[:8], "big"))


def audit() -> dict[str, int]:
    """Its counts of all partitions. Raises CommandError when something is not proved."""
    out = io.StringIO()
    call_command("audit", "--json", stdout=out)
    counts: dict[str, int] = defaultdict(int)
    for partition in json.loads(out.getvalue())["partitions"]:
        for kind, count in partition["counts"].items():
            counts[kind] += count
    return {kind: count for kind, count in counts.items() if count}


def test_thousands_of_records_with_one_percent_poison_are_all_stored_after_a_repair_in_the_admin(
    admin: Client, topic: Topic, kafka: Kafka, either_kafka_api: str
) -> None:
    """By the public API a quarter of them, and no damaged batch: test_public_kafka_api.py tells what becomes of one."""
    kinds, good, bad = KINDS, GOOD, BAD
    if either_kafka_api == "public API":
        kinds, good, bad = [*PLAIN, REFUSED], GOOD // 4, BAD // 4
    poison = send_all(topic, kafka, [kinds[number % len(kinds)] for number in range(bad)], good)
    with constraint("title <> 'refused'"):  # of which the contract knows nothing
        summary = topic.poll(time_budget_seconds=60)

    assert (good, bad, good) == (summary.stored, summary.dead_letters, Todo.objects.count())
    letters = {(letter.partition, letter.offset): letter for letter in DeadLetter.objects.all()}
    assert {position: kind.reason for position, kind in poison.items()} == {
        position: letter.reason for position, letter in letters.items()
    }
    assert [] == [(kind, letters[at].detail) for at, kind in poison.items() if kind.detail not in letters[at].detail]
    assert {"stored": good, "dead_letter": bad} == audit()

    for letter in letters.values():
        assert save(admin, letter, json.dumps({"title": f"repaired {letter}"})).redirect_chain
    assert [f"{bad} redriven."] == messages_in(act(admin, "redrive", *letters.values()))
    repaired = topic.poll()

    assert (bad, 0, good + bad) == (repaired.stored, repaired.dead_letters, Todo.objects.count())
    assert {f"repaired {letter}" for letter in letters.values()} == set(
        Todo.objects.filter(title__startswith="repaired").values_list("title", flat=True)
    )
    assert {"stored": good + bad, "dead_letter": bad} == audit()


def test_a_topic_of_nothing_but_poison_is_left_alone_with_an_alarm(topic: Topic) -> None:
    send(topic, [PLAIN[number % len(PLAIN)] for number in range(3_000)])

    summary = topic.poll(time_budget_seconds=2)

    assert (0, 0, 0) == (summary.records, DeadLetter.objects.count(), Todo.objects.count())
    assert dict.fromkeys(range(PARTITIONS), 0) == topic.ledger()
    shown = io.StringIO()
    with pytest.raises(CommandError) as alarm:
        call_command("pipeline_status", stdout=shown)
    assert 1 == alarm.value.returncode
    assert ["all", "", "", "3,000"] == [cell.strip() for cell in shown.getvalue().splitlines()[-2].split("│")[1:5]]
    stopped = [line for line in str(alarm.value).splitlines() if "is halted" in line]
    assert stopped
    for line in stopped:
        assert re.fullmatch(
            r"partition [0-2] is halted: (\d+) of the last \1 records cannot be stored,"
            r" so no more are made dead letters;"
            r" if that is right, manage\.py set_aside makes them dead letters, once\. The last one: .+",
            line,
        )
