"""A topic that was deleted and recreated under its name starts at 0 again, behind the ledger."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from tests.support.topic import Topic
from tests.support.waiting import eventually
from todos.event_log import LogUnavailable
from todos.models import Todo
from todos.monitoring.lag import fetch_status
from todos.operations.rewind import rewind

pytestmark = pytest.mark.django_db(transaction=True)
MakeTopic = Callable[..., Topic]


def recreate(topic: Topic, partitions: int) -> None:
    old = topic.log().identity()
    if old is None:
        pytest.skip("not Apache Kafka")
    admin = KafkaAdminClient(**topic.kafka.client_options())
    admin.delete_topics([topic.kafka.topic])
    admin.close()

    def is_new() -> bool:
        with suppress(LogUnavailable, KafkaError):
            topic.log().create_topic(partitions, 1)
            return topic.log().identity() != old
        return False

    eventually(is_new, seconds=30, what="the new topic", every=0.2)
    topic.producer.close()
    topic.producer = topic.new_producer()


def test_it_is_left_alone_also_when_it_is_longer_than_the_ledger_by_now(make_topic: MakeTopic) -> None:
    topic = make_topic(partitions=2)
    topic.send_todos(5, partition=0)
    log = topic.log()
    topic.poll(log)
    recreate(topic, partitions=2)
    ids = topic.send_todos(8, partition=0)
    topic.send_todos(3, partition=1)

    summary = topic.poll(log, timeout_ms=3_000)

    assert {0: 5, 1: 3} == topic.ledger()
    assert (3, 0, 0) == (summary.stored, summary.failures, summary.lost)
    alarms = [partition.halt_text for partition in fetch_status(topic.log()).partitions]
    reason = "was recreated, and its ledger counts the offsets of the old topic"
    assert [f"{reason}. Not reading this partition; see manage.py rewind", ""] == alarms

    rewind(topic.kafka.topic, 0, 0)
    topic.poll(log)

    assert {0: 8, 1: 3} == topic.ledger()
    assert set(ids) <= {str(todo_id) for todo_id in Todo.objects.values_list("id", flat=True)}
    assert ["", ""] == [partition.halt_text for partition in fetch_status(topic.log()).partitions]
