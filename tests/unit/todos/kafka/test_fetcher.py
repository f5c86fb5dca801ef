"""Whatever bytes a fetch brings, each offset comes out of it once: readable, or with the bytes in its place."""

from collections.abc import Iterator
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.errors import CorruptRecordError
from kafka.record import MemoryRecords

from tests.support.batches import ATTRIBUTES_POSITION, CODECS, HEADER_BYTES, batch, signed
from tests.support.hostile import Draft, drafts
from todos.event_log import Undecodable
from todos.kafka.decoding.compression import MAX_UNCOMPRESSED_BYTES
from todos.kafka.decoding.fast_path import KafkaRecord
from todos.kafka.decoding.fetcher import PartitionRecords
from todos.kafka.failed_reads import READS_OF_A_BAD_CHECKSUM, FailedReads

CONTROL = 0x20
COUNT = slice(HEADER_BYTES - 4, HEADER_BYTES)
WHERE = TopicPartition("topic", 3)
TIMESTAMPS = st.integers(0, 2**41)
Read = KafkaRecord | Undecodable


def read(data: bytes | bytearray, first: int, end: int, max_records: int = 1_000) -> list[Read]:
    """As the consumer does: fetch and take until the end of the log, and try again after an error."""
    found: list[Read] = []
    fetch = partial(PartitionRecords, end_of_log=lambda _: end, failed_reads=FailedReads())
    for _ in range(50):
        part = fetch(first, WHERE, MemoryRecords(data))
        try:
            while part:
                found += part.take(max_records)
        except CorruptRecordError:
            assert not part, "kafka-python takes for ever from a part that is not drained"
        first = part.next_fetch_offset
        if first >= end:
            return found
    raise AssertionError(f"stuck at {first} of {end}: {found}")


def plain(records: list[Read]) -> Iterator[Draft]:
    for record in records:
        assert isinstance(record, KafkaRecord)
        names = ((name.encode("utf-8", "surrogateescape"), value) for name, value in record.headers)
        yield Draft(record.value, record.key, tuple(names), record.timestamp)


@given(
    st.lists(st.lists(drafts(TIMESTAMPS), min_size=1, max_size=4), min_size=1, max_size=3),
    st.sampled_from(CODECS),
    st.integers(1, 5),
    st.data(),
)
def test_what_was_sent_comes_out_in_any_codec(
    batches: list[list[Draft]], codec: str, max_records: int, data: st.DataObject
) -> None:
    sent = [draft for drafts in batches for draft in drafts]
    starts = [100 + sum(map(len, batches[:number])) for number in range(len(batches))]
    log = b"".join(batch(drafts, start, codec) for drafts, start in zip(batches, starts, strict=True))
    first = data.draw(st.integers(0, len(sent) - 1))  # in the middle of a batch, say

    records = read(log, 100 + first, 100 + len(sent), max_records)

    assert list(plain(records)) == sent[first:]
    assert [record.offset for record in records] == list(range(100 + first, 100 + len(sent)))


@given(
    st.lists(drafts(TIMESTAMPS), min_size=1, max_size=4),
    st.sampled_from(CODECS),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=3),
    st.booleans(),
)
def test_no_damage_stops_a_partition(
    sent: list[Draft], codec: str, damage: list[tuple[float, int]], has_checksum: bool
) -> None:
    """Anywhere behind the base offset and the length, which the broker itself needs to find the batch."""
    damaged = batch(sent, 0, codec)
    for place, value in damage:
        start = ATTRIBUTES_POSITION if has_checksum else 12
        damaged[start + int(place * (len(damaged) - start))] = value
    if has_checksum:
        damaged[COUNT] = len(sent).to_bytes(4, "big")  # fewer than its offsets would be what compaction leaves
        signed(damaged, 0)
    end = len(sent)

    records = read(damaged + batch([Draft(b"good")], end), 0, end + 1)

    is_control = has_checksum and damaged[ATTRIBUTES_POSITION + 1] & CONTROL  # then Kafka says that it is no record
    assert [record.offset for record in records] == list(range(end if is_control else 0, end + 1))
    undecodable = [record for record in records if isinstance(record, Undecodable)]
    assert [bytes(damaged)] * bool(undecodable) == [record.value for record in undecodable if record.value]


def test_an_empty_fetch_is_no_error() -> None:
    part = PartitionRecords(5, WHERE, MemoryRecords(b""), end_of_log=lambda _: 5, failed_reads=FailedReads())

    assert ([], False, 5) == (part.take(10), bool(part), part.next_fetch_offset)


