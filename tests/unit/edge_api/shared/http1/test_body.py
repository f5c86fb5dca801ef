"""Where a body ends: however its bytes arrive, and as another parser reads it."""

from itertools import pairwise

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge_api.shared.http1.body import BodyOfLength, ChunkedBody
from edge_api.shared.http1.bounds import MAX_CHUNK_OVERHEAD
from edge_api.shared.http1.refusal import Refusal

MAX_BYTES = 1_000_000


def read(body: BodyOfLength | ChunkedBody, received: bytes, *cuts: int) -> tuple[bytes, bytes]:
    """Return the body and what follows it, when `received` arrives in the pieces that `cuts` make of it."""
    data = waiting = b""
    places = [0, *sorted(cuts), len(received)]
    for begin, end in pairwise(places):
        waiting += received[begin:end]
        if not body.is_complete:
            piece, waiting = body.take(waiting)
            data += piece
    return data, waiting


CHUNK = st.tuples(st.binary(min_size=1, max_size=40), st.sampled_from([b"", b";a", b";a=b", b';a="b c"']))
TRAILER = st.sampled_from([b"X: 1\r\n", b"X-Forwarded-For: 192.0.2.1\r\n", b"Content-Length: 9\r\n"])
FOLLOWING = st.sampled_from([b"", b"\r\n", b"GET / HTTP/1.1\r\n\r\n", b"0\r\n\r\n"])


@st.composite
def chunked(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A body, and its chunks."""
    chunks, trailers = draw(st.lists(CHUNK, max_size=5)), draw(st.lists(TRAILER, max_size=3))
    encoded = b"".join(b"%x%b\r\n%b\r\n" % (len(data), extension, data) for data, extension in chunks)
    return b"".join(data for data, _ in chunks), encoded + b"0\r\n" + b"".join(trailers) + b"\r\n"


@given(chunked(), FOLLOWING, st.lists(st.integers(0, 300), max_size=6))
def test_chunks_end_at_the_same_byte_however_they_arrive(
    body: tuple[bytes, bytes], following: bytes, cuts: list[int]
) -> None:
    received = body[1] + following
    assert read(ChunkedBody(MAX_BYTES), received, *(min(cut, len(received)) for cut in cuts)) == (body[0], following)


@given(st.binary(max_size=100), st.integers(0, 100), st.lists(st.integers(0, 100), max_size=6))
def test_a_length_is_counted_however_the_bytes_arrive(received: bytes, length: int, cuts: list[int]) -> None:
    body, following = read(BodyOfLength(length, MAX_BYTES), received, *(min(cut, len(received)) for cut in cuts))
    assert (body, following) == (received[:length], received[length:])


class Reader:
    def __init__(self) -> None:
        self.body, self.is_complete = b"", False

    def on_body(self, piece: bytes) -> None:
        self.body += piece

    def on_message_complete(self) -> None:
        self.is_complete = True


PIECES = st.sampled_from(
    b"0|00|5|5;a|A|-1|+1|0x5|5 |fffffffff|\r\n|\r\n\r\n|\n|\r|hello|hell|;|;a=\x00|X: 1|: |X|\xff|GET / HTTP/1.1".split(
        b"|"
    )
)


@given(st.lists(PIECES | st.binary(max_size=3), max_size=12).map(b"".join))
@example(b"5\r\nhello\r\n0\r\n\r\n")
@example(b"5\r\nhello\r\n0\r\nX: 1\r\n\r\nGET / HTTP/1.1")
def test_what_is_accepted_is_the_same_body_for_another_parser(received: bytes) -> None:
    ours = ChunkedBody(MAX_BYTES)
    try:
        body, following = read(ours, received)
    except Refusal:
        return
    if ours.is_complete and not received[: len(received) - len(following)].rpartition(b"\r\n0")[2].strip(b"\r\n0"):
        theirs = Reader()
        parser = httptools.HttpRequestParser(theirs)
        parser.feed_data(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        parser.feed_data(received[: len(received) - len(following)])
        assert (theirs.body, theirs.is_complete) == (body, True)


@pytest.mark.parametrize(
    ("received", "status"),
    [
        pytest.param(b"hello\r\n", 400, id="no size"),
        pytest.param(b"\r\n", 400, id="empty size"),
        pytest.param(b"-5\r\n", 400, id="negative"),
        pytest.param(b"0x5\r\n", 400, id="prefix"),
        pytest.param(b"5 \r\n", 400, id="space"),
        pytest.param(b"5\nhello\n0\n\n\r\n", 400, id="bare LF"),
        pytest.param(b"5;\x00\r\n", 400, id="NUL in an extension"),
        pytest.param(b"5;a\nb\r\n", 400, id="LF in an extension"),
        pytest.param(b"000000005\r\n", 400, id="many zeros"),
        pytest.param(b"5\r\nhello!\r\n", 400, id="longer than its size"),
        pytest.param(b"5\r\nhell\r\n0\r\n\r\n", 400, id="shorter than its size"),
        pytest.param(b"5;" + b"x" * 5000, 400, id="long extension"),
        pytest.param(b"0\r\nX: " + b"x" * 5000, 400, id="long trailer"),
        pytest.param(b"0\r\n" + b"X: 1\r\n" * MAX_CHUNK_OVERHEAD, 400, id="many trailers"),
        pytest.param(b"1\r\nx\r\n" * MAX_CHUNK_OVERHEAD, 400, id="many small chunks"),
        pytest.param(b"%x\r\n" % (MAX_BYTES + 1), 413, id="one byte too many"),
        pytest.param(b"ffffffff\r\n", 413, id="huge"),
        pytest.param(b"5\r\nhello\r\n%x\r\n" % (MAX_BYTES - 4), 413, id="one byte too many in two chunks"),
    ],
)
def test_chunks_that_are_not_valid_or_too_many_are_refused(received: bytes, status: int) -> None:
    with pytest.raises(Refusal) as caught:
        read(ChunkedBody(MAX_BYTES), received)
    assert caught.value.status == status


def test_the_largest_body_passes() -> None:
    largest = b"x" * MAX_BYTES
    assert read(BodyOfLength(MAX_BYTES, MAX_BYTES), largest) == (largest, b"")
    assert read(ChunkedBody(MAX_BYTES), b"%x\r\n%b\r\n0\r\n\r\n" % (MAX_BYTES, largest)) == (largest, b"")
    with pytest.raises(Refusal):
        BodyOfLength(MAX_BYTES + 1, MAX_BYTES)
