"""Throwaway topics, and polls that always read ahead."""

import uuid
from collections.abc import Callable, Iterator

import pytest
from django.conf import settings

from devstack import Kafka
from tests.support.topic import Topic


@pytest.fixture(autouse=True)
def always_read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """However small a batch is: whatever goes wrong here shall find something that was read ahead."""
    monkeypatch.setattr("todos.ingest.prefetch.PREFETCH_MIN_RECORDS", 1)


@pytest.fixture
def make_topic(kafka: Kafka) -> Iterator[Callable[..., Topic]]:
    topics = []

    def make(partitions: int = 1) -> Topic:
        name = f"test-{uuid.uuid4().hex[:8]}"
        names = settings.KAFKA.model_copy(update={"topic": name, "group": name})
        topics.append(topic := Topic(names))
        topic.log().create_topic(partitions, 1)
        return topic

    yield make
    for topic in topics:
        topic.producer.close()
        for log in topic.logs:
            log.close()
