"""Read and parse the next batch while the last one is being stored.

It pays because PostgreSQL works without Python's lock. One thread makes all calls that assign and read, one after the
other, so nothing that was read before an `assign` can follow it. At most two batches are in memory: the one that is
being stored, and the next.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import MappingProxyType, TracebackType
from typing import NamedTuple, Self

from todos.event_log import Log, LogDiverged, Record, RecordIdentity
from todos.ingest.parsing import ParsedBatch, parse_records

# A smaller batch was all there was, unless `max_records` cut it off. Records that arrive while it is stored should
# make the next batch larger instead of being one more batch.
PREFETCH_MIN_RECORDS = 500
NONE_KNOWN: Mapping[int, RecordIdentity] = MappingProxyType({})


class FetchedBatch(NamedTuple):
    """Parsed records, and the range of offsets that they cover in each partition: first included, end not.

    A range may hold no record at all: markers of transactions, aborted records, records that compaction removed.
    """

    records: ParsedBatch
    ranges: dict[int, tuple[int, int]]

    def split_by_partition(self) -> list["FetchedBatch"]:
        """Return one batch for each partition."""
        return [self._part(partition, first, end) for partition, (first, end) in self.ranges.items()]

    def split(self) -> list["FetchedBatch"]:
        """Return smaller batches in order: one for each partition, or two halves of one partition.

        A batch of a single record is returned as it is.
        """
        if len(self.ranges) > 1:
            return self.split_by_partition()
        ((partition, (first, end)),) = self.ranges.items()
        offsets = sorted(record.offset for record in self.records.sources + self.records.letter_sources)
        if len(offsets) < 2:
            return [self]
        middle = offsets[len(offsets) // 2]
        return [self._part(partition, first, middle), self._part(partition, middle, end)]

    def before(self, partition: int, end: int) -> "FetchedBatch":
        """Return the part of a batch of one partition that ends at the offset `end` at the latest."""
        first, own_end = self.ranges[partition]
        return self._part(partition, first, end) if end < own_end else self

    def _part(self, partition: int, first: int, end: int) -> "FetchedBatch":
        return FetchedBatch(self.records.within(partition, range(first, end)), {partition: (first, end)})


class Prefetcher:
    """A context manager that reads in its own thread and ends that thread on exit.

    Create it in the process that reads: a thread does not survive a fork. `max_records` limits each batch.
    """

    def __init__(
        self, log: Log, max_records: int, parse: Callable[[str, Iterable[Record]], ParsedBatch] = parse_records
    ) -> None:
        self._log, self._parse = log, parse
        self._max_records = max_records
        self._min_records = min(PREFETCH_MIN_RECORDS, max_records)
        self._positions: dict[int, int] = {}
        self._unverified: dict[int, RecordIdentity] = {}
        self._next: Future[FetchedBatch] | None = None
        self._thread = ThreadPoolExecutor(1, "prefetch")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=exc_type is None, cancel_futures=True)  # what interrupted a read may wait for it

    def assign(self, positions: Mapping[int, int], last_records: Mapping[int, RecordIdentity] = NONE_KNOWN) -> None:
        """Read these partitions from these offsets on. Waits for a running read and discards what it returns.

        Reading begins at a partition's last record, if it is among `last_records`: a log that has another one in its
        place is another log, and the read raises LogDiverged. What lies between it and the offset is not read.
        """
        self._next = None
        self._thread.submit(self._assign, positions, last_records).result()

    def read(self, wait_seconds: float) -> FetchedBatch:
        """Return the next batch, an empty one if no record arrives in time. Raises what the log raises."""
        prefetched, self._next = self._next, None
        batch = (prefetched or self._submit(wait_seconds)).result()
        if len(batch.records) >= self._min_records:
            self._next = self._submit(wait_seconds)
        return batch

    def _submit(self, wait_seconds: float) -> "Future[FetchedBatch]":
        return self._thread.submit(self._read, wait_seconds)

    # --- In the thread

    def _assign(self, positions: Mapping[int, int], last_records: Mapping[int, RecordIdentity] = NONE_KNOWN) -> None:
        self._log.assign({**positions, **{partition: record.offset for partition, record in last_records.items()}})
        self._positions, self._unverified = dict(positions), dict(last_records)

    def _unread(self, partition: int, records: Sequence[Record]) -> Sequence[Record]:
        """Return the records from the assigned offset on. Raises LogDiverged."""
        known = self._unverified.pop(partition, None)
        if known and known.is_contradicted_by(records[0]):
            raise LogDiverged(partition, known, records[0])
        first = self._positions[partition]
        return records if records[0].offset >= first else [record for record in records if record.offset >= first]

    def _read(self, wait_seconds: float) -> FetchedBatch:
        polled = self._log.poll(timeout_ms=int(wait_seconds * 1000), max_records=self._max_records)
        read = {
            partition: unread for partition, records in polled.items() if (unread := self._unread(partition, records))
        }
        ends = {partition: records[-1].offset + 1 for partition, records in read.items()} or self._log.positions()
        ends = {partition: max(end, self._positions[partition]) for partition, end in ends.items()}
        is_behind = any(records[-1].offset + 1 < self._positions[partition] for partition, records in polled.items())
        batch = self._parse(self._log.topic, (record for records in read.values() for record in records))
        _ = batch.lines  # made in this thread, while the other one waits for PostgreSQL
        ends |= {partition: record.offset for partition, record in batch.unsupported.items()}
        ranges = {p: (self._positions[p], end) for p, end in ends.items() if end > self._positions[p]}
        self._positions |= ends
        # Records behind an unsupported one must not be read as if they followed the last batch.
        if batch.unsupported or is_behind:
            self._assign({p: end for p, end in self._positions.items() if p not in batch.unsupported}, self._unverified)
        return FetchedBatch(batch, ranges)
