"""Reads by kafka-python's public API alone: the fallback where its inside is not what todos.kafka.decoding expects."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

from kafka import TopicPartition
from kafka.errors import CorruptRecordError, KafkaError, UnsupportedCodecError

from todos.event_log import PartitionUnreadable
from todos.kafka.failed_reads import READS_OF_A_BAD_CHECKSUM, READS_OF_NOTHING, FailedReads

log = logging.getLogger(__name__)

# How long one partition is read alone to find out which one cannot be decoded.
ALONE_MS = 2_000
POSITION_TIMEOUT_MS = 5_000
INT64 = range(-(2**63), 2**63)


class PublicConsumer:
    """A KafkaConsumer that can be used after it has raised.

    The public API gives no bytes of a batch that it cannot decode, nor the number of its records. So such a batch, or
    a header name that is not UTF-8, halts its partition with PartitionUnreadable; its records cannot become dead
    letters. Decompression is not bounded. Offsets that are passed over are only logged: they may be transaction
    markers or compacted, and nothing tells them from a batch whose base offset is damaged.
    """

    def __init__(self, consumer: Any, create: Callable[[], Any]) -> None:
        """`consumer` is a KafkaConsumer, and `create` returns another one."""
        self._consumer, self._create = consumer, create
        self._expected: dict[TopicPartition, int] = {}
        self._damaged: dict[TopicPartition, PartitionUnreadable] = {}
        self._failed_reads = FailedReads()

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        self._expected = {}
        self._consumer.assign(list(partitions))

    def seek(self, where: TopicPartition, offset: int) -> None:
        self._expected[where] = offset
        if where in self._damaged and self._damaged[where].offset != offset:
            del self._damaged[where]
        self._consumer.seek(where, offset)

    def assignment(self) -> set[TopicPartition]:
        return set(self._consumer.assignment())

    def position(self, where: TopicPartition, timeout_ms: int = POSITION_TIMEOUT_MS) -> int:
        if where in self._damaged:
            return self._expected[where]
        return int(self._consumer.position(where, timeout_ms=timeout_ms))

    def close(self) -> None:
        self._consumer.close()

    def poll(self, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Any]]:
        """Read as KafkaConsumer.poll does. Raises PartitionUnreadable, or KafkaError: then it can be called again."""
        for where in self._damaged.keys() & self._expected.keys():
            raise self._damaged[where]
        try:
            read = self._consumer.poll(timeout_ms=timeout_ms, max_records=max_records)
        except Exception as exc:
            if not _is_undecodable(exc):
                raise
            self._count_failures()
            raise KafkaError(f"{type(exc).__name__}: {exc}") from exc
        if not read:
            self._count_silence()
        checked = {where: records for where, found in read.items() if (records := self._checked(where, found))}
        if read and not checked:
            return self.poll(timeout_ms=0, max_records=max_records)  # raises what was found just now
        return checked

    def _count_failures(self) -> None:
        """Read each partition alone, since the exception does not say which one it is, with a new KafkaConsumer.

        The next poll of one that could not decode a record never ends.
        """
        positions = {where: self.position(where) for where in self.assignment()}
        suspects = {where: offset for where, offset in positions.items() if self._is_behind(where, offset)}
        try:
            for where, offset in suspects.items():
                self._restart({where: offset})
                try:
                    self._consumer.poll(timeout_ms=ALONE_MS, max_records=1)
                except Exception as exc:
                    if not _is_undecodable(exc):
                        raise
                    if self._failed_reads.add(where, offset) >= READS_OF_A_BAD_CHECKSUM:
                        raise PartitionUnreadable(where.partition, offset, f"{type(exc).__name__}: {exc}") from exc
        finally:
            self._restart(positions)

    def _restart(self, positions: dict[TopicPartition, int]) -> None:
        self._consumer.close()
        self._consumer = self._create()
        self.assign(positions)
        for where, offset in positions.items():
            self.seek(where, offset)

    def _is_behind(self, where: TopicPartition, offset: int) -> bool:
        end = self._consumer.highwater(where)
        return end is None or bool(offset < end)

    def _count_silence(self) -> None:
        """Where the length of a batch is damaged, Kafka may answer with nothing for ever."""
        for where in self.assignment():
            offset = self.position(where)
            if not self._is_behind(where, offset) or self._failed_reads.add(where, offset) < READS_OF_NOTHING:
                continue
            # Of an open transaction nothing is read either, but the end for those who read committed is before it.
            end = self._consumer.end_offsets([where], timeout_ms=POSITION_TIMEOUT_MS).get(where, offset)
            if end > offset:
                why = f"Kafka answers with nothing, though it goes up to {end - 1}"
                raise PartitionUnreadable(where.partition, offset, why)

    def _checked(self, where: TopicPartition, records: list[Any]) -> list[Any]:
        """Return the records up to the first one whose offset cannot be right: no checksum covers it."""
        for index, record in enumerate(records):
            expected = self._expected[where]
            if record.offset < expected or not self._is_behind(where, record.offset):
                why = f"a batch claims to begin at {record.offset}"
                self._damaged[where] = PartitionUnreadable(where.partition, expected, why)
                return records[:index]
            if record.offset > expected:
                log.warning("%s: Kafka gave no records for offsets %d to %d", where, expected, record.offset - 1)
            self._expected[where] = record.offset + 1
            if record.timestamp not in INT64:  # the oldest format has no time
                records[index] = record._replace(timestamp=-1)
        return records


def _is_undecodable(exc: Exception) -> bool:
    """Tell what a decoder raises, which can be anything, from what a broker or the connection to it says."""
    is_of_kafka = isinstance(exc, KafkaError) and type(exc) is not KafkaError
    return not is_of_kafka or isinstance(exc, CorruptRecordError | UnsupportedCodecError)
