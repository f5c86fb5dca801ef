"""Record batches as bytes, made and damaged by hand."""

from collections.abc import Callable, Iterable
from struct import pack_into

import pytest
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.util import calc_crc32c

from devstack import Kafka
from tests.support.hostile import Draft
from tests.support.topic import Topic
from todos.kafka.decoding.batches import split_batches

CRC_POSITION, ATTRIBUTES_POSITION, HEADER_BYTES = 17, 21, 61
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def batch(drafts: Iterable[Draft], base_offset: int = 0, codec: str = "none") -> bytearray:
    """In Kafka's format 2, as a broker would return it."""
    builder = DefaultRecordBatchBuilder(2, CODECS.index(codec), False, -1, -1, -1, 2**31)
    for number, draft in enumerate(drafts):
        options = draft.send_options()
        builder.append(number, draft.timestamp, options["key"], draft.value, options["headers"])
    data: bytearray = builder.build()
    return signed(data, base_offset)


def signed(data: bytearray, base_offset: int) -> bytearray:
    """With the checksum that its bytes have now."""
    pack_into(">qi", data, 0, base_offset, len(data) - 12)
    pack_into(">I", data, CRC_POSITION, calc_crc32c(memoryview(data)[ATTRIBUTES_POSITION:]))
    return data


def rot(
    kafka: Kafka, topic: Topic, marker: bytes, change: Callable[[bytearray], bytearray], *, partition: int = 0
) -> None:
    """Change the batch that holds the marker on the broker's disk, while the broker runs; its length stays."""
    segment = kafka.directory / "apache" / f"{topic.kafka.topic}-{partition}" / f"{0:020}.log"
    if not segment.is_file():
        pytest.skip("not Apache Kafka")
    with segment.open("r+b") as log:
        content = log.read()
        position = 0
        for _, data in split_batches(memoryview(content)):
            if marker in bytes(data):
                log.seek(position)
                log.write(change(bytearray(data)))
                return
            position += len(data)
    raise AssertionError(f"no batch holds {marker!r}")
