"""Kafka's record batches, as bytes and opened."""

import struct
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from kafka.errors import CorruptRecordError
from kafka.record.default_records import DefaultRecord, DefaultRecordBatch
from kafka.record.legacy_records import LegacyRecordBatch
from kafka.record.util import decode_varint

from todos.kafka.decoding.compression import decompress
from todos.kafka.decoding.fast_path import KafkaRecord, fast_records

BASE_OFFSET, LENGTH = struct.Struct(">q"), struct.Struct(">i")
OVERHEAD = BASE_OFFSET.size + LENGTH.size
MAGIC_POSITION = 16
CODEC_POSITION = 22  # the lower byte of the attributes
INT64 = range(-(2**63), 2**63)


class RawBatch(NamedTuple):
    """The first offset of a batch and all its bytes, or no bytes where the fetch ends in the middle of it."""

    base_offset: int
    data: memoryview | bytes


def split_batches(data: memoryview) -> Iterator[RawBatch]:
    """Split the bytes of a fetch into batches.

    Raises CorruptRecordError when the length of the first batch makes no sense: it cannot be skipped.
    """
    position = 0
    while position + OVERHEAD <= len(data):
        (base_offset,) = BASE_OFFSET.unpack_from(data, position)
        (length,) = LENGTH.unpack_from(data, position + BASE_OFFSET.size)
        end = position + OVERHEAD + length
        if end <= position + MAGIC_POSITION:
            if position:
                yield RawBatch(base_offset, b"")  # what stands before it is read first
                return
            raise CorruptRecordError(f"the batch at offset {base_offset} claims to have {length} bytes")
        yield RawBatch(base_offset, data[position:end] if end <= len(data) else b"")
        position = end


def open_batch(data: memoryview | bytes) -> tuple[Any, str]:
    """Return the batch, or None and the reason why its bytes cannot be trusted."""
    magic = data[MAGIC_POSITION]
    if magic > 2:
        return None, f"message format {magic} is unknown"
    try:
        batch = TolerantRecordBatch(data) if magic == 2 else LegacyRecordBatch(data, magic)
        return (batch, "") if batch.validate_crc() else (None, "its checksum is wrong")
    except (struct.error, AssertionError):
        return None, "its header is cut off"


def claimed_end(raw: RawBatch) -> int:
    """Return the offset after the batch, as its own header says, or the least it can be."""
    try:
        return int(DefaultRecordBatch(raw.data).next_offset)
    except struct.error:
        return raw.base_offset + 1


def decode(batch: Any, partition: int, end: int) -> Iterable[KafkaRecord]:
    """Decode an open batch up to the offset `end`, in order.

    Raises CorruptRecordError, ValueError, IndexError, or what a decompressor raises.
    """
    if batch.magic < 2 or batch.records_count != end - batch.base_offset:
        return careful_records(batch, partition)
    records = fast_records(batch.uncompressed(), partition, batch.base_offset, batch.leader_epoch)
    return _without_gaps(careful_records(batch, partition), batch.base_offset) if records is None else records


def careful_records(batch: Any, partition: int) -> Iterator[KafkaRecord]:
    leader_epoch = batch.leader_epoch if batch.magic >= 2 else -1
    for record in batch:
        # The oldest format has no time, and a sum of two numbers from a producer can be anything.
        timestamp = record.timestamp if record.timestamp in INT64 else -1
        yield KafkaRecord(partition, record.offset, timestamp, record.key, record.value, record.headers, leader_epoch)


def _without_gaps(records: Iterable[KafkaRecord], base_offset: int) -> Iterator[KafkaRecord]:
    """Pass on the records of a batch that lost none to compaction."""
    for offset, record in enumerate(records, base_offset):
        if record.offset != offset:
            raise CorruptRecordError(f"offset {record.offset} stands in the place of {offset}")
        yield record


class TolerantRecordBatch(DefaultRecordBatch):  # type: ignore[misc]  # kafka-python has no types
    """kafka-python's, but header names may be any bytes, and decompression is bounded."""

    _buffer: bytearray
    _pos: int
    _decompressed: bool

    def uncompressed(self) -> bytes:
        """Return the batch as if its producer had not compressed it. Raises what a decompressor raises."""
        self._maybe_uncompress()
        return bytes(self._buffer)

    def _maybe_uncompress(self) -> None:
        if not self._decompressed and self.compression_type:
            records = decompress(self.compression_type, bytes(self._buffer[self._pos :]))
            self._buffer[CODEC_POSITION] &= ~self.CODEC_MASK
            self._buffer[self._pos :] = records
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


def _read_bytes(buffer: bytearray, pos: int) -> tuple[bytes | None, int]:
    length, pos = decode_varint(buffer, pos)
    if length < 0:
        return None, pos
    if pos + length > len(buffer):
        raise CorruptRecordError(f"{length} bytes announced, {len(buffer) - pos} there")
    return bytes(buffer[pos : pos + length]), pos + length
