"""Dead letters that came through a topic, and what sends them again."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from tests.support.dead_letters import Poison
from tests.support.topic import Topic
from todos.kafka.producer import KafkaSender
from todos.models import DeadLetter


@pytest.fixture
def poison(topic: Topic) -> Poison:
    def poison(value: bytes | None = b'{"title": ""}', **options: Any) -> DeadLetter:
        """Send a record that cannot become a todo, and return its dead letter."""
        (offset,) = topic.send(value, **options)
        topic.poll()
        return DeadLetter.objects.get(partition=options.get("partition", 0), offset=offset)

    return poison


@pytest.fixture
def sender(topic: Topic) -> Iterator[KafkaSender]:
    with KafkaSender(topic.kafka) as sender:
        yield sender


@pytest.fixture
def admin(admin_client: Client) -> Client:
    return admin_client
