"""Reads and sorts the next batch of a log while the ingest stores the last one: PostgreSQL works without Python's lock.

One thread makes all calls to assign and read, one after the other, so nothing that was read before an `assign` can
come after it. At most two batches are in memory: the one that is being stored, and the next.
"""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import NamedTuple, Self

from todos.event_log import Log
from todos.ingest.parsing import ParsedBatch, parse_records

# A smaller batch was all there was. What comes while it is stored shall make the next batch larger, not one more.
PREFETCH_MIN_RECORDS = 500


class FetchedBatch(NamedTuple):
    """Records, and the offsets they cover of each partition: where its reading began, and where it goes on.

    Without records it may still cover some: markers of transactions, aborted records, what compaction removed.
    """

    records: ParsedBatch
    ranges: dict[int, tuple[int, int]]

    def by_partition(self) -> list["FetchedBatch"]:
        return [self._part(partition, first, end) for partition, (first, end) in self.ranges.items()]

    def smaller(self) -> list["FetchedBatch"]:
        """In order: a batch for each partition, or two halves of one; itself alone where it has no halves."""
        if len(self.ranges) > 1:
            return self.by_partition()
        ((partition, (first, end)),) = self.ranges.items()
        offsets = sorted(
            [todo.source_offset for todo in self.records.todos] + [e.offset for e in self.records.dead_letters]
        )
        if len(offsets) < 2:
            return [self]
        middle = offsets[len(offsets) // 2]
        return [self._part(partition, first, middle), self._part(partition, middle, end)]

    def _part(self, partition: int, first: int, end: int) -> "FetchedBatch":
        return FetchedBatch(self.records.within(partition, range(first, end)), {partition: (first, end)})


class Prefetcher:
    """A context manager that ends its thread. Make it in the process that reads."""

    def __init__(self, log: Log, max_records: int) -> None:
        self._log = log
        self._max_records = max_records
        self._positions: dict[int, int] = {}
        self._next: Future[FetchedBatch] | None = None
        self._thread = ThreadPoolExecutor(1, "read-ahead")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.shutdown(cancel_futures=True)

    def assign(self, positions: Mapping[int, int]) -> None:
        """Read these partitions from these offsets on. Waits for a running read, and forgets what it brings."""
        self._next = None
        self._thread.submit(self._assign, positions).result()

    def read(self, wait_seconds: float) -> FetchedBatch:
        """The next batch, an empty one when nothing comes in time. Raises what the log raises."""
        following, self._next = self._next, None
        batch = (following or self._submit(wait_seconds)).result()
        if len(batch.records) >= PREFETCH_MIN_RECORDS:
            self._next = self._submit(wait_seconds)
        return batch

    def _submit(self, wait_seconds: float) -> "Future[FetchedBatch]":
        return self._thread.submit(self._read, wait_seconds)

    # --- In the thread

    def _assign(self, positions: Mapping[int, int]) -> None:
        self._log.assign(positions)
        self._positions = dict(positions)

    def _read(self, wait_seconds: float) -> FetchedBatch:
        read = self._log.poll(timeout_ms=int(wait_seconds * 1000), max_records=self._max_records)
        ends = {partition: records[-1].offset + 1 for partition, records in read.items()} or self._log.positions()
        batch = parse_records(self._log.topic, (record for records in read.values() for record in records))
        ends |= {partition: record.offset for partition, record in batch.unsupported.items()}
        ranges = {p: (self._positions[p], end) for p, end in ends.items() if end > self._positions[p]}
        self._positions |= ends
        if batch.unsupported:  # what stands behind it must not be taken for what follows
            self._assign({p: end for p, end in self._positions.items() if p not in batch.unsupported})
        return FetchedBatch(batch, ranges)
