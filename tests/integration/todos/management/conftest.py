"""A throwaway topic that the commands use too."""

from collections.abc import Iterator
from typing import Any

import pytest

from devstack import Kafka
from tests.support.topic import Topic, throwaway_topic


@pytest.fixture
def topic(kafka: Kafka, settings: Any) -> Iterator[Topic]:
    with throwaway_topic(kafka, settings) as topic:
        yield topic
