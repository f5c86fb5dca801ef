"""Keep the history of each partition: a chain of batches, each written in the transaction of the rows it counts."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from django.db import IntegrityError, connection, transaction
from django.db.models import F, OuterRef, Q, QuerySet, Subquery

from todos.event_log import RecordIdentity
from todos.models import Batch, OffsetLoss, PartitionLedger

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

# Rows in one transaction, and seconds in all: a trim shares the worker with the polls.
TRIM_ROWS, TRIM_SECONDS = 10_000, 5.0

# Finds the end of the last expired batch among the oldest rows of a chain. The last row of the chain is left out: the
# next batch refers to it, and no consumer should wait for a trim.
LAST_EXPIRED = """
    WITH chain AS (
        SELECT next_offset, created_at FROM todos_batch
        WHERE topic = %(topic)s AND partition = %(partition)s AND generation = %(generation)s)
    SELECT max(next_offset) FILTER (WHERE created_at < now() - %(keep_days)s * interval '1 day')
    FROM (SELECT * FROM chain ORDER BY next_offset LIMIT %(limit)s) oldest
    WHERE next_offset < (SELECT max(next_offset) FROM chain)
"""
# Turns the last expired batch into the anchor of its chain.
MAKE_ANCHOR = """
    UPDATE todos_batch SET first_offset = NULL, stored = 0, duplicates = 0, dead_letters = 0, erased = 0,
                           lost = 0, bytes = 0, milliseconds = 0, worker = '', task_id = ''
    WHERE topic = %(topic)s AND partition = %(partition)s AND generation = %(generation)s
      AND next_offset = %(end)s
"""
# Adds new batches to the totals of their partitions, which outlive the history.
ADD_TO_TOTALS = """
    UPDATE todos_partitionledger l
    SET batches_total = l.batches_total + 1, stored_total = l.stored_total + b.stored,
        duplicates_total = l.duplicates_total + b.duplicates,
        dead_letters_total = l.dead_letters_total + b.dead_letters, erased_total = l.erased_total + b.erased,
        lost_total = l.lost_total + b.lost, bytes_total = l.bytes_total + b.bytes,
        milliseconds_total = l.milliseconds_total + b.milliseconds
    FROM todos_batch b WHERE b.id = ANY(%s) AND l.topic = b.topic AND l.partition = b.partition
"""


class ChainBroken(Exception):
    """The ledger of a partition is not at the offset where its batches end. Nothing was stored."""


class WriterInfo(NamedTuple):
    """The process that stores, as host and process id, and its Celery task if it runs one."""

    worker: str = ""
    task_id: str = ""


UNKNOWN_WRITER = WriterInfo()


class BatchCounts(NamedTuple):
    """What one transaction did, by partition: records, and the bytes of their values."""

    stored: Counter[int]
    duplicates: Counter[int]
    dead_letters: Counter[int]
    erased: Counter[int]
    bytes: Counter[int]


def record_batches(
    topic: str,
    generations: Mapping[int, int],
    ranges: Mapping[int, tuple[int, int]],
    counts: BatchCounts,
    last_records: Mapping[int, RecordIdentity],
    *,
    writer: WriterInfo,
    seconds: float,
) -> None:
    """Append one batch for each partition, in the caller's transaction. Raises ChainBroken.

    `ranges` are offsets, the first included and the last not; `seconds` is how long the transaction has taken.
    """
    append_batches(
        Batch(
            topic=topic,
            partition=partition,
            generation=generations[partition],
            first_offset=first,
            next_offset=next_offset,
            **{name: by_partition[partition] for name, by_partition in counts._asdict().items()},
            **last_record_columns(last_records.get(partition)),
            milliseconds=round(seconds * 1000),
            **writer._asdict(),
        )
        for partition, (first, next_offset) in ranges.items()
    )


def last_record_columns(record: RecordIdentity | None) -> dict[str, int | None]:
    """Return the columns of a batch or ledger that keep its last record."""
    offset, checksum, leader_epoch = record or (None, None, None)
    return {"last_offset": offset, "last_checksum": checksum, "last_leader_epoch": leader_epoch}


def append_batches(batches: Iterable[Batch]) -> None:
    """Append batches to their chains and add them to the ledger's totals, in the caller's transaction.

    Raises ChainBroken, which names the partition.
    """
    try:
        appended = Batch.objects.bulk_create(batches)
    except IntegrityError as exc:
        raise ChainBroken(" ".join(str(exc).split())) from exc
    with connection.cursor() as cursor:
        cursor.execute(ADD_TO_TOTALS, [[batch.id for batch in appended]])


def append_loss(loss: OffsetLoss, generation: int, writer: WriterInfo) -> None:
    """Save a loss and append its range to the chain of batches, in the caller's transaction. Raises ChainBroken."""
    place = {name: getattr(loss, name) for name in ("topic", "partition", "first_offset", "next_offset")}
    lost = loss.next_offset - loss.first_offset
    append_batches([Batch(**place, generation=generation, lost=lost, **writer._asdict())])
    loss.save()


class _End(TypedDict):
    chain_end: int | None


def broken_chains(topic: str) -> "QuerySet[WithAnnotations[PartitionLedger, _End]]":
    """Return the ledger's rows that are not at the end of their batches.

    Each is annotated with that `chain_end`, None if the partition has no batches.
    """
    chain = Batch.objects.filter(
        topic=OuterRef("topic"), partition=OuterRef("partition"), generation=OuterRef("generation")
    )
    end = Subquery(chain.order_by("-next_offset").values("next_offset")[:1])
    ledgers = PartitionLedger.objects.filter(topic=topic).annotate(chain_end=end)
    return ledgers.filter(Q(chain_end=None) | ~Q(chain_end=F("next_offset")))


def trim(keep_days: int) -> int:
    """Delete batches older than `keep_days`, the oldest first, for TRIM_SECONDS at most. Returns the number of rows."""
    deadline = time.monotonic() + TRIM_SECONDS
    removed = 0
    for ledger in PartitionLedger.objects.order_by("topic", "partition"):
        for generation in range(ledger.generation + 1):
            chain = {"topic": ledger.topic, "partition": ledger.partition, "generation": generation}
            while time.monotonic() < deadline and (rows := _trim_chain(chain, keep_days)):
                removed += rows
    return removed


@transaction.atomic(durable=True)
def _trim_chain(chain: dict[str, Any], keep_days: int) -> int:
    """Make the last expired batch the anchor of those that stay, and delete the rows before it."""
    with connection.cursor() as cursor:
        cursor.execute(LAST_EXPIRED, chain | {"keep_days": keep_days, "limit": TRIM_ROWS})
        (end,) = cursor.fetchone()
        if end is None:
            return 0
        cursor.execute("SET CONSTRAINTS todos_batch_follows DEFERRED")
        removed, _ = Batch.objects.filter(**chain, next_offset__lt=end).delete()
        cursor.execute(MAKE_ANCHOR, chain | {"end": end})
    return removed
