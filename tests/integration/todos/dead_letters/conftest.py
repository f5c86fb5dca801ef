"""A throwaway topic that the admin and the commands use too, and dead letters that came through it."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from devstack import Kafka
from tests.integration.todos.dead_letters.support import Poison
from tests.support.topic import Topic
from todos.kafka.producer import KafkaSender
from todos.models import DeadLetter


@pytest.fixture
def topic(kafka: Kafka, settings: Any) -> Iterator[Topic]:
    name = f"test-{uuid.uuid4().hex[:8]}"
    settings.KAFKA = settings.KAFKA.model_copy(update={"topic": name, "group": name})
    topic = Topic(settings.KAFKA)
    topic.log().create_topic(3, 1)
    yield topic
    topic.producer.close()
    for log in topic.logs:
        log.close()


@pytest.fixture
def poison(topic: Topic) -> Poison:
    def poison(value: bytes | None = b'{"title": ""}', **options: Any) -> DeadLetter:
        """The dead letter that the ingest made of a record."""
        (offset,) = topic.send(value, **options)
        topic.poll(timeout_ms=500)
        return DeadLetter.objects.get(partition=options.get("partition", 0), offset=offset)

    return poison


@pytest.fixture
def sender(topic: Topic) -> Iterator[KafkaSender]:
    with KafkaSender(topic.kafka) as sender:
        yield sender


@pytest.fixture
def admin(admin_client: Client) -> Client:
    return admin_client
