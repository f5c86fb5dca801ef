"""A live topic with a queue of its own, and a database that is away."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.db import connection

from devstack import Kafka, Valkey
from tests.support.topic import Topic
from todos.monitoring.probes import close_services


@pytest.fixture
def live(kafka: Kafka, valkey: Valkey, settings: Any) -> Iterator[Topic]:
    name = f"test-{uuid.uuid4().hex[:8]}"
    settings.CELERY_BROKER_URL = f"{valkey.url.rpartition('/')[0]}/9"
    settings.KAFKA = settings.KAFKA.model_copy(
        update={"topic": name, "group": name, "bootstrap_servers": kafka.bootstrap_servers}
    )
    topic = Topic(settings.KAFKA)
    topic.log().create_topic(2, 1)
    with redis.Redis.from_url(settings.CELERY_BROKER_URL) as queue:
        queue.flushdb()
        yield topic
        queue.flushdb()
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
