"""Stop storing when too many records would become dead letters: then the records are hardly the cause.

The limit applies to a batch as a whole, and to each partition's last MIN_RECORDS records or more. Where a batch has
fewer of a partition, the batches before it count too, so bad records that trickle in reach the limit as well. A
halted partition continues by itself once enough good records follow the bad ones.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from todos.ingest.errors import SystemicFailure
from todos.models import Batch, DeadLetter

MIN_RECORDS = 100


class TooManyDeadLetters(SystemicFailure):
    """A batch, or one partition of it, exceeds the limit. Other partitions may be fine."""

    def __init__(self, how_many: str, last: str) -> None:
        super().__init__(
            f"{how_many} cannot be stored, so no more are made dead letters;"
            f" if that is right, manage.py set_aside makes them dead letters, once. The last one: {last}"
        )


@dataclass(frozen=True)
class DeadLetterLimit:
    """How many of the last records may be dead letters, in percent.

    Fewer than MIN_RECORDS records never exceed the limit, because a few bad records in a row mean little. A `strict`
    limit applies to any number of records of a partition.
    """

    percent: int = 50
    strict: bool = False

    def allowed(self, records: int, min_records: int = MIN_RECORDS) -> int:
        """Return how many of so many records may be dead letters."""
        return records if records < min_records else records * self.percent // 100

    def enforce(
        self, topic: str, generations: Mapping[int, int], records: Counter[int], letters: Sequence[DeadLetter]
    ) -> None:
        """Check the dead letters of a batch before they are written; `records` counts all records by partition.

        Raises TooManyDeadLetters.
        """
        if len(letters) > self.allowed(records.total()):
            raise TooManyDeadLetters(f"{len(letters)} of the last {records.total()} records", letters[-1].detail)
        for partition in sorted({letter.partition for letter in letters}):
            own = [letter for letter in letters if letter.partition == partition]
            dead, total = _with_previous_batches(topic, partition, generations[partition], len(own), records[partition])
            if dead > self.allowed(total, 1 if self.strict else MIN_RECORDS):
                raise TooManyDeadLetters(f"{dead} of the last {total} records", own[-1].detail)


DEFAULT_LIMIT = DeadLetterLimit()


def _with_previous_batches(topic: str, partition: int, generation: int, dead: int, records: int) -> tuple[int, int]:
    """Add the partition's newest batches to the counts until they cover MIN_RECORDS records."""
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
    return dead + (_count_since(topic, partition, start) if start is not None else 0), records


def _count_since(topic: str, partition: int, offset: int) -> int:
    """Count dead letters from an offset on. Conflicts are left out: clients cause them, and they are harmless."""
    letters = DeadLetter.objects.filter(topic=topic, partition=partition, offset__gte=offset)
    return letters.exclude(reason=DeadLetter.Reason.CONFLICT).count()
