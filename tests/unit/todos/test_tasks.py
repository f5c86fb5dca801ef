"""What a worker's child is told when it starts."""

import gc
import sys
from collections.abc import Iterator

import pytest

from todos.ingest.parsing import parse_records
from todos.kafka.decoding.fast_path import KafkaRecord
from todos.tasks import tune_python

MANY = 10_000  # twice as many as a poll reads at once, unless an operator asks for more


@pytest.fixture
def collections() -> Iterator[list[int]]:
    """The generations that were searched meanwhile, in a process that is told what a child is told."""
    seen: list[int] = []
    before, switch = gc.get_threshold(), sys.getswitchinterval()

    def note(_phase: str, info: dict[str, int]) -> None:
        seen.append(info["generation"])

    tune_python()
    gc.callbacks.append(note)
    yield seen
    gc.callbacks.remove(note)
    gc.set_threshold(*before)
    sys.setswitchinterval(switch)
    gc.unfreeze()


def test_no_garbage_collection_searches_the_records_of_two_batches(collections: list[int]) -> None:
    kept = []
    for first in (0, MANY):
        records = [KafkaRecord(0, first + i, i, b"key", b'{"title": "one"}', [("a", b"b")]) for i in range(MANY)]
        kept.append(parse_records("topic", records))

    assert [MANY, MANY] == [len(batch.todos) for batch in kept]
    assert collections == []
