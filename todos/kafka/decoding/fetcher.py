"""Turn the bytes of a fetch into records: each offset becomes a record, or Undecodable.

kafka-python 3.0.12 raises at the first record that it cannot decode, and its next poll then spins for ever. Here
such a record becomes Undecodable, with the bytes that are in its place.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import zip_longest
from typing import Any

from kafka import TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError

from todos.event_log import PartitionUnreadable, Undecodable
from todos.kafka.decoding.batches import RawBatch, claimed_end, decode, open_batch, split_batches
from todos.kafka.decoding.compression import MAX_UNCOMPRESSED_BYTES
from todos.kafka.decoding.fast_path import KafkaRecord
from todos.kafka.failed_reads import READS_OF_A_BAD_CHECKSUM, READS_OF_NOTHING, FailedReads

ABORT = b"\0\0"  # the second number in a marker's key: KIP-98


def install(consumer: Any) -> None:
    """Replace how a KafkaConsumer decodes what it fetched. Raises AttributeError if a private part is missing."""
    fetcher = consumer._fetcher
    parse = fetcher._parse_fetched_data
    fetcher.PartitionRecords = partial(PartitionRecords, end_of_log=consumer.highwater, failed_reads=FailedReads())
    fetcher._parse_fetched_data = partial(_parse, parse, FailedReads())


def _parse(parse: Callable[[Any], Any], failed_reads: FailedReads, fetched: Any) -> Any:
    """Parse an answer of the broker.

    If the length of a batch is damaged, the broker cannot read past it: it answers with an error or with nothing.
    Raises PartitionUnreadable when it has done so often enough.
    """
    where, offset, data = fetched.topic_partition, fetched.fetched_offset, fetched.partition_data
    try:
        records = parse(fetched)
    except CorruptRecordError as exc:
        if failed_reads.add(where, offset) >= READS_OF_A_BAD_CHECKSUM:
            raise PartitionUnreadable(where.partition, offset, f"Kafka answers {exc.message}") from exc
        raise
    if data.error_code or data.records or data.last_stable_offset <= offset:
        failed_reads.clear(where, offset)
    elif failed_reads.add(where, offset) >= READS_OF_NOTHING:
        why = f"Kafka answers with nothing, though it goes up to {data.last_stable_offset - 1}"
        raise PartitionUnreadable(where.partition, offset, why)
    return records


class PartitionRecords(Fetcher.PartitionRecords):  # type: ignore[misc]  # kafka-python has no types
    """The records of one partition in one fetch. `failed_reads` counts the reads with a bad checksum."""

    fetch_offset: int
    next_fetch_offset: int

    def __init__(
        self, *args: Any, end_of_log: Callable[[TopicPartition], int | None], failed_reads: FailedReads, **options: Any
    ) -> None:
        self._end_of_log, self._failed_reads = end_of_log, failed_reads
        super().__init__(*args, **options)

    def _unpack_records(
        self, where: TopicPartition, fetched: Any, *_deserializers: Any
    ) -> Iterator[KafkaRecord | Undecodable]:
        try:
            batches = list(split_batches(memoryview(fetched._buffer)))
            for current, following in zip_longest(batches, batches[1:]):
                # What is left over when the memory is full comes again with the next fetch.
                if current.data and self.bytes_read < MAX_UNCOMPRESSED_BYTES:
                    yield from self._records(where, current, following)
        except Exception:
            self.drain()  # without it kafka-python would take this exhausted iterator for an endless one
            raise
        self.drain()

    def _records(
        self, where: TopicPartition, current: RawBatch, following: RawBatch | None
    ) -> Iterator[KafkaRecord | Undecodable]:
        batch, why = self._open(where, current, following)
        end = self._end(where, batch, current, following)
        try:
            for record in () if batch is None or self._is_left_out(batch) else decode(batch, where.partition, end):
                offset = record.offset
                if offset < self.fetch_offset == self.next_fetch_offset:
                    continue  # in the middle of the first batch
                if not self.next_fetch_offset <= offset < end:
                    why = f"offset {offset} is not one of {self.next_fetch_offset} to {end - 1}"
                    break
                self.next_fetch_offset = offset + 1
                yield record
        except Exception as exc:  # noqa: BLE001 - decompressors may raise anything
            why = f"{type(exc).__name__}: {exc}"
        if end > self.fetch_offset:
            self.bytes_read += len(current.data if batch is None else batch._buffer)
        if why:
            yield from self._undecodable(where.partition, range(self.next_fetch_offset, end), current.data, why)
        self.next_fetch_offset = max(self.next_fetch_offset, end)

    def _open(self, where: TopicPartition, current: RawBatch, following: RawBatch | None) -> tuple[Any, str]:
        """Return the batch, or None and the reason why it cannot be read."""
        batch, why = open_batch(current.data)
        if batch is None:
            self._read_again(where, current.base_offset, why)
            self.next_fetch_offset = max(self.next_fetch_offset, current.base_offset)
        elif not self._is_in_place(where, batch, following):
            return None, f"it claims to begin at {current.base_offset}"
        return batch, why

    def _is_in_place(self, where: TopicPartition, batch: Any, following: RawBatch | None) -> bool:
        """Whether the batch begins where it may: no checksum covers the base offset that it claims."""
        if batch.magic < 2 or batch.base_offset == self.next_fetch_offset:
            return True
        if batch.base_offset < self.next_fetch_offset:
            return self.next_fetch_offset == self.fetch_offset  # in the middle of the first one
        limit = following.base_offset if following else self._end_of_log(where)  # behind what was compacted away
        return limit is None or bool(batch.base_offset + batch.records_count <= limit)

    def _is_left_out(self, batch: Any) -> bool:
        """Whether the batch is a control batch, which ends a transaction, or belongs to an aborted one.

        Each fetch lists the producers whose transactions were aborted in it; a marker ends each transaction.
        """
        if batch.magic < 2:
            return False
        if batch.has_producer_id():
            self._consume_aborted_transactions_up_to(batch.last_offset)
            if batch.is_control_batch and any(marker.key[2:4] == ABORT for marker in batch):
                self.aborted_producer_ids.discard(batch.producer_id)
        return bool(batch.is_control_batch or self._is_batch_aborted(batch))

    def _undecodable(self, partition: int, offsets: range, data: memoryview | bytes, why: str) -> Iterator[Undecodable]:
        """Yield an Undecodable for each offset; the first one carries the bytes of the whole batch."""
        for offset in offsets:
            is_first = offset == offsets.start
            self.next_fetch_offset = offset + 1
            text = f"offsets {offsets.start} to {offsets.stop - 1}: {why}; the first one keeps their batch"
            yield Undecodable(partition, offset, text, bytes(data) if is_first else None)

    def _read_again(self, where: TopicPartition, base_offset: int, why: str) -> None:
        """Make kafka-python fetch this batch again, by CorruptRecordError, until it was read often enough."""
        if self._failed_reads.add(where, base_offset) < READS_OF_A_BAD_CHECKSUM:
            raise CorruptRecordError(f"{where.topic}/{where.partition}, batch at offset {base_offset}: {why}")

    def _end(self, where: TopicPartition, batch: Any, current: RawBatch, following: RawBatch | None) -> int:
        """Return the offset behind the batch: where the next one begins, rather than what a damaged one claims."""
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
