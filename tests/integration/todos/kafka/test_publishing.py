"""The group's offsets in Kafka follow the ledger, and whoever stands in their way holds up no poll."""

from collections.abc import Callable
from contextlib import closing

import pytest
from kafka import KafkaConsumer

from tests.support.topic import Topic
from tests.support.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_foreign_member_of_the_group_delays_only_the_offsets(
    make_topic: Callable[..., Topic], caplog: pytest.LogCaptureFixture
) -> None:
    topic = make_topic()
    topic.send_todos(5)
    log = topic.log()
    foreign = KafkaConsumer(
        topic.kafka.topic, group_id=topic.kafka.group, enable_auto_commit=False, **topic.kafka.client_options()
    )
    with closing(foreign):
        eventually(lambda: foreign.poll(timeout_ms=100) or foreign.assignment(), seconds=30, what="it to join")
        summary = topic.poll(log)
        assert (5, 0) == (summary.stored, summary.failures)
        assert {} == log.published_offsets()
    assert 1 == sum("UnknownMemberId" in record.message for record in caplog.records)

    topic.send_todos(1)
    topic.poll(log)
    eventually(lambda: {0: 6} == log.published_offsets(), seconds=30, what="the offsets to be published")
