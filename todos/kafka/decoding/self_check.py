"""Tries out, without a broker, what todos.kafka.decoding needs of the private parts of kafka-python and aiokafka."""

import struct
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from kafka import TopicPartition
from kafka.consumer.fetcher import CompletedFetch, Fetcher
from kafka.consumer.subscription_state import SubscriptionState
from kafka.errors import CorruptRecordError
from kafka.protocol.consumer import FetchResponse
from kafka.record import MemoryRecords, MemoryRecordsBuilder
from kafka.record.util import calc_crc32c

from todos.event_log import PartitionUnreadable, Undecodable
from todos.kafka.decoding import fetcher as own
from todos.kafka.decoding.batches import careful_records, open_batch
from todos.kafka.decoding.fast_path import KafkaRecord, fast_records
from todos.kafka.failed_reads import READS_OF_A_BAD_CHECKSUM

WHERE = TopicPartition("self-check", 0)
Sample = tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]
SAMPLES: list[Sample] = [
    (1, b"key", b"value", []),
    (1_700_000_000_000, None, b"v" * 9_000, [("name", b"value"), ("\u00fc", None)]),
    (2, b"", None, []),
]
ODD_NAME: list[Sample] = [(1, None, b"", [("odd-one", None)])]
ABORT_MARKER: list[Sample] = [(1, bytes(4), b"", [])]
GZIP, UNKNOWN_CODEC, PRODUCER = 1, 7, 5
CRC_POSITION, ATTRIBUTES_POSITION, CONTROL = 17, 21, 0x20


def check() -> None:
    """Raise an exception unless both readings of a batch, and a whole fetch, give the records that were encoded."""
    for codec in (0, GZIP):
        data = _encode(codec=codec)
        _expect_samples("kafka-python's MemoryRecords", [record for batch in MemoryRecords(data) for record in batch])
        _expect_samples("kafka-python's DefaultRecordBatch", careful_records(_open(data), 0))
        _expect_samples("aiokafka's DefaultRecordBatch", fast_records(_open(data).uncompressed(), 0, 0) or ())
    _check_overrides()
    _check_fetches(_encode())


def _check_overrides() -> None:
    """Check the methods of kafka-python's DefaultRecordBatch that are overridden: under other names they do nothing."""
    odd_name = b"\xff" * 7
    (only,) = careful_records(_open(_place(_encode(ODD_NAME).replace(b"odd-one", odd_name), 0)), 0)
    if only.headers[0][0].encode("utf-8", "surrogateescape") != odd_name:
        raise RuntimeError("kafka-python's DefaultRecordBatch does not use _read_msg")
    unknown_codec = bytearray(_encode())
    unknown_codec[ATTRIBUTES_POSITION + 1] |= UNKNOWN_CODEC
    try:
        list(careful_records(_open(_place(unknown_codec, 0)), 0))
    except ValueError:  # of todos.kafka.decoding.compression
        return
    raise RuntimeError("kafka-python's DefaultRecordBatch does not use _maybe_uncompress")


def _check_fetches(data: bytes) -> None:
    records = _Fetches().records(data)
    _expect_samples("kafka-python's Fetcher", records)
    if {type(record) for record in records} != {KafkaRecord}:
        raise RuntimeError("kafka-python's Fetcher does not use PartitionRecords")

    fetches, damaged = _Fetches(), data[:-1] + bytes([data[-1] ^ 1])
    for _ in range(READS_OF_A_BAD_CHECKSUM - 1):
        _expect(CorruptRecordError, fetches, damaged)
    if {type(record) for record in fetches.records(damaged)} != {Undecodable}:
        raise RuntimeError("kafka-python's Fetcher does not give a damaged batch to PartitionRecords")

    fetches = _Fetches()
    for _ in range(READS_OF_A_BAD_CHECKSUM - 1):
        _expect(CorruptRecordError, fetches, b"", CorruptRecordError.errno)
    _expect(PartitionUnreadable, fetches, b"", CorruptRecordError.errno)

    transaction, marker = _encode(producer_id=PRODUCER), bytearray(_encode(ABORT_MARKER, producer_id=PRODUCER))
    marker[ATTRIBUTES_POSITION + 1] |= CONTROL
    aborted = transaction + _place(marker, len(SAMPLES))
    fetches = _Fetches(end=2 * len(SAMPLES) + 1)
    records = fetches.records(aborted + _place(transaction, len(SAMPLES) + 1), aborted_by=PRODUCER)
    _expect_samples("kafka-python's Fetcher, of an aborted and another transaction,", records)


class _Fetches:
    """kafka-python's fetcher with this package installed, which gets its answers from here."""

    def __init__(self, end: int = len(SAMPLES)) -> None:
        self._end = end
        self._subscriptions = SubscriptionState("none")
        self._subscriptions.assign_from_user([WHERE])
        self._subscriptions.seek(WHERE, 0)
        manager = SimpleNamespace(_net=None, cluster=None)
        self._fetcher = Fetcher(SimpleNamespace(_manager=manager), self._subscriptions)
        own.install(SimpleNamespace(_fetcher=self._fetcher, highwater=lambda _: self._end))

    def records(self, data: bytes, error_code: int = 0, *, aborted_by: int | None = None) -> list[Any]:
        partition_data = FetchResponse.FetchableTopicResponse.PartitionData
        transactions = [partition_data.AbortedTransaction(producer_id=aborted_by, first_offset=0)] if aborted_by else []
        answer = partition_data(
            partition_index=WHERE.partition,
            error_code=error_code,
            high_watermark=self._end,
            last_stable_offset=self._end,
            log_start_offset=0,
            aborted_transactions=transactions,
            records=data,
        )
        if self._fetcher._next_partition_records:
            raise RuntimeError("kafka-python's Fetcher would read for ever after an exception")
        self._fetcher._completed_fetches.append(CompletedFetch(WHERE, 0, 12, answer, None))
        records, _ = self._fetcher.fetched_records(self._end + 1)
        if self._subscriptions.position(WHERE).offset != self._end:
            raise RuntimeError("kafka-python's Fetcher does not move its position")
        return list(records[WHERE])


def _encode(samples: list[Sample] = SAMPLES, *, codec: int = 0, producer_id: int = -1) -> bytes:
    builder = MemoryRecordsBuilder(magic=2, compression_type=codec, batch_size=2**20)
    if producer_id >= 0:
        builder.set_producer_state(producer_id, 0, 0, True)
    for timestamp, key, value, headers in samples:
        builder.append(timestamp, key, value, headers)
    builder.close()
    return bytes(builder.buffer())


def _place(data: bytes | bytearray, base_offset: int) -> bytes:
    """Return the batch with another base offset, and with the checksum that its bytes have now."""
    placed = bytearray(data)
    struct.pack_into(">q", placed, 0, base_offset)
    struct.pack_into(">I", placed, CRC_POSITION, calc_crc32c(memoryview(placed)[ATTRIBUTES_POSITION:]))
    return bytes(placed)


def _open(data: bytes) -> Any:
    batch, why = open_batch(data)
    if batch is None:
        raise RuntimeError(why)
    return batch


def _expect_samples(reader: str, records: Iterable[Any]) -> None:
    if [(record.timestamp, record.key, record.value, list(record.headers)) for record in records] != SAMPLES:
        raise RuntimeError(f"{reader} gives other records than were encoded")


def _expect(kind: type[Exception], fetches: _Fetches, data: bytes, error_code: int = 0) -> None:
    try:
        fetches.records(data, error_code)
    except kind:
        return
    raise RuntimeError(f"kafka-python's Fetcher raises no {kind.__name__}")