def test_a_bad_checksum_is_read_again_before_it_is_given_up() -> None:
    damaged = batch([Draft(b"one"), Draft(b"two")])
    damaged[-1] ^= 1
    fetch = partial(PartitionRecords, end_of_log=lambda _: 2, failed_reads=FailedReads())
    for _ in range(READS_OF_A_BAD_CHECKSUM - 1):
        with pytest.raises(CorruptRecordError, match="its checksum is wrong"):
            fetch(0, WHERE, MemoryRecords(damaged)).take(10)

    first, second = fetch(0, WHERE, MemoryRecords(damaged)).take(10)

    assert (first.offset, first.value, second.offset, second.value) == (0, bytes(damaged), 1, None)
    assert "its checksum is wrong" in first.why


@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd"])
def test_a_decompression_bomb_is_kept_as_it_came(codec: str) -> None:
    bomb = batch([Draft(bytes(MAX_UNCOMPRESSED_BYTES))], 0, codec)
    assert len(bomb) < MAX_UNCOMPRESSED_BYTES / 100

    (record,) = read(bomb, 0, 1)

    assert isinstance(record, Undecodable)
    assert "when decompressed" in record.why
    assert bytes(bomb) == record.value


def test_one_fetch_fills_no_more_memory_than_is_allowed() -> None:
    half = Draft(bytes(MAX_UNCOMPRESSED_BYTES // 2 + 1))
    log = b"".join(batch([half], offset, "zstd") for offset in range(5))
    part = PartitionRecords(0, WHERE, MemoryRecords(log), end_of_log=lambda _: 5, failed_reads=FailedReads())

    assert [0, 1] == [record.offset for record in part.take(10)]
    assert part.next_fetch_offset == 2
    assert [0, 1, 2, 3, 4] == [record.offset for record in read(log, 0, 5)]


@pytest.mark.parametrize("first", [100, 102])
@pytest.mark.parametrize("rotten", [0, 1, 100, 101, 104, 106, 109, 2**62])
def test_a_batch_that_says_it_begins_elsewhere_takes_none_of_its_neighbours_along(first: int, rotten: int) -> None:
    """No checksum covers that."""
    good = [[Draft(b"%d" % offset) for offset in range(start, start + 3)] for start in (100, 103, 106, 109)]
    batches = [batch(drafts, 100 + 3 * number) for number, drafts in enumerate(good)]
    batches[1][:8] = rotten.to_bytes(8, "big")

    records = read(b"".join(batches), first, 112)

    assert list(range(first, 112)) == [record.offset for record in records]
    right = [record.offset for record in records if record.value == b"%d" % record.offset]
    assert [offset for offset in range(first, 112) if not 103 <= offset < 106] == right


def test_an_unknown_codec_is_undecodable() -> None:
    data = batch([Draft(b"x"), Draft(b"y")])
    data[ATTRIBUTES_POSITION + 1] = 7

    first, second = read(signed(data, 0), 0, 2)

    assert isinstance(first, Undecodable)
    assert "compression codec 7 is unknown" in first.why
    assert (bytes(data), None) == (first.value, second.value)


def test_records_before_the_damage_are_read() -> None:
    data = batch([Draft(b"good"), Draft(b"bad")])
    data[-2] ^= 0x7F  # in the last record, whose lengths are wrong then
    data[HEADER_BYTES + 6 + 4 + 1 + 5] = 0x7F

    good, bad = read(signed(data, 0), 0, 2)

    assert (good.offset, good.value) == (0, b"good")
    assert isinstance(bad, Undecodable)
    assert (bad.offset, bad.value) == (1, bytes(data))


def test_a_batch_without_a_sensible_length_is_an_error_that_is_told() -> None:
    data = batch([Draft(b"x")])
    data[8:12] = (-12).to_bytes(4, "big", signed=True)
    part = PartitionRecords(0, WHERE, MemoryRecords(data), end_of_log=lambda _: 1, failed_reads=FailedReads())
    with pytest.raises(CorruptRecordError, match="claims to have -12 bytes"):
        part.take(1)


def test_what_stands_before_a_batch_without_a_sensible_length_is_read() -> None:
    damaged = batch([Draft(b"x")], 1)
    damaged[8:12] = (-12).to_bytes(4, "big", signed=True)
    part = PartitionRecords(
        0, WHERE, MemoryRecords(batch([Draft(b"good")]) + damaged), end_of_log=lambda _: 2, failed_reads=FailedReads()
    )

    assert [b"good"] == [record.value for record in part.take(10)]
    assert 1 == part.next_fetch_offset


def test_a_whole_batch_whose_records_skip_an_offset_is_undecodable_from_there() -> None:
    damaged = batch([Draft(None, b"\0\0"), Draft(None, b"\0\0")], 0, "none")
    first_delta = HEADER_BYTES + 3  # behind the record's length, attributes and time
    damaged[first_delta] = 2  # an offset delta of 1, where the first record has 0
    signed(damaged, 0)

    records = read(damaged + batch([Draft(b"good")], 2), 0, 3)

    assert [record.offset for record in records] == [0, 1, 2]
    assert [isinstance(record, Undecodable) for record in records] == [True, True, False]
