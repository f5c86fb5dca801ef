"""Kafka's record batches, as bytes and opened."""

import struct
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

from kafka.errors import CorruptRecordError
from kafka.record.default_records import DefaultRecord, DefaultRecordBatch
from kafka.record.legacy_records import LegacyRecordBatch
from kafka.record.util import decode_varint

from todos.kafka.decoding.compression import decompress
from todos.kafka.decoding.plain import KafkaRecord, plain_records

BASE_OFFSET, LENGTH = struct.Struct(">q"), struct.Struct(">i")
OVERHEAD = BASE_OFFSET.size + LENGTH.size
MAGIC_POSITION = 16
INT64 = range(-(2**63), 2**63)


class Slice(NamedTuple):
    """The first offset of a batch and all its bytes, or no bytes at all where the fetch has cut it off."""

    base_offset: int
    data: memoryview | bytes


def slices_of(data: memoryview) -> Iterator[Slice]:
    """Raises CorruptRecordError where not even the length of the first batch makes sense: it cannot be skipped."""
    position = 0
    while position + OVERHEAD <= len(data):
        (base_offset,) = BASE_OFFSET.unpack_from(data, position)
        (length,) = LENGTH.unpack_from(data, position + BASE_OFFSET.size)
        end = position + OVERHEAD + length
        if end <= position + MAGIC_POSITION:
            if position:
                yield Slice(base_offset, b"")  # what stands before it is read first
                return
            raise CorruptRecordError(f"the batch at offset {base_offset} claims to have {length} bytes")
        yield Slice(base_offset, data[position:end] if end <= len(data) else b"")
        position = end


def open_batch(data: memoryview | bytes) -> tuple[Any, str]:
    """The batch, or None and the reason why its bytes cannot be trusted."""
    magic = data[MAGIC_POSITION]
    if magic > 2:
        return None, f"message format {magic} is unknown"
    try:
        batch = Batch(data) if magic == 2 else LegacyRecordBatch(data, magic)
        return (batch, "") if batch.validate_crc() else (None, "its checksum is wrong")
    except (struct.error, AssertionError):
        return None, "its header is cut off"


def claimed_end(current: Slice) -> int:
    try:
        return int(DefaultRecordBatch(current.data).next_offset)
    except struct.error:
        return current.base_offset + 1


def decode(batch: Any, partition: int, end: int) -> Iterable[KafkaRecord]:
    """The records of an open batch in order, up to the offset `end` and all of them if none was compacted away.

    Raises whatever a decompressor raises, CorruptRecordError, ValueError or IndexError.
    """
    if batch.magic < 2:
        return (_kafka_record(partition, record) for record in batch)
    if batch.records_count != end - batch.base_offset:
        return careful_records(batch, partition)
    return chain(plain_records(batch, partition), careful_records(batch, partition, is_whole=True))


def careful_records(batch: Any, partition: int, *, is_whole: bool = False) -> Iterator[KafkaRecord]:
    """From where the batch stands by now."""
    for offset, record in enumerate(batch, batch.base_offset + batch._next_record_index):
        if is_whole and record.offset != offset:
            raise CorruptRecordError(f"offset {record.offset} stands in the place of {offset}")
        yield _kafka_record(partition, record)


def _kafka_record(partition: int, record: Any) -> KafkaRecord:
    """The oldest format has no time, and a sum of two numbers from a producer can be anything."""
    timestamp = record.timestamp if record.timestamp in INT64 else -1
    return KafkaRecord(partition, record.offset, timestamp, record.key, record.value, record.headers)


class Batch(DefaultRecordBatch):  # type: ignore[misc]  # kafka-python has no types
    """kafka-python's, but header names may be any bytes, and decompression is bounded."""

    _buffer: bytes
    _pos: int
    _decompressed: bool

    def _maybe_uncompress(self) -> None:
        if not self._decompressed and self.compression_type:
            self._buffer = decompress(self.compression_type, bytes(self._buffer[self._pos :]))
            self._pos = 0
        self._decompressed = True

    def _read_msg(self) -> DefaultRecord:
        """Raises CorruptRecordError, ValueError or IndexError."""
        buffer = self._buffer
        length, start = decode_varint(buffer, self._pos)
        timestamp_delta, pos = decode_varint(buffer, start + 1)  # behind the attributes, which mean nothing yet
        offset_delta, pos = decode_varint(buffer, pos)
        key, pos = _read_bytes(buffer, pos)
        value, pos = _read_bytes(buffer, pos)
        count, pos = decode_varint(buffer, pos)
        headers = []
        for _ in range(count):
            name, pos = _read_bytes(buffer, pos)
            content, pos = _read_bytes(buffer, pos)
            headers.append(((name or b"").decode("utf-8", "surrogateescape"), content))
        if pos - start != length:
            raise CorruptRecordError(f"a record of {length} bytes ends after {pos - start}")
        self._pos = pos
        is_append_time = self.timestamp_type == self.LOG_APPEND_TIME
        timestamp = self.max_timestamp if is_append_time else self.first_timestamp + timestamp_delta
        offset = self.base_offset + offset_delta
        return DefaultRecord(length, offset, timestamp, self.timestamp_type, key, value, headers)


def _read_bytes(buffer: bytes, pos: int) -> tuple[bytes | None, int]:
    length, pos = decode_varint(buffer, pos)
    if length < 0:
        return None, pos
    if pos + length > len(buffer):
        raise CorruptRecordError(f"{length} bytes announced, {len(buffer) - pos} there")
    return bytes(buffer[pos : pos + length]), pos + length
