"""Throwaway topics, and polls that always prefetch."""

import uuid
from collections.abc import Callable, Iterator

import pytest
from django.conf import settings

from devstack import Kafka
from tests.support.memory_topic import MemoryTopic
from tests.support.topic import Topic


@pytest.fixture(autouse=True)
def always_prefetch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefetch after a batch of any size, so that each failure here meets prefetched records."""
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


@pytest.fixture
def make_memory_topic() -> Callable[..., MemoryTopic]:
    def make(partitions: int = 1) -> MemoryTopic:
        name = f"memory-{uuid.uuid4().hex[:8]}"
        return MemoryTopic(settings.KAFKA.model_copy(update={"topic": name, "group": name}), partitions=partitions)

    return make
