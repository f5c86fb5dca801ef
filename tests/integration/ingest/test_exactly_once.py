"""Each record of the topic ends as one todo or one dead letter, whatever comes in between."""

from collections.abc import Callable

import pytest

from tests.support.topic import Topic
from todos.models import PartitionLedger, Todo

pytestmark = pytest.mark.django_db(transaction=True)
MakeTopic = Callable[..., Topic]


def next_offsets(topic: Topic) -> dict[int, int]:
    return dict(PartitionLedger.objects.filter(topic=topic.kafka.topic).values_list("partition", "next_offset"))


def test_stores_what_the_topic_holds_and_moves_the_ledger(make_topic: MakeTopic) -> None:
    topic = make_topic(partitions=3)
    ids = topic.send_todos(5, partition=0) + topic.send_todos(7, partition=2)

    summary = topic.poll()

    assert (summary.stored, summary.duplicates, summary.dead_letters) == (12, 0, 0)
    assert {str(todo.id) for todo in Todo.objects.all()} == set(ids)
    assert next_offsets(topic) == {0: 5, 1: 0, 2: 7}
