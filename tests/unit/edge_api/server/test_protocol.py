"""What a client may do to a connection: real sockets, the edge's own protocol, and no Kafka."""

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from edge_api.server import protocol as connection
from edge_api.server.protocol import MAX_HEADER_BYTES, MAX_HEADERS, bounded

PATIENCE = 60.0
QUICK = 0.3
GET = b"GET / HTTP/1.1\r\nHost: edge\r\n"
Connect = Callable[[], socket.socket]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Tells what it was asked; to POST only after the body, but for /early."""
    body = b""
    while scope["method"] == "POST" and scope["path"] != "/early":
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    answer = json.dumps({"path": scope["path"], "client": scope["client"][0], "bytes": len(body)}).encode()
    headers = [(b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


@contextmanager
def serving(max_connections: int = 100, **options: Any) -> Iterator[Connect]:
    config = uvicorn.Config(
        app, http=bounded(max_connections), lifespan="off", log_config=None, access_log=False, **options
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield lambda: socket.create_connection(listener.getsockname(), timeout=PATIENCE)
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def connect() -> Iterator[Connect]:
    with serving(proxy_headers=False) as connect:
        yield connect


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the server's deadlines; only for tests of requests that never end."""
    for name in ("HEADERS_SECONDS", "BODY_TIMEOUT_SECONDS"):
        monkeypatch.setattr(connection, name, QUICK)


def until_closed(client: socket.socket) -> bytes:
    """What came until the server closed the connection; fails where it does not."""
    received = b""
    while piece := client.recv(65_536):
        received += piece
    return received


def statuses(answers: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]


def talk(connect: Connect, *pieces: bytes) -> bytes:
    with closing(connect()) as client:
        for piece in pieces:
            client.sendall(piece)
        return until_closed(client)


@pytest.mark.usefixtures("hurry")
@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param(b"", [408], id="silence"),
        pytest.param(GET, [408], id="half a request"),
        pytest.param(b"\r\n", [408], id="blank lines"),
        pytest.param(GET + b"\r\n" + GET, [200, 408], id="half a request after a whole one"),
        pytest.param(b"POST /early HTTP/1.1\r\nContent-Length: 9\r\n\r\n1234", [200], id="half a body, answered"),
    ],
)
def test_what_never_ends_is_ended(connect: Connect, sent: bytes, expected: list[int]) -> None:
    assert_ended(talk(connect, sent), expected)


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        pytest.param([GET + b"X: " + b"x" * MAX_HEADER_BYTES + b"\r\n\r\n"], [431], id="a large header"),
        pytest.param([GET, b"X: ", b"x" * 65_536, b"x" * 65_536], [431], id="a header that never ends"),
        pytest.param([GET + b"X: 1\r\n" * MAX_HEADERS + b"\r\n"], [431], id="many headers"),
        pytest.param([b"GET /" + b"x" * MAX_HEADER_BYTES + b" HTTP/1.1\r\n\r\n"], [431], id="a long URL"),
        pytest.param([b"\x00\xff nonsense\r\n\r\n"], [400], id="no HTTP"),
        pytest.param([GET + b"\r\nnonsense\r\n\r\n"], [200], id="no HTTP after a request"),
        pytest.param(
            [b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: 1\r\n" * 200],
            [431],
            id="many trailers",
        ),
        pytest.param([b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnonsense"], [400], id="a broken body"),
        pytest.param(
            [GET + b"\r\n" + b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnonsense"],
            [200],
            id="a broken body after a request",
        ),
    ],
)
def test_what_is_wrong_gets_its_answer_and_the_connection_ends(
    connect: Connect, pieces: list[bytes], expected: list[int]
) -> None:
    assert_ended(talk(connect, *pieces), expected)


def assert_ended(answers: bytes, expected: list[int]) -> None:
    assert expected == statuses(answers)
    if expected[-1] != 200:
        assert b"application/problem+json" in answers
        assert expected[-1] == json.loads(answers.rpartition(b"\r\n\r\n")[2])["status"]


@pytest.mark.usefixtures("hurry")
def test_a_blank_line_after_an_answer_is_half_a_request(connect: Connect) -> None:
    with closing(connect()) as client:
        client.sendall(GET + b"\r\n")
        answers = b""
        while not answers.endswith(b"}"):
            answers += client.recv(65_536)
        client.sendall(b"\r\n")
        assert [200, 408] == statuses(answers + until_closed(client))


def test_what_is_within_the_bounds_passes_on_one_connection(connect: Connect) -> None:
    large = GET + b"X: " + b"x" * (MAX_HEADER_BYTES - 100) + b"\r\n\r\n"
    many = b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * MAX_HEADERS + b"\r\n"
    body = b"POST / HTTP/1.1\r\nContent-Length: 500000\r\n\r\n" + b"x" * 500_000
    last = GET + b"Connection: close\r\n\r\n"
    answers = talk(connect, large, many, body, body + large + b"\r\n" + many + large, last)
    assert [200] * 8 == statuses(answers)
    assert 2 == answers.count(b'"bytes": 500000')


@pytest.mark.usefixtures("hurry")
def test_headers_may_not_drip(connect: Connect) -> None:
    with closing(connect()) as client:
        client.sendall(GET)
        begin = time.monotonic()
        with pytest.raises(OSError):  # noqa: PT012 - whichever byte meets the closed connection
            while time.monotonic() < begin + PATIENCE:
                client.sendall(b"X: 1\r\n")
                time.sleep(0.05)


def test_beyond_the_most_connections_others_are_told_to_come_later() -> None:
    with serving(max_connections=2, proxy_headers=False) as connect:
        with closing(connect()) as first, closing(connect()) as second:
            for client in (first, second):
                client.sendall(GET + b"\r\n")
                assert [200] == statuses(client.recv(65_536))
            answers = talk(connect)
            assert [503] == statuses(answers)
            assert b"retry-after: 2\r\n" in answers
        # Room again, as soon as the server has noticed that they are gone.
        deadline = time.monotonic() + PATIENCE
        while [200] != (last := statuses(talk(connect, GET + b"Connection: close\r\n\r\n"))):
            assert time.monotonic() < deadline, last


@pytest.mark.parametrize(
    ("trusted", "forwarded", "client"),
    [
        ("", b"203.0.113.9", "127.0.0.1"),
        ("192.0.2.0/24", b"203.0.113.9", "127.0.0.1"),
        ("127.0.0.1", b"203.0.113.9", "203.0.113.9"),
        ("127.0.0.0/8, 192.0.2.1", b"198.51.100.1, 203.0.113.9, 192.0.2.1", "203.0.113.9"),
    ],
)
def test_only_trusted_proxies_say_who_the_client_is(trusted: str, forwarded: bytes, client: str) -> None:
    with serving(proxy_headers=bool(trusted), forwarded_allow_ips=trusted) as connect:
        answers = talk(connect, GET + b"X-Forwarded-For: " + forwarded + b"\r\nConnection: close\r\n\r\n")
    assert client == json.loads(answers.rpartition(b"\r\n\r\n")[2])["client"]
