"""Encodes Kafka's record batch by aiokafka's record classes, which are C."""

from collections.abc import Sequence

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from edge_api.publishing.producer import OutgoingRecord

MAGIC, UNCOMPRESSED, NOT_TRANSACTIONAL, NOT_IDEMPOTENT, UNBOUNDED = 2, 0, 0, (-1, -1, -1), 2**31 - 1


def encode(records: Sequence[OutgoingRecord], timestamp_ms: int) -> bytearray:
    """Encode at least one record; all of them get the same timestamp, in Unix time."""
    builder = DefaultRecordBatchBuilder(MAGIC, UNCOMPRESSED, NOT_TRANSACTIONAL, *NOT_IDEMPOTENT, UNBOUNDED)
    for index, (key, value, headers) in enumerate(records):
        builder.append(index, timestamp_ms, key, value, headers)
    encoded: bytearray = builder.build()
    return encoded
