"""A throwaway topic that the commands use too."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from devstack import Kafka
from tests.conftest import running
from tests.support.topic import Topic


@pytest.fixture(scope="session")
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """To be frozen."""
    with running(Kafka(tmp_path_factory.mktemp("own-kafka"))) as service:
        yield service


@pytest.fixture
def topic(kafka: Kafka, settings: Any) -> Iterator[Topic]:
    with throwaway_topic(kafka, settings) as topic:
        yield topic


@pytest.fixture
def own_topic(own_kafka: Kafka, settings: Any) -> Iterator[Topic]:
    with throwaway_topic(own_kafka, settings) as topic:
        yield topic


@contextmanager
def throwaway_topic(kafka: Kafka, settings: Any) -> Iterator[Topic]:
    name = f"test-{uuid.uuid4().hex[:8]}"
    names = {"bootstrap_servers": kafka.bootstrap_servers, "topic": name, "group": name}
    settings.KAFKA = settings.KAFKA.model_copy(update=names)
    topic = Topic(settings.KAFKA)
    topic.log().create_topic(3, 1)
    yield topic
    topic.producer.close()
    for log in topic.logs:
        log.close()
