"""The quick reading of plain records finds what the careful one finds, and leaves it everything else."""

from collections.abc import Iterable
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge_api.contract import TodoCreated, record_key
from tests.support.batches import ATTRIBUTES_POSITION, CODECS, HEADER_BYTES, batch, signed
from tests.support.hostile import Draft, drafts
from todos.kafka.decoding.batches import careful_records, open_batch
from todos.kafka.decoding.plain import KafkaRecord, plain_records

TIMES = st.integers(0, 2**41) | st.integers(0, 20_000)
Damage = list[tuple[float, int]]


def found(records: Iterable[KafkaRecord]) -> list[object]:
    """The records, and the error that ended them."""
    result: list[object] = []
    try:
        result.extend(record._replace(headers=tuple(record.headers)) for record in records)
    except Exception as exc:  # noqa: BLE001 - decompressors raise whatever they like
        result.append(repr(exc))
    return result


@given(
    st.lists(drafts(TIMES), min_size=1, max_size=6),
    st.sampled_from(CODECS),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=3),
)
@example([Draft(b"x"), Draft(b"y")], "none", [(0.0, 0x81)])
def test_both_readings_agree_on_any_bytes(sent: list[Draft], codec: str, damage: Damage) -> None:
    data = batch(sent, 7, codec)
    for place, value in damage:
        data[ATTRIBUTES_POSITION + int(place * (len(data) - ATTRIBUTES_POSITION))] = value
    opened, _ = open_batch(bytes(signed(data, 7)))
    again, _ = open_batch(bytes(data))

    quick = found(plain_records(opened, 3))
    if not quick or isinstance(quick[-1], KafkaRecord):
        quick += found(careful_records(opened, 3))

    assert found(careful_records(again, 3)) == quick


def test_the_numbers_of_a_record_are_damaged_one_by_one() -> None:
    """Every byte of a small batch's records, in every value: whatever the invented input above leaves out."""
    data = batch([Draft(b"one", b"k", timestamp=5), Draft(b"two", timestamp=4)], 7)
    for place in range(HEADER_BYTES, len(data)):
        for value in range(256):
            damaged = bytearray(data)
            damaged[place] = value
            opened, _ = open_batch(bytes(signed(damaged, 7)))
            again, _ = open_batch(bytes(damaged))
            quick = found(plain_records(opened, 3)) + found(careful_records(opened, 3))
            assert found(careful_records(again, 3)) == quick, (place, value)


def plain_count(sent: list[Draft], codec: str = "none") -> int:
    opened, _ = open_batch(bytes(batch(sent, 7, codec)))
    return len(list(plain_records(opened, 3)))


@pytest.mark.parametrize("codec", CODECS)
def test_what_the_edge_and_simple_producers_send_is_plain(codec: str) -> None:
    event = TodoCreated(id=UUID(int=1), title="Do homework", description="x" * 5_000)
    edge = [Draft(event.to_json(), record_key(UUID(int=1)), timestamp=17 + number) for number in range(600)]

    assert plain_count(edge, codec) == 600
    told = ((b"request-id", b"x" * 36), (b"fingerprint", b"0" * 16), (b"traceparent", b"0" * 55))
    assert plain_count([Draft(b"x", b"key", told, timestamp=17)] * 3, codec) == 3
    assert plain_count([Draft(b'{"title": "x"}', timestamp=17), Draft(b"", timestamp=16)], codec) == 2


@pytest.mark.parametrize(
    "draft",
    [
        Draft(None, b"k"),
        Draft(b"x", raw_headers=((b"h", b"v"),) * 4),
        Draft(b"x" * 10_000),
        Draft(b"x", timestamp=2**20),
    ],
    ids=["no value", "four headers", "a large value", "much later than the first"],
)
def test_what_is_not_plain_ends_the_quick_reading(draft: Draft) -> None:
    assert plain_count([Draft(b"x", timestamp=0), draft, Draft(b"x", timestamp=0)]) == 1
