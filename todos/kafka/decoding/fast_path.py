"""Decodes a record batch by aiokafka's record classes, which are C."""

from collections.abc import Sequence
from typing import NamedTuple

from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

HEADER_BYTES = 61


class KafkaRecord(NamedTuple):
    """A todos.event_log.Record. Bytes of a header's name that are not UTF-8 are there as Python's surrogateescape."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    leader_epoch: int = -1


def fast_records(data: bytes, partition: int, base_offset: int, leader_epoch: int = -1) -> list[KafkaRecord] | None:
    """Decode an uncompressed batch whose offsets have no gaps, or return None: then it needs the careful reading.

    The C classes accept more than Kafka's format: attributes of several bytes, numbers beyond 64 bits. So they are
    trusted only with a batch that they encode to the same bytes again. A sum that overflows would be the same bytes,
    but gives a timestamp below zero. `data` has to be bytes, not a view of them: Python ends them with a zero, at
    which a number that runs past the end of the batch stops.
    """
    records = []
    encode_again = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, len(data) + 1)
    try:
        for index, record in enumerate(DefaultRecordBatch(data)):
            timestamp, key, value, headers = record.timestamp, record.key, record.value, record.headers
            if timestamp is None or timestamp < 0:
                return None
            encode_again.append(index, timestamp, key, value, headers)
            records.append(KafkaRecord(partition, base_offset + index, timestamp, key, value, headers, leader_epoch))
    except Exception:  # noqa: BLE001 - the careful reading meets the same error and reports it
        return None
    return records if encode_again.build()[HEADER_BYTES:] == data[HEADER_BYTES:] else None
