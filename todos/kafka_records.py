"""From the bytes of a fetch to records, so that every offset comes out of it, whatever its bytes are.

kafka-python 3.0.12 raises at the first record that it cannot decode, and its next poll then spins for ever. Here
such a record comes out as Undecodable, with the bytes that stand in its place.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import zip_longest
from typing import Any, NamedTuple

from kafka import TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError

from todos.compression import MAX_UNCOMPRESSED_BYTES
from todos.kafka_batches import Slice, claimed_end, open_batch, slices_of
from todos.log import Undecodable

# A checksum that fails may be the reading's fault, so a batch is read this often before it is given up.
READS_OF_A_BAD_CHECKSUM = 3
ABORT = b"\0\0"  # the second number in a marker's key: KIP-98
INT64 = range(-(2**63), 2**63)
Doubts = dict[TopicPartition, tuple[int, int]]


class KafkaRecord(NamedTuple):
    """A todos.log.Record. Bytes of a header's name that are not UTF-8 are there as Python's surrogateescape."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


def install(consumer: Any) -> None:
    """Let a KafkaConsumer read by this module."""
    doubts: Doubts = {}
    consumer._fetcher.PartitionRecords = partial(PartitionRecords, end_of_log=consumer.highwater, doubts=doubts)


class PartitionRecords(Fetcher.PartitionRecords):  # type: ignore[misc]  # kafka-python has no types
    """What one fetch brought of one partition; `doubts` counts how often a batch was read with a bad checksum."""

    fetch_offset: int
    next_fetch_offset: int

    def __init__(
        self, *args: Any, end_of_log: Callable[[TopicPartition], int | None], doubts: Doubts, **options: Any
    ) -> None:
        self._end_of_log, self._doubts = end_of_log, doubts
        super().__init__(*args, **options)

    def _unpack_records(
        self, where: TopicPartition, fetched: Any, *_deserializers: Any
    ) -> Iterator[KafkaRecord | Undecodable]:
        try:
            slices = list(slices_of(memoryview(fetched._buffer)))
            for current, following in zip_longest(slices, slices[1:]):
                # What is left over when the memory is full comes again with the next fetch.
                if current.data and self.bytes_read < MAX_UNCOMPRESSED_BYTES:
                    yield from self._records(where, current, following)
        except Exception:
            self.drain()  # without it kafka-python would take this exhausted iterator for an endless one
            raise
        self.drain()

    def _records(
        self, where: TopicPartition, current: Slice, following: Slice | None
    ) -> Iterator[KafkaRecord | Undecodable]:
        batch, why = open_batch(current.data)
        if batch is None:
            self._read_again(where, current.base_offset, why)
            self.next_fetch_offset = max(self.next_fetch_offset, current.base_offset)
        elif not self._is_in_place(where, batch, following):
            batch, why = None, f"it claims to begin at {current.base_offset}"
        end = self._end(where, batch, current, following)
        expected = _whole(batch, end)
        try:
            for record in _decode(batch) if batch is not None and not self._is_aborted(batch) else ():
                if expected is not None:
                    _check_same(record.offset, next(expected, end))
                if record.offset < self.fetch_offset == self.next_fetch_offset:
                    continue  # in the middle of the first batch
                _check_order(record.offset, range(self.next_fetch_offset, end))
                self._count(record.offset, record.size_in_bytes)
                yield _kafka_record(where.partition, record)
        except Exception as exc:  # noqa: BLE001 - decompressors raise whatever they like
            why = f"{type(exc).__name__}: {exc}"
        if why:
            yield from self._undecodable(where.partition, range(self.next_fetch_offset, end), current.data, why)
        self.next_fetch_offset = max(self.next_fetch_offset, end)

    def _is_in_place(self, where: TopicPartition, batch: Any, following: Slice | None) -> bool:
        """No checksum covers the offset at which a batch says that it begins."""
        if batch.magic < 2 or batch.base_offset == self.next_fetch_offset:
            return True
        if batch.base_offset < self.next_fetch_offset:
            return self.next_fetch_offset == self.fetch_offset  # in the middle of the first one
        limit = following.base_offset if following else self._end_of_log(where)  # behind what was compacted away
        return limit is None or bool(batch.base_offset + batch.records_count <= limit)

    def _is_aborted(self, batch: Any) -> bool:
        """Kafka tells with each fetch whose transactions were aborted in it, and a marker where each one ends."""
        if batch.magic < 2 or not batch.has_producer_id():
            return False
        self._consume_aborted_transactions_up_to(batch.last_offset)
        if batch.is_control_batch and any(marker.key[2:4] == ABORT for marker in batch):
            self.aborted_producer_ids.discard(batch.producer_id)
        return bool(self._is_batch_aborted(batch))

    def _undecodable(self, partition: int, offsets: range, data: memoryview | bytes, why: str) -> Iterator[Undecodable]:
        """The first one carries the bytes of the whole batch."""
        for offset in offsets:
            is_first = offset == offsets.start
            self._count(offset, len(data) if is_first else 0)
            text = f"offsets {offsets.start} to {offsets.stop - 1}: {why}; the first one keeps their batch"
            yield Undecodable(partition, offset, text, bytes(data) if is_first else None)

    def _count(self, offset: int, size: int) -> None:
        self.next_fetch_offset = offset + 1
        self.records_read += 1
        self.bytes_read += size

    def _read_again(self, where: TopicPartition, base_offset: int, why: str) -> None:
        """Raises CorruptRecordError until this batch was read often enough."""
        offset, reads = self._doubts.get(where, (base_offset, 0))
        reads = reads + 1 if offset == base_offset else 1
        self._doubts[where] = base_offset, reads
        if reads < READS_OF_A_BAD_CHECKSUM:
            raise CorruptRecordError(f"{where.topic}/{where.partition}, batch at offset {base_offset}: {why}")

    def _end(self, where: TopicPartition, batch: Any, current: Slice, following: Slice | None) -> int:
        """The offset behind the batch: where the next one begins, rather than what a damaged one says of itself."""
        if batch is not None and batch.magic < 2:
            return int(batch.base_offset) + 1  # an old format's compressed set bears the offset of its last record
        end = following.base_offset if following else claimed_end(current)
        if batch is not None:
            self.leader_epoch = batch.leader_epoch
            # The next one may be wrong about where it begins.
            least = batch.base_offset + batch.records_count
            end = min([each for each in (end, int(batch.next_offset)) if each >= least], default=end)
        if (end_of_log := self._end_of_log(where)) is not None:
            end = min(end, end_of_log)
        # The last batch of a fetch holds at least the offset that was asked for.
        return end if following and following.data else max(end, self.next_fetch_offset + 1)


def _whole(batch: Any, end: int) -> Iterator[int] | None:
    """The offset of each record, where nothing was compacted away, so that none may be left out; None elsewhere."""
    if batch is None or batch.magic < 2 or batch.records_count != end - batch.base_offset:
        return None
    return iter(range(batch.base_offset, end))


def _check_same(offset: int, expected: int) -> None:
    if offset != expected:
        raise CorruptRecordError(f"offset {offset} stands in the place of {expected}")


def _check_order(offset: int, expected: range) -> None:
    if offset not in expected:
        raise CorruptRecordError(f"offset {offset} is not one of {expected.start} to {expected.stop - 1}")


def _kafka_record(partition: int, record: Any) -> KafkaRecord:
    """The oldest format has no time, and a sum of two numbers from a producer can be anything."""
    timestamp = record.timestamp if record.timestamp in INT64 else -1
    return KafkaRecord(partition, record.offset, timestamp, record.key, record.value, record.headers)


def _decode(batch: Any) -> Iterator[Any]:
    """Control batches mark the ends of transactions; they hold nothing for us."""
    return iter(() if batch.magic == 2 and batch.is_control_batch else batch)
