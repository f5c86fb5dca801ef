"""Find the end of a request's body, and decode it: by its length or by its chunks (RFC 9112 6 and 7)."""

import re
from enum import Enum, auto
from http import HTTPStatus

from edge_api.shared.http1.bounds import MAX_CHUNK_OVERHEAD
from edge_api.shared.http1.refusal import Refusal

MAX_LINE_BYTES = 4096  # of the size of a chunk with its extensions, or of a trailer
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})(?:;[\t !-~\x80-\xff]*)?")


class BodyOfLength:
    """A body of as many bytes as Content-Length says."""

    def __init__(self, length: int, max_bytes: int) -> None:
        if length > max_bytes:
            raise body_too_large(max_bytes)
        self._left = length

    @property
    def is_complete(self) -> bool:
        return not self._left

    def take(self, received: bytes) -> tuple[bytes, bytes]:
        """Split `received` into what belongs to the body and what follows it."""
        piece, rest = received[: self._left], received[self._left :]
        self._left -= len(piece)
        return piece, rest


class _Next(Enum):
    SIZE = auto()
    DATA = auto()
    END_OF_DATA = auto()
    TRAILER = auto()


class ChunkedBody:
    """A body in chunks. Extensions and trailers count towards the bounds and are dropped (RFC 9110 6.5.1)."""

    def __init__(self, max_bytes: int) -> None:
        self.is_complete = False
        self._max_bytes = max_bytes
        self._next = _Next.SIZE
        self._left = self._size = self._overhead = 0  # bytes: of this chunk, of all chunks, of all else

    def take(self, received: bytes) -> tuple[bytes, bytes]:
        """Return the data of the chunks in `received`, and the rest, to be passed again together with the next bytes.

        Raises Refusal.
        """
        data, position = bytearray(), 0
        while not self.is_complete:
            if self._next is _Next.DATA:
                piece = received[position : position + self._left]
                data += piece
                position += len(piece)
                self._left -= len(piece)
                if self._left:
                    break
                self._next = _Next.END_OF_DATA
            end = received.find(b"\r\n", position, position + MAX_LINE_BYTES)
            if end < 0:
                if len(received) - position >= MAX_LINE_BYTES:
                    raise _invalid("a line is too long")
                break
            self._read_line(received[position:end])
            position = end + 2
        return bytes(data), received[position:]

    def _read_line(self, line: bytes) -> None:
        self._overhead += len(line) + 2
        if self._overhead > MAX_CHUNK_OVERHEAD + self._size:
            raise _invalid("the chunks are too small")
        if self._next is _Next.SIZE:
            self._begin_chunk(line)
        elif self._next is _Next.END_OF_DATA:
            if line:
                raise _invalid("a chunk is longer than its size")
            self._next = _Next.SIZE
        elif not line:
            self.is_complete = True

    def _begin_chunk(self, line: bytes) -> None:
        found = _SIZE.fullmatch(line)
        if found is None:
            raise _invalid("the size of a chunk is not a hexadecimal number")
        self._left = int(found[1], 16)
        self._size += self._left
        if self._size > self._max_bytes:
            raise body_too_large(self._max_bytes)
        self._next = _Next.DATA if self._left else _Next.TRAILER


def body_too_large(max_bytes: int) -> Refusal:
    error = "body", f"must be at most {max_bytes:,} bytes"
    return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large.", errors=[error])


def _invalid(reason: str) -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, f"The chunked body is not valid HTTP/1.1: {reason}.")
