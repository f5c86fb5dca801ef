"""A worker that meets an event of a newer version leaves it whole for a newer worker; all else goes on."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.support.topic import Topic, event_of_version
from todos.models import DeadLetter, HaltReason, PartitionLedger
from todos.operations.rewind import rewind

pytestmark = pytest.mark.django_db(transaction=True)
MakeTopic = Callable[..., Topic]


def alarms(topic: Topic) -> list[str]:
    return list(PartitionLedger.objects.filter(topic=topic.kafka.topic).values_list("halt_text", flat=True))


def test_a_partition_waits_at_a_newer_event_and_the_others_go_on(make_memory_topic: MakeTopic) -> None:
    topic = make_memory_topic(partitions=2)
    topic.send_todos(3)
    topic.send(event_of_version(2))
    topic.send_todos(600)
    topic.send_todos(5, partition=1)

    first, again = topic.poll(), topic.poll()

    assert ({0: 3, 1: 5}, 8, 0) == (topic.ledger(), first.stored, again.stored)
    assert 0 == DeadLetter.objects.count()
    waiting, none = alarms(topic)
    assert "" == none
    assert waiting.startswith("waits for a newer worker: offset 3 holds version 2 of TodoCreated, and version 1 is")
    assert "manage.py set_aside --partition 0" in waiting

    rewind(topic.kafka.topic, 0, 4, skip=True)
    assert (600, {0: 604, 1: 5}) == (topic.poll().stored, topic.ledger())
    assert ["", ""] == alarms(topic)


def test_what_halts_a_partition_before_a_newer_event_is_what_operators_see(make_memory_topic: MakeTopic) -> None:
    topic = make_memory_topic()
    topic.send(*[b"not a todo"] * 200)
    topic.send(event_of_version(2))

    topic.poll()

    ledger = PartitionLedger.objects.get(topic=topic.kafka.topic)
    assert (0, HaltReason.TOO_MANY_DEAD_LETTERS) == (ledger.next_offset, ledger.halt_reason)


def test_an_old_audit_cannot_judge_what_a_newer_worker_stored(make_topic: MakeTopic, settings: Any) -> None:
    topic = make_topic()
    settings.KAFKA = topic.kafka
    topic.send(event_of_version(2))
    topic.poll()
    rewind(topic.kafka.topic, 0, 1, skip=True)

    with pytest.raises(CommandError, match=r"version 2 .*; audit with the newer release") as failure:
        call_command("audit", stdout=io.StringIO())

    assert 2 == failure.value.returncode
