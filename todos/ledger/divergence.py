"""Find out where a log stops being the one that was stored, by the last records of the batches."""

from collections.abc import Callable

from todos.event_log import (
    Log,
    LogUnavailable,
    OffsetOutOfRange,
    OffsetRange,
    PartitionUnreadable,
    RecordIdentity,
    Undecodable,
)
from todos.models import Batch, LogDivergence, PartitionLedger


def agreed_offset(log: Log, partition: int, held: OffsetRange, before_read: Callable[[], None] = lambda: None) -> int:
    """Return the end of the newest batch whose last record the log still has; `held` are the log's offsets.

    It is the start of the log if no batch proves more. Takes about two reads for each halving of the range, and
    replaces the log's assignment. `before_read` is called before each. Raises LogUnavailable or a DatabaseError.
    """
    where = {"topic": log.topic, "partition": partition}
    generation = PartitionLedger.objects.get(**where).generation
    batches = Batch.objects.filter(**where, generation=generation, last_offset__gte=held.first)
    agreed, end = held
    while True:
        chain = batches.filter(next_offset__gt=agreed, next_offset__lte=end)
        upper_half = chain.filter(next_offset__gt=(agreed + end) // 2)
        batch = upper_half.order_by("next_offset").first() or chain.order_by("-next_offset").first()
        if batch is None:
            return agreed
        before_read()
        if _has_last_record(log, partition, batch):
            agreed = batch.next_offset
        else:
            end = batch.next_offset - 1


def _has_last_record(log: Log, partition: int, batch: Batch) -> bool:
    """Raises LogUnavailable if the log does not tell in time: then a record that is there could seem to be lost."""
    known = last_record_of(batch)
    if known is None:
        return False
    try:
        found = log.first_records({partition: known.offset}).get(partition)
        if found is None and log.positions().get(partition, 0) <= known.offset:
            raise LogUnavailable(f"offset {known.offset} of partition {partition} could not be read in time")
    except (OffsetOutOfRange, PartitionUnreadable):  # Kafka deleted it just now, or its bytes are damaged
        return False
    if found is None or found.offset != known.offset or isinstance(found, Undecodable):
        return False
    return not known.is_contradicted_by(found)


def last_record_of(row: Batch | PartitionLedger) -> RecordIdentity | None:
    """Return the last record of a batch, or the last one before a ledger's next offset; None if it is unknown."""
    if row.last_offset is None or row.last_checksum is None or row.last_leader_epoch is None:
        return None
    return RecordIdentity(row.last_offset, row.last_checksum, row.last_leader_epoch)


def is_in_doubt(topic: str, partition: int, offset: int) -> bool:
    """Tell whether the offset may mean a record of either of two logs, so that a missing row proves nothing."""
    return LogDivergence.objects.filter(
        topic=topic, partition=partition, first_offset__lte=offset, next_offset__gt=offset
    ).exists()
