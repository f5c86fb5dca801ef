"""Fixtures: `live` gives a topic of real Kafka and empties the queue, `no_database` disconnects the database."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from redis import Redis

from devstack import Kafka
from tests.support.topic import Topic
from todos.monitoring.probes import close_services


@pytest.fixture
def live(kafka: Kafka, queue: Redis, settings: Any) -> Iterator[Topic]:
    name = f"test-{uuid.uuid4().hex[:8]}"
    settings.KAFKA = settings.KAFKA.model_copy(
        update={"topic": name, "group": name, "bootstrap_servers": kafka.bootstrap_servers}
    )
    topic = Topic(settings.KAFKA)
    topic.log().create_topic(2, 1)
    yield topic
    close_services()
    topic.producer.close()
    for log in topic.logs:
        log.close()


@pytest.fixture
def no_database() -> Iterator[None]:
    connection.close()
    original, connection.settings_dict = connection.settings_dict, {**connection.settings_dict, "PORT": "1"}
    yield
    connection.close()
    connection.settings_dict = original
