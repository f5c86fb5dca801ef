"""Record batches as bytes, made and damaged by hand."""

from collections.abc import Iterable
from struct import pack_into

from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.util import calc_crc32c

from tests.support.hostile import Draft

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
