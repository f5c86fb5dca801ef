"""Offsets that Kafka's own tools do not know are counted, with the time since when."""

from collections.abc import Callable

import pytest

from tests.support.memory_topic import MemoryTopic
from todos.ledger import unpublished
from todos.ledger.unpublished import unpublished_offsets
from todos.models import Batch

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_copy_of_the_offsets_is_compared_with_the_ledger(
    make_memory_topic: Callable[..., MemoryTopic], monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = make_memory_topic(partitions=3)
    name = topic.kafka.topic
    topic.send_todos(4, partition=0)
    topic.send_todos(2, partition=1)
    topic.poll()
    topic.send_todos(3, partition=0)
    topic.poll()
    second = Batch.objects.get(topic=name, partition=0, next_offset=7)
    first = Batch.objects.get(topic=name, partition=1, next_offset=2)

    assert [] == unpublished_offsets(name, {0: 4})  # the next run may publish them yet
    monkeypatch.setattr(unpublished, "PATIENCE_SECONDS", 0)
    assert [(0, 3, second.created_at), (1, 2, first.created_at)] == unpublished_offsets(name, {0: 4})
    assert [] == unpublished_offsets(name, {0: 7, 1: 2})
