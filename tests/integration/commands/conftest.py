"""A throwaway topic that the commands use too."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from devstack import Kafka
from tests.support.topic import Topic


@pytest.fixture
def topic(kafka: Kafka, settings: Any) -> Iterator[Topic]:
    yield from throwaway_topic(settings)


def throwaway_topic(settings: Any) -> Iterator[Topic]:
    name = f"test-{uuid.uuid4().hex[:8]}"
    settings.KAFKA = settings.KAFKA.model_copy(update={"topic": name, "group": name})
    topic = Topic(settings.KAFKA)
    topic.log().create_topic(3, 1)
    yield topic
    topic.producer.close()
    for log in topic.logs:
        log.close()
