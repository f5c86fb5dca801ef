"""The chain of batches of a partition, as the database holds it."""

from todos.ledger.batch_history import broken_chains
from todos.models import Batch


def chain(topic: str, partition: int = 0, generation: int = 0) -> list[tuple[int | None, int]]:
    """Return the ranges of the batches in order; the anchor comes first."""
    batches = Batch.objects.filter(topic=topic, partition=partition, generation=generation).order_by("next_offset")
    return list(batches.values_list("first_offset", "next_offset"))


def assert_whole(topic: str, ends: dict[int, int]) -> None:
    """Assert one chain from 0 to its end for each partition; checked in Python, not by the constraints under test."""
    for partition, end in ends.items():
        position: int | None = None
        for first, next_offset in chain(topic, partition):
            assert first == position
            position = next_offset
        assert position == end
    assert not broken_chains(topic).exists()
