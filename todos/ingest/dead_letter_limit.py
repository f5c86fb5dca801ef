"""The breaker: where most of what comes could only become dead letters, the fault is hardly in the records.

A batch is judged as a whole, and each partition by its last MIN_RECORDS records or more: those of the batch and,
while they are too few, those of the batches before it. So poison that trickles in trips it too; and as soon as enough
good records wait behind the bad ones, the partition goes on by itself.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from todos.ingest.errors import SystemicFailure
from todos.models import Batch, DeadLetter

MIN_RECORDS = 100


class TooManyDeadLetters(SystemicFailure):
    """Of a batch, or of a partition: others may be fine."""

    def __init__(self, how_many: str, last: str) -> None:
        super().__init__(
            f"{how_many} cannot be stored, so no more are made dead letters;"
            f" if that is right, raise dead_letter_percent. The last one: {last}"
        )


def max_dead_letters(records: int, percent: int, min_records: int = MIN_RECORDS) -> int:
    """A few bad records in a row are no sign of a general fault; most of many are."""
    return records if records < min_records else records * percent // 100


def enforce_limit(
    topic: str,
    generations: Mapping[int, int],
    records: Counter[int],
    letters: Sequence[DeadLetter],
    percent: int,
    *,
    strict: bool,
) -> None:
    """Before a dead letter is written. `records` are counted by partition. Raises TooManyDeadLetters.

    A suspect partition is judged by however few records it has.
    """
    if len(letters) > max_dead_letters(records.total(), percent):
        raise TooManyDeadLetters(f"{len(letters)} of the last {records.total()} records", letters[-1].detail)
    for partition in sorted({letter.partition for letter in letters}):
        of_it = [letter for letter in letters if letter.partition == partition]
        dead, all_records = _with_those_before(topic, partition, generations[partition], len(of_it), records[partition])
        if dead > max_dead_letters(all_records, percent, 1 if strict else MIN_RECORDS):
            raise TooManyDeadLetters(f"{dead} of the last {all_records} records", of_it[-1].detail)


def _with_those_before(topic: str, partition: int, generation: int, dead: int, records: int) -> tuple[int, int]:
    if records >= MIN_RECORDS:
        return dead, records
    chain = Batch.objects.filter(topic=topic, partition=partition, generation=generation, first_offset__isnull=False)
    batches = chain.order_by("-next_offset").values_list("first_offset", "stored", "duplicates", "dead_letters")
    start = None
    for first_offset, *counts in batches[: MIN_RECORDS - records]:
        start = first_offset
        records += sum(counts)
        if records >= MIN_RECORDS:
            break
    return dead + (_dead_since(topic, partition, start) if start is not None else 0), records


def _dead_since(topic: str, partition: int, offset: int) -> int:
    """Without conflicts: those are their clients' doing."""
    letters = DeadLetter.objects.filter(topic=topic, partition=partition, offset__gte=offset)
    return letters.exclude(reason=DeadLetter.Reason.CONFLICT).count()
