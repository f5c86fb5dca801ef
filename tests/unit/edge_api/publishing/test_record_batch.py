"""The bytes of a batch are those of kafka-python's own builder, and its reader gets every record back."""

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from kafka.record.memory_records import MemoryRecords

from edge_api.publishing.record_batch import RecordBatch, encode_headers

Records = list[tuple[bytes, bytes]]
# The lengths at which a varint grows by a byte, and what does not stand in the table any more.
EDGES = [0, 1, 63, 64, 8_191, 8_192, 16_383, 16_384, 65_700, 1_048_575, 1_048_576]
RECORDS = st.lists(st.tuples(st.binary(max_size=100), st.binary(max_size=300)), min_size=1, max_size=200)
TIMESTAMPS = st.integers(0, 2**53)


def batch_of(records: Records) -> RecordBatch:
    batch = RecordBatch()
    for key, value in records:
        batch.append(key, value)
    return batch


def by_kafka_python(records: Records, timestamp: int, headers: list[tuple[str, bytes]] | None = None) -> bytes:
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 2**31)
    for index, (key, value) in enumerate(records):
        builder.append(index, timestamp, key, value, headers or [])
    return bytes(builder.build())


@given(RECORDS, TIMESTAMPS)
@example([(b"k" * 36, b"v" * size) for size in EDGES], 1)
@example([(b"k" * size, b"") for size in EDGES], 1)
@example([(b"", b"")] * 20_000, 1)
def test_the_bytes_are_those_of_kafka_python(records: Records, timestamp: int) -> None:
    assert by_kafka_python(records, timestamp) == batch_of(records).to_bytes(timestamp)


@given(RECORDS, st.lists(st.tuples(st.text(max_size=70), st.binary(max_size=200)), min_size=1, max_size=3))
@example([(b"k", b"v" * 8_191)], [("request-id", b"x" * 128)])
def test_headers_are_those_of_kafka_python_too(records: Records, headers: list[tuple[str, bytes]]) -> None:
    batch, encoded = RecordBatch(), encode_headers(*((name.encode(), value) for name, value in headers))
    for key, value in records:
        batch.append(key, value, encoded)

    assert by_kafka_python(records, 1, headers) == batch.to_bytes(1)
    assert len(batch.to_bytes(1)) <= batch.size


@given(RECORDS, TIMESTAMPS)
def test_kafka_python_reads_every_record_back(records: Records, timestamp: int) -> None:
    (batch,) = MemoryRecords(batch_of(records).to_bytes(timestamp))
    assert isinstance(batch, DefaultRecordBatch)
    assert batch.validate_crc()
    assert (2, -1, -1, -1) == (batch.magic, batch.producer_id, batch.producer_epoch, batch.base_sequence)
    assert [(index, timestamp, key, value, []) for index, (key, value) in enumerate(records)] == [
        (record.offset, record.timestamp, record.key, record.value, record.headers) for record in batch
    ]


@given(RECORDS)
@example([(b"k" * 36, b"v" * size) for size in EDGES])
def test_its_size_is_never_larger_than_it_says(records: Records) -> None:
    batch = batch_of(records)
    assert len(batch.to_bytes(0)) <= batch.size


def test_the_examples_cross_every_border_of_a_length() -> None:
    def bytes_of_varint(number: int) -> int:
        return max(1, -(-(2 * number).bit_length() // 7))

    assert {(1, 2), (2, 3), (3, 4)} <= {
        (bytes_of_varint(small), bytes_of_varint(large)) for small, large in pairwise(EDGES)
    }
