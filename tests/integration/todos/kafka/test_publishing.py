"""The group's offsets in Kafka follow the ledger, and a refused offset delays no poll."""

from collections.abc import Callable
from contextlib import closing

import pytest
from kafka import KafkaAdminClient, KafkaConsumer
from kafka.errors import NotCoordinatorError

from tests.support.topic import Topic
from tests.support.waiting import eventually
from todos.event_log import LogUnavailable

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


def test_a_coordinator_that_has_moved_is_looked_for_again(
    make_topic: Callable[..., Topic], monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = make_topic()
    topic.send_todos(2)
    log = topic.log()
    topic.poll(log)
    ask, misled = KafkaAdminClient.list_group_offsets, list[KafkaAdminClient]()

    def list_group_offsets(client: KafkaAdminClient, groups: object) -> object:
        if not misled:
            misled.append(client)
        if client in misled:
            raise NotCoordinatorError
        return ask(client, groups)

    monkeypatch.setattr(KafkaAdminClient, "list_group_offsets", list_group_offsets)
    with pytest.raises(LogUnavailable, match="NotCoordinatorError"):
        log.published_offsets()

    assert {0: 2} == log.published_offsets()
