"""Throwaway topics that the commands use too, of the shared Kafka and of one that a test may freeze."""

from collections.abc import Iterator
from typing import Any

import pytest

from devstack import Kafka
from tests.conftest import running
from tests.support.topic import Topic, throwaway_topic


@pytest.fixture
def topic(kafka: Kafka, settings: Any) -> Iterator[Topic]:
    with throwaway_topic(kafka, settings) as topic:
        yield topic


@pytest.fixture(scope="session")
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    with running(Kafka(tmp_path_factory.mktemp("own-kafka"))) as service:
        yield service


@pytest.fixture
def own_topic(own_kafka: Kafka, settings: Any) -> Iterator[Topic]:
    with throwaway_topic(own_kafka, settings) as topic:
        yield topic
