"""The bytes of a batch are those of kafka-python's own builder, and its reader gets every record back."""

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from kafka.record.memory_records import MemoryRecords

from edge_api.publishing.producer import Headers, OutgoingRecord
from edge_api.publishing.record_batch import encode

# The lengths at which a varint grows by a byte.
EDGES = [0, 1, 63, 64, 8_191, 8_192, 16_383, 16_384, 65_700, 1_048_575, 1_048_576]
HEADERS = st.lists(st.tuples(st.text(max_size=70), st.binary(max_size=200)), max_size=3)
RECORDS = st.lists(st.tuples(st.binary(max_size=100), st.binary(max_size=300), HEADERS), min_size=1, max_size=100)
TIMESTAMPS = st.integers(0, 2**53)
NONE: Headers = []
# The broker writes it, and no checksum covers it; aiokafka leaves it at -1, kafka-python at 0.
LEADER_EPOCH = slice(12, 16)


def by_kafka_python(records: list[OutgoingRecord], timestamp: int) -> bytearray:
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 2**31)
    for index, (key, value, headers) in enumerate(records):
        builder.append(index, timestamp, key, value, headers)
    encoded: bytearray = builder.build()
    return encoded


@given(RECORDS, TIMESTAMPS)
@example([(b"k" * 36, b"v" * size, NONE) for size in EDGES], 1)
@example([(b"k" * size, b"", NONE) for size in EDGES], 1)
@example([(b"", b"", NONE)] * 20_000, 1)
@example([(b"k", b"v" * 8_191, [("request-id", b"x" * 128)])], 1)
def test_the_bytes_are_those_of_kafka_python(records: list[OutgoingRecord], timestamp: int) -> None:
    expected, encoded = by_kafka_python(records, timestamp), encode(records, timestamp)
    expected[LEADER_EPOCH] = encoded[LEADER_EPOCH]

    assert expected == encoded


@given(RECORDS, TIMESTAMPS)
def test_kafka_python_reads_every_record_back(records: list[OutgoingRecord], timestamp: int) -> None:
    (batch,) = MemoryRecords(encode(records, timestamp))
    assert isinstance(batch, DefaultRecordBatch)
    assert batch.validate_crc()
    assert (2, -1, -1, -1) == (batch.magic, batch.producer_id, batch.producer_epoch, batch.base_sequence)
    assert [(index, timestamp, *record) for index, record in enumerate(records)] == [
        (record.offset, record.timestamp, record.key, record.value, record.headers) for record in batch
    ]


def test_the_examples_cross_every_border_of_a_length() -> None:
    def bytes_of_varint(number: int) -> int:
        return max(1, -(-(2 * number).bit_length() // 7))

    assert {(1, 2), (2, 3), (3, 4)} <= {
        (bytes_of_varint(small), bytes_of_varint(large)) for small, large in pairwise(EDGES)
    }
