"""The codecs of Kafka's record batches, with a bound on what comes out: a megabyte of zeros can fill the memory."""

import zlib
from collections.abc import Callable

import lz4.frame
import snappy
import zstandard

MAX_UNCOMPRESSED_BYTES = 16 * 1024 * 1024
XERIAL_HEADER_BYTES, BLOCK_LENGTH_BYTES = 16, 4
XERIAL_MAGIC = b"\x82SNAPPY\0"
GZIP_WINDOW = 31


class TooLarge(ValueError):
    """More would come out than MAX_UNCOMPRESSED_BYTES."""


def decompress(codec: int, data: bytes) -> bytes:
    """Raises TooLarge, and any error that the codec's library raises of broken data. `codec` is Kafka's number."""
    if codec not in CODECS:
        raise ValueError(f"compression codec {codec} is unknown")
    plain = CODECS[codec](data)
    if len(plain) > MAX_UNCOMPRESSED_BYTES:
        raise TooLarge(f"{len(data):,} bytes would be more than {MAX_UNCOMPRESSED_BYTES:,} when decompressed")
    return plain


def _gzip(data: bytes) -> bytes:
    return zlib.decompressobj(GZIP_WINDOW).decompress(data, MAX_UNCOMPRESSED_BYTES + 1)


def _snappy(data: bytes) -> bytes:
    """Snappy's own format, or blocks of it in the frame of the Java library. It cannot grow more than 22-fold."""
    if not data.startswith(XERIAL_MAGIC):
        return bytes(snappy.uncompress(data))
    plain, position = bytearray(), XERIAL_HEADER_BYTES
    while position < len(data) and len(plain) <= MAX_UNCOMPRESSED_BYTES:
        start = position + BLOCK_LENGTH_BYTES
        position = start + int.from_bytes(data[position:start], "big")
        plain += snappy.uncompress(data[start:position])
    return bytes(plain)


def _lz4(data: bytes) -> bytes:
    return bytes(lz4.frame.LZ4FrameDecompressor().decompress(data, MAX_UNCOMPRESSED_BYTES + 1))


def _zstd(data: bytes) -> bytes:
    with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
        return reader.read(MAX_UNCOMPRESSED_BYTES + 1)


CODECS: dict[int, Callable[[bytes], bytes]] = {1: _gzip, 2: _snappy, 3: _lz4, 4: _zstd}
