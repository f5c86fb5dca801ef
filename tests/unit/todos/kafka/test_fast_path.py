"""The fast reading of a batch finds what the careful one finds, or leaves the batch to it."""

from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge_api.contract import TodoCreated, record_key
from tests.support.batches import ATTRIBUTES_POSITION, CODECS, HEADER_BYTES, batch, signed
from tests.support.hostile import Draft, drafts
from todos.kafka.decoding.batches import careful_records, open_batch
from todos.kafka.decoding.fast_path import KafkaRecord, fast_records

BASE_OFFSET, PARTITION = 7, 3
FIRST_TIMESTAMP = slice(27, 35)
COUNT = slice(HEADER_BYTES - 4, HEADER_BYTES)
TIMES = st.integers(0, 2**41) | st.integers(0, 20_000) | st.integers(-(2**63), 2**63 - 1)
Damage = list[tuple[float, int]]


def read_fast(data: bytearray) -> list[KafkaRecord] | None:
    opened, why = open_batch(bytes(data))
    assert opened, why
    try:
        return fast_records(opened.uncompressed(), PARTITION, BASE_OFFSET, opened.leader_epoch)
    except Exception:  # noqa: BLE001 - decompressors may raise anything, for both readings
        return None


def assert_same(data: bytearray) -> None:
    if (fast := read_fast(data)) is not None:
        opened, _ = open_batch(bytes(data))
        assert list(careful_records(opened, PARTITION)) == fast
        assert [record.offset for record in fast] == list(range(BASE_OFFSET, BASE_OFFSET + opened.records_count))


@given(
    st.lists(drafts(TIMES), min_size=1, max_size=6),
    st.sampled_from(CODECS),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=3),
)
@example([Draft(b"x"), Draft(b"y")], "none", [(0.0, 0x81)])
@example([Draft(b"x", timestamp=2**63 - 1), Draft(b"y", timestamp=2**63 - 1)], "none", [(0.2, 0x7F)])
def test_both_readings_agree_on_any_bytes(sent: list[Draft], codec: str, damage: Damage) -> None:
    data = batch(sent, BASE_OFFSET, codec)
    for place, value in damage:
        data[ATTRIBUTES_POSITION + int(place * (len(data) - ATTRIBUTES_POSITION))] = value
    assert_same(signed(data, BASE_OFFSET))


@given(st.lists(drafts(TIMES), min_size=1, max_size=6), st.data())
def test_both_readings_agree_on_a_batch_that_ends_anywhere(sent: list[Draft], data: st.DataObject) -> None:
    whole = batch(sent, BASE_OFFSET)
    end = data.draw(st.integers(HEADER_BYTES, len(whole)))
    assert_same(signed(whole[:end], BASE_OFFSET))


@given(st.integers(0, 3), st.binary(max_size=60))
def test_both_readings_agree_on_bytes_that_are_no_records(count: int, records: bytes) -> None:
    data = batch([Draft(b"x")], BASE_OFFSET)[:HEADER_BYTES] + records
    data[COUNT] = count.to_bytes(4, "big")
    assert_same(signed(data, BASE_OFFSET))


def test_every_byte_of_a_small_batch_is_damaged_in_every_way() -> None:
    """Cases that the invented input above leaves out."""
    data = batch([Draft(b"one", b"k", ((b"h", b"v"),), timestamp=5), Draft(b"two", timestamp=4)], BASE_OFFSET)
    for place in range(ATTRIBUTES_POSITION + 2, len(data)):
        for value in range(256):
            damaged = bytearray(data)
            damaged[place] = value
            assert_same(signed(damaged, BASE_OFFSET))


@pytest.mark.parametrize("codec", CODECS)
def test_what_the_edge_and_other_producers_send_is_read_fast(codec: str) -> None:
    event = TodoCreated(id=UUID(int=1), title="Do homework", description="x" * 5_000)
    of_edge = [Draft(event.to_json(), record_key(UUID(int=1)), timestamp=17 + number) for number in range(600)]
    headers = ((b"request-id", b"x" * 36), (b"fingerprint", b"0" * 16), (b"traceparent", b"0" * 55), (b"more", None))

    for sent in (
        of_edge,
        [Draft(b"x", b"key", headers, timestamp=17)] * 3,
        [Draft(b"x" * 100_000, timestamp=2**40), Draft(b"", timestamp=0), Draft(None, b"k", timestamp=2**41)],
    ):
        fast = read_fast(batch(sent, BASE_OFFSET, codec))
        assert fast is not None
        assert [(draft.key, draft.value, draft.headers, draft.timestamp) for draft in sent] == [
            (record.key, record.value, record.headers, record.timestamp) for record in fast
        ]


@pytest.mark.parametrize(
    "draft",
    [Draft(b"x"), Draft(b"x", timestamp=-(2**62)), Draft(b"x", raw_headers=((b"\xff", b"v"),), timestamp=0)],
    ids=["no time", "a time before 1970", "a header name that is not UTF-8"],
)
def test_what_the_c_classes_cannot_express_is_left_to_the_careful_reading(draft: Draft) -> None:
    assert read_fast(batch([Draft(b"x", timestamp=0), draft], BASE_OFFSET)) is None


def test_a_time_beyond_64_bits_is_left_to_the_careful_reading() -> None:
    data = batch([Draft(b"x", timestamp=0), Draft(b"y", timestamp=10)], BASE_OFFSET)
    data[FIRST_TIMESTAMP] = (2**63 - 1).to_bytes(8, "big")
    opened, _ = open_batch(bytes(signed(data, BASE_OFFSET)))

    assert read_fast(data) is None
    assert [2**63 - 1, -1] == [record.timestamp for record in careful_records(opened, PARTITION)]
