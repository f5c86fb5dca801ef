"""A connection as a stream of bytes: however they arrive, the same requests reach the app and get their responses."""

import asyncio
import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.server import ServerState

from edge_api.shared.http1.bounds import READ_BYTES, Bounds
from edge_api.shared.http1.protocol import Http1Protocol, bounded
from tests.support.http1 import EchoApp

BODY = st.sampled_from([b"", b"hello", b"GET /smuggled HTTP/1.1\r\nHost: edge\r\n\r\n", b"0\r\n\r\n", b"\r\n"])
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n"


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    body, headers = draw(BODY), draw(st.sampled_from([b"", UPGRADE, b"X: 1\r\n"]))
    blank_line = draw(st.sampled_from([b"", b"\r\n"]))
    if draw(st.booleans()):
        framing, encoded = b"Content-Length: %d\r\n" % len(body), body
    else:
        middle = draw(st.integers(0, len(body)))
        pieces = [piece for piece in (body[:middle], body[middle:]) if piece]
        chunks = b"".join(b"%x;a\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        framing, encoded = b"Transfer-Encoding: chunked\r\n", chunks + b"0\r\nX-Trailer: 1\r\n\r\n"
    path = draw(st.sampled_from([b"/", b"/a?b", b"/stream"]))
    return blank_line + b"POST " + path + b" HTTP/1.1\r\nHost: edge\r\n" + headers + framing + b"\r\n" + encoded


class MemoryTransport(asyncio.Transport):
    """Takes what is written, and remembers whether the protocol wants to read."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.wants_more, self.closed = b"", True, asyncio.Event()

    def get_extra_info(self, _name: str, default: Any = None) -> Any:
        return default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: Any) -> None:
        self.written += data

    def write_eof(self) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closed.is_set()

    def close(self) -> None:
        self.closed.set()

    abort = close

    def pause_reading(self) -> None:
        self.wants_more = False

    def resume_reading(self) -> None:
        self.wants_more = True


def connect(app: EchoApp) -> tuple[Http1Protocol, MemoryTransport]:
    protocol_class = bounded(Bounds(max_connections=10, max_body_bytes=1_000_000))
    config = uvicorn.Config(app, http=protocol_class, lifespan="off", log_config=None, proxy_headers=False)
    protocol: Http1Protocol = protocol_class(config=config, server_state=ServerState(), app_state={})  # type: ignore[call-arg, assignment]
    transport = MemoryTransport()
    protocol.connection_made(transport)
    return protocol, transport


def receive(protocol: Http1Protocol, piece: bytes) -> None:
    protocol.get_buffer(-1)[: len(piece)] = piece
    protocol.buffer_updated(len(piece))


async def feed(pieces: list[bytes]) -> tuple[list[str], bytes]:
    """Return the paths that the app saw and the responses. A piece arrives only while the protocol reads."""
    app = EchoApp()
    protocol, transport = connect(app)
    for piece in pieces:
        while not transport.wants_more:
            await asyncio.sleep(0)
        receive(protocol, piece)
    if protocol.eof_received():
        await transport.closed.wait()
    protocol.connection_lost(None)
    return app.begun, transport.written


@given(st.lists(requests(), min_size=1, max_size=4).map(b"".join), st.lists(st.integers(0, 1200), max_size=8))
def test_requests_are_the_same_however_their_bytes_arrive(stream: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[begin:end] for begin, end in pairwise(places) if begin < end]
    whole, split = asyncio.run(feed([stream])), asyncio.run(feed(pieces))
    assert whole == split
    paths, responses = whole
    assert len(paths) == stream.count(b"POST /") == responses.count(b"HTTP/1.1 200 OK\r\n")
    assert "/smuggled" not in paths


def test_each_response_is_that_of_its_request() -> None:
    request = b"POST /%d HTTP/1.1\r\nHost: edge\r\nContent-Length: 1\r\n\r\n%d"
    _, responses = asyncio.run(feed([b"".join(request % (number, number) for number in range(9))]))
    bodies = [
        json.loads(response.rpartition(b"\r\n\r\n")[2]) for response in responses.split(b"HTTP/1.1 200 OK\r\n")[1:]
    ]
    assert [(f"/{number}", str(number)) for number in range(9)] == [(body["path"], body["body"]) for body in bodies]


HELD = b"GET /held HTTP/1.1\r\nHost: edge\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: edge\r\n\r\n"


async def turns(count: int = 10) -> None:
    """Let every task go as far as it can."""
    for _ in range(count):
        await asyncio.sleep(0)


def test_nothing_is_read_behind_a_request_until_it_is_answered() -> None:
    async def scenario() -> None:
        app = EchoApp()
        protocol, transport = connect(app)
        receive(protocol, HELD + NEXT)
        await turns()
        assert (app.begun, transport.wants_more) == (["/held"], False)
        app.released.set()
        await asyncio.wait_for(until(lambda: transport.wants_more), 60)
        assert app.begun == ["/held", "/next"]
        protocol.connection_lost(None)

    asyncio.run(scenario())


async def until(check: Callable[[], bool]) -> None:
    while not check():
        await asyncio.sleep(0.01)


def test_no_request_begins_before_the_client_has_taken_the_responses_before_it() -> None:
    async def scenario() -> None:
        app = EchoApp()
        protocol, transport = connect(app)
        protocol.pause_writing()
        receive(protocol, NEXT)
        await turns()
        assert (app.begun, transport.wants_more) == ([], False)
        protocol.resume_writing()
        await turns()
        assert (app.begun, transport.wants_more) == (["/next"], True)
        protocol.connection_lost(None)

    asyncio.run(scenario())


def test_half_a_line_of_a_chunked_body_does_not_stop_reading() -> None:
    async def scenario() -> None:
        protocol, transport = connect(EchoApp())
        receive(protocol, b"POST / HTTP/1.1\r\nHost: edge\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3")
        assert transport.wants_more
        protocol.connection_lost(None)
        await turns()

    asyncio.run(scenario())


def test_a_body_that_the_app_does_not_take_waits_in_the_network() -> None:
    async def scenario() -> None:
        app = EchoApp()
        protocol, transport = connect(app)
        receive(protocol, b"POST / HTTP/1.1\r\nHost: edge\r\nContent-Length: %d\r\n\r\n" % (4 * READ_BYTES))
        pieces = 0
        while transport.wants_more:  # the app has no turn meanwhile
            receive(protocol, b"x" * READ_BYTES)
            pieces += 1
        assert pieces == 3
        await turns()
        assert transport.wants_more
        receive(protocol, b"x" * READ_BYTES)
        await asyncio.wait_for(until(lambda: b"x" * 4 * READ_BYTES in transport.written), 60)
        protocol.connection_lost(None)

    asyncio.run(scenario())
