"""Topics in memory, and consumer runs that always prefetch."""

import uuid
from collections.abc import Callable

import pytest
from django.conf import settings

from tests.support.memory_topic import MemoryTopic


@pytest.fixture(autouse=True)
def always_prefetch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefetch after a batch of any size, so that each failure meets prefetched records."""
    monkeypatch.setattr("todos.ingest.prefetch.PREFETCH_MIN_RECORDS", 1)


@pytest.fixture
def make_memory_topic() -> Callable[..., MemoryTopic]:
    def make(partitions: int = 1) -> MemoryTopic:
        name = f"memory-{uuid.uuid4().hex[:8]}"
        return MemoryTopic(settings.KAFKA.model_copy(update={"topic": name, "group": name}), partitions=partitions)

    return make
