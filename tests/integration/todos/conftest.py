"""Topics in memory, and consumer runs that always prefetch and know of no outage."""

import logging
import uuid
from collections.abc import Callable

import pytest
from django.conf import settings

from edge_api.shared.outages import Outage
from tests.support.memory_topic import MemoryTopic


@pytest.fixture(autouse=True)
def always_prefetch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefetch after a batch of any size, so that each failure meets prefetched records."""
    monkeypatch.setattr("todos.ingest.prefetch.PREFETCH_MIN_RECORDS", 1)


@pytest.fixture(autouse=True)
def new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the outages of the tests before, which this process would not report again."""
    for name in ("consumer.READING", "consumer.STORING"):
        outage = Outage(logging.getLogger("todos.ingest.consumer"), "an outage", "its end")
        monkeypatch.setattr(f"todos.ingest.{name}", outage)


@pytest.fixture
def make_memory_topic() -> Callable[..., MemoryTopic]:
    def make(partitions: int = 1) -> MemoryTopic:
        name = f"memory-{uuid.uuid4().hex[:8]}"
        return MemoryTopic(settings.KAFKA.model_copy(update={"topic": name, "group": name}), partitions=partitions)

    return make
