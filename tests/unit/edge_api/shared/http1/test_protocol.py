"""What a client may do to a connection: real sockets, and an app of a few lines."""

import json
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import pytest

from edge_api.shared.http1.bounds import MAX_HEAD_BYTES, MAX_HEADERS, SPARE_CONNECTIONS
from tests.support.http1 import (
    GET,
    LARGE_BYTES,
    MAX_BODY_BYTES,
    PATIENCE,
    POST,
    Http1Server,
    last_body,
    read_until_closed,
    serving,
    statuses,
)
from tests.support.waiting import eventually

QUICK = 0.3
LAST = GET + b"Connection: close\r\n\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Http1Server]:
    with serving() as server:
        yield server


@pytest.fixture
def hasty() -> Iterator[Http1Server]:
    """A server with short deadlines; only for tests of requests that never end."""
    with serving(head_seconds=QUICK, body_seconds=QUICK, linger_seconds=QUICK, write_seconds=QUICK) as server:
        yield server


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param(b"", [408], id="silence"),
        pytest.param(GET, [408], id="half a request"),
        pytest.param(b"\r\n", [408], id="blank line"),
        pytest.param(GET + b"\r\n" + GET, [200, 408], id="half a request after a whole one"),
        pytest.param(POST + b"Content-Length: 9\r\n\r\n1234", [408], id="half a body"),
        pytest.param(CHUNKED + b"9\r\n1234", [408], id="half a chunk"),
        pytest.param(CHUNKED + b"0\r\n", [408], id="no end of the trailers"),
        pytest.param(
            b"POST /early HTTP/1.1\r\nHost: edge\r\nContent-Length: 9\r\n\r\n1234", [200], id="answered early"
        ),
    ],
)
def test_what_never_ends_is_ended(hasty: Http1Server, sent: bytes, expected: list[int]) -> None:
    assert_ended(hasty.talk(sent), expected)


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        pytest.param([GET + b"X: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n"], [431], id="a large header"),
        pytest.param([GET, b"X: ", b"x" * 65_536, b"x" * 65_536], [431], id="a header that never ends"),
        pytest.param([GET + b"X: 1\r\n" * MAX_HEADERS + b"\r\n"], [431], id="many headers"),
        pytest.param([b"GET /" + b"x" * MAX_HEAD_BYTES + b" HTTP/1.1\r\n\r\n"], [431], id="a long URL"),
        pytest.param([b"\x00\xff nonsense\r\n\r\n"], [400], id="no HTTP"),
        pytest.param([GET + b"\r\nnonsense\r\n\r\n"], [200, 400], id="no HTTP after a request"),
        pytest.param([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], [505], id="HTTP/2"),
        pytest.param([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"], [400], id="TLS"),
        pytest.param([CHUNKED + b"0\r\n" + b"X: 1\r\n" * 20_000], [400], id="many trailers"),
        pytest.param([POST + b"Content-Length: " + b"0" * 5_000 + b"3\r\n\r\n"], [400], id="a long length"),
        pytest.param([CHUNKED + b"nonsense\r\n"], [400], id="a broken body"),
        pytest.param([GET + b"\r\n" + CHUNKED + b"nonsense\r\n"], [200, 400], id="a broken body after a request"),
        pytest.param([POST + b"Content-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1)], [413], id="a large body"),
        pytest.param([CHUNKED + b"%x\r\n" % (MAX_BODY_BYTES + 1)], [413], id="a large chunk"),
    ],
)
def test_what_is_wrong_gets_its_answer_and_the_connection_ends(
    server: Http1Server, pieces: list[bytes], expected: list[int]
) -> None:
    assert_ended(server.talk(*pieces), expected)


def assert_ended(responses: bytes, expected: list[int]) -> None:
    assert expected == statuses(responses)
    if expected[-1] != 200:
        assert b"application/problem+json" in responses
        assert expected[-1] == last_body(responses)["status"]
    assert b"connection: close" in responses


def test_nothing_of_a_refused_request_is_a_request(server: Http1Server) -> None:
    inner = b"GET /smuggled HTTP/1.1\r\nHost: edge\r\n\r\n"
    for framing in (
        b"Transfer-Encoding: xchunked\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"X : 1\r\n",
    ):
        assert [400] == statuses(server.talk(POST + framing + b"\r\n" + inner, inner))
    assert "/smuggled" not in server.app.begun


@pytest.mark.parametrize(
    "headers",
    [
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AA==\r\nSec-WebSocket-Version: 13\r\n",
        b"Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n",
    ],
)
def test_an_upgrade_is_ignored_and_the_body_read_by_its_length(server: Http1Server, headers: bytes) -> None:
    """Also where the body comes later, and looks like a request."""
    body = b"GET /smuggled HTTP/1.1\r\nHost: edge\r\n\r\n"
    head = POST + headers + b"Content-Length: %d\r\n\r\n" % len(body)
    with closing(server.connect()) as client:
        for first in (b"", body):
            client.sendall(head + first)
            if not first:
                eventually(lambda: server.connections, seconds=PATIENCE, what="the head to be read")
                client.sendall(body)
            assert last_body(read_response(client))["body"] == body.decode()
        client.sendall(LAST)
        assert [200] == statuses(read_until_closed(client))
    assert "/smuggled" not in server.app.begun


def read_response(client: socket.socket) -> bytes:
    """Return one response of EchoApp, whose body is an object of JSON."""
    received = b""
    while not received.endswith(b'"}') or b"\r\n\r\n" not in received:
        piece = client.recv(65_536)
        assert piece, received
        received += piece
    return received


def test_what_is_within_the_bounds_passes_on_one_connection(server: Http1Server) -> None:
    large = GET + b"X: " + b"x" * (MAX_HEAD_BYTES - 100) + b"\r\n\r\n"
    many = GET + b"X: 1\r\n" * (MAX_HEADERS - 1) + b"\r\n"
    body = POST + b"Content-Length: 500000\r\n\r\n" + b"x" * 500_000
    responses = server.talk(large, many, body, body + large + b"\r\n" + many + large, LAST)
    assert [200] * 8 == statuses(responses)
    assert 2 == responses.count(b'"body": "' + b"x" * 500_000 + b'"')


def test_headers_may_not_drip(hasty: Http1Server) -> None:
    with closing(hasty.connect()) as client:
        client.sendall(GET)
        assert_cut_off(client, b"X: 1\r\n")


def test_a_body_may_not_drip(hasty: Http1Server) -> None:
    with closing(hasty.connect()) as client:
        client.sendall(POST + b"Content-Length: 100000\r\n\r\n")
        assert_cut_off(client, b"x")
    assert hasty.app.disconnected.wait(PATIENCE)


def test_what_follows_a_refusal_may_not_drip(hasty: Http1Server) -> None:
    with closing(hasty.connect()) as client:
        client.sendall(POST + b"X : 1\r\n\r\n")
        assert_cut_off(client, b"x")


def assert_cut_off(client: socket.socket, drop: bytes) -> None:
    begin = time.monotonic()
    with pytest.raises(OSError):  # noqa: PT012 - whichever byte meets the closed connection
        while time.monotonic() < begin + PATIENCE:
            client.sendall(drop)
            time.sleep(0.05)


@pytest.mark.parametrize("after", [b"", b"\r\n"], ids=["a request", "a request and a blank line"])
def test_an_idle_connection_is_closed_without_a_response(after: bytes) -> None:
    with serving(idle_seconds=QUICK) as server:
        assert [200] == statuses(server.talk(GET + b"\r\n" + after))


def test_no_request_is_taken_of_a_client_without_an_address(server: Http1Server) -> None:
    for _ in range(100):
        with closing(server.connect()) as client:
            client.sendall(GET + b"\r\n")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # so that close() resets
    assert [200] == statuses(server.talk(LAST))
    assert None not in server.app.clients


# --- Clients that end what they send


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param(POST + b"Content-Length: 5\r\n\r\nhello", [200], id="a request"),
        pytest.param(CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", [200], id="a chunked request"),
        pytest.param((GET + b"\r\n") * 5, [200] * 5, id="pipelined requests"),
        pytest.param(GET + b"\r\n" + GET, [200], id="half a request at the end"),
        pytest.param(GET, [], id="half a request"),
        pytest.param(POST + b"Content-Length: 5\r\n\r\nhell", [], id="half a body"),
        pytest.param(b"", [], id="nothing"),
    ],
)
def test_a_half_closed_connection_gets_the_responses_to_whole_requests(
    server: Http1Server, sent: bytes, expected: list[int]
) -> None:
    assert expected == statuses(server.talk(sent, ends=True))


def test_a_client_that_half_closes_while_the_app_works_gets_its_response() -> None:
    with serving() as server, closing(server.connect()) as client:
        client.sendall(b"GET /held HTTP/1.1\r\nHost: edge\r\n\r\n")
        eventually(lambda: server.app.begun, seconds=PATIENCE, what="the request")
        client.shutdown(socket.SHUT_WR)
        server.app.released.set()
        assert [200] == statuses(read_until_closed(client))


def test_the_app_learns_that_a_client_left_within_its_body() -> None:
    with serving() as server:
        server.talk(POST + b"Content-Length: 5\r\n\r\nhell", ends=True)
        assert server.app.disconnected.wait(PATIENCE)
        eventually(lambda: not server.connections, seconds=PATIENCE, what="its slot")


# --- Clients that send more, or read less, than the server likes


def test_a_client_that_reads_no_responses_begins_no_more_requests_and_loses_its_slot(hasty: Http1Server) -> None:
    with closing(hasty.connect()) as client:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: edge\r\n\r\n" * 1_000)
        eventually(lambda: hasty.app.begun, seconds=PATIENCE, what="the first request")
        eventually(lambda: not hasty.connections, seconds=PATIENCE, what="its slot")
    assert len(hasty.app.begun) < 10


def test_a_client_that_reads_no_small_responses_loses_its_slot(hasty: Http1Server) -> None:
    """Although the kernel has taken them all."""
    with closing(socket.socket()) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        client.connect(hasty.address)
        client.sendall((GET + b"\r\n") * 300)
        eventually(lambda: len(hasty.app.begun) == 300, seconds=PATIENCE, what="the requests")
        eventually(lambda: not hasty.connections, seconds=PATIENCE, what="its slot")


def test_a_client_that_sips_a_response_loses_its_slot(hasty: Http1Server) -> None:
    with closing(hasty.connect()) as client:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: edge\r\n\r\n")
        eventually(lambda: hasty.app.begun, seconds=PATIENCE, what="the request")
        with suppress(ConnectionResetError):
            eventually(lambda: client.recv(100) and not hasty.connections, seconds=PATIENCE, what="its slot")
        eventually(lambda: not hasty.connections, seconds=PATIENCE, what="its slot")


def test_responses_that_wait_for_their_clients_are_bounded_together() -> None:
    with serving(max_unsent_bytes=LARGE_BYTES * 3 // 2) as server, ExitStack() as clients:
        for _ in range(5):
            client = clients.enter_context(closing(server.connect()))
            client.sendall(b"GET /large HTTP/1.1\r\nHost: edge\r\n\r\n")
        eventually(lambda: len(server.app.begun) == 5, seconds=PATIENCE, what="the requests")
        eventually(lambda: server.connections == 1, seconds=PATIENCE, what="the others to be aborted")
        assert [200] == statuses(server.talk(GET + b"Connection: close\r\n\r\n"))


def test_a_client_that_takes_its_time_gets_a_large_response_whole(server: Http1Server) -> None:
    with closing(server.connect()) as client:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n")
        time.sleep(QUICK)  # for its response to fill the buffers
        assert LARGE_BYTES == len(read_until_closed(client).partition(b"\r\n\r\n")[2])


def test_a_response_before_the_end_of_the_body_arrives_although_the_client_sends_on(server: Http1Server) -> None:
    head = b"POST /early HTTP/1.1\r\nHost: edge\r\nContent-Length: %d\r\n\r\n" % MAX_BODY_BYTES
    responses = server.talk(head, b"x" * 100_000, b"x" * (MAX_BODY_BYTES - 100_000))
    assert [200] == statuses(responses)
    assert b"connection: close" in responses


def test_a_refusal_arrives_although_the_client_sends_on(server: Http1Server) -> None:
    assert [400] == statuses(server.talk(POST + b"X : 1\r\nContent-Length: 1000000\r\n\r\n", *[b"x" * 100_000] * 10))


def test_beyond_the_most_connections_clients_are_told_to_come_later() -> None:
    with serving(max_connections=2) as server:
        with closing(server.connect()) as first, closing(server.connect()) as second:
            for client in (first, second):
                client.sendall(GET + b"\r\n")
                assert [200] == statuses(read_response(client))
            responses = server.talk()
            assert [503] == statuses(responses)
            assert b"retry-after: 2\r\n" in responses
        # Room again, as soon as the server has noticed that they are gone.
        eventually(lambda: [200] == statuses(server.talk(LAST)), seconds=PATIENCE, what="a slot")


def test_a_flood_of_connections_is_closed_without_responses() -> None:
    with serving(max_connections=1, linger_seconds=PATIENCE, body_seconds=PATIENCE) as server, ExitStack() as clients:
        for _ in range(SPARE_CONNECTIONS + 10):
            clients.enter_context(closing(server.connect()))
        assert b"" == read_until_closed_or_reset(clients.enter_context(closing(server.connect())))
        eventually(lambda: server.connections == SPARE_CONNECTIONS + 1, seconds=PATIENCE, what="the rest to be closed")


def read_until_closed_or_reset(client: socket.socket) -> bytes:
    try:
        return read_until_closed(client)
    except ConnectionResetError:
        return b""


# --- Responses


def test_a_request_that_announces_its_body_is_told_to_send_it(server: Http1Server) -> None:
    with closing(server.connect()) as client:
        client.sendall(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n\r\n")
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"hello")
        assert last_body(read_until_closed(client))["body"] == "hello"


def test_a_request_that_announces_its_body_may_be_answered_without_it(server: Http1Server) -> None:
    head = b"POST /early HTTP/1.1\r\nHost: edge\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    responses = server.talk(head)
    assert responses.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"connection: close" in responses


def test_a_response_that_has_begun_is_not_interrupted_by_100_continue(server: Http1Server) -> None:
    with closing(server.connect()) as client:
        client.sendall(b"POST /eager HTTP/1.1\r\nHost: edge\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        begun = client.recv(100)
        client.sendall(b"hello")
        assert [200] == statuses(begun + read_until_closed(client))


def test_a_response_without_a_body_says_no_length(server: Http1Server) -> None:
    responses = server.talk(b"GET /nothing HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n")
    assert [204] == statuses(responses)
    assert b"content-length" not in responses


def test_a_body_that_is_announced_and_never_sent_is_ended(hasty: Http1Server) -> None:
    assert [100, 408] == statuses(hasty.talk(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"))


def test_head_has_the_headers_of_get_and_no_body(server: Http1Server) -> None:
    responses = server.talk(b"HEAD / HTTP/1.1\r\nHost: edge\r\n\r\n", LAST)
    assert [200, 200] == statuses(responses)
    assert responses.count(b"content-length: ") == 2
    assert responses.count(b'"method"') == 1


def test_a_response_of_unknown_length_is_chunked_or_ends_with_the_connection(server: Http1Server) -> None:
    chunked = server.talk(b"GET /stream HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n")
    assert b"transfer-encoding: chunked" in chunked
    assert chunked.endswith(b"\r\n0\r\n\r\n")
    plain = server.talk(b"GET /stream HTTP/1.0\r\n\r\n")
    assert b"transfer-encoding" not in plain
    assert last_body(plain)["http_version"] == "1.0"


def test_a_failure_of_the_app_is_a_problem_or_a_broken_response(server: Http1Server) -> None:
    responses = server.talk(b"GET /raises HTTP/1.1\r\nHost: edge\r\n\r\n")
    assert last_body(responses)["status"] == 500
    assert b"broken" not in responses
    head, _, body = server.talk(b"GET /breaks HTTP/1.1\r\nHost: edge\r\n\r\n").partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}" not in head.decode()
    _, _, chunks = server.talk(b"GET /breaks-unsized HTTP/1.1\r\nHost: edge\r\n\r\n").partition(b"\r\n\r\n")
    assert chunks.startswith(b"5\r\n")
    assert not chunks.endswith(b"0\r\n\r\n")
    with pytest.raises(ConnectionResetError):  # or the end of the connection would be that of the response
        server.talk(b"GET /breaks-unsized HTTP/1.0\r\n\r\n")


def test_a_line_break_in_a_header_of_a_response_fails(server: Http1Server) -> None:
    assert [500] == statuses(server.talk(b"GET /split HTTP/1.1\r\nHost: edge\r\n\r\n"))


def test_a_shutdown_answers_what_is_under_way_and_closes_the_rest() -> None:
    with serving() as server, closing(server.connect()) as busy, closing(server.connect()) as idle:
        idle.sendall(GET + b"\r\n")
        assert [200] == statuses(read_response(idle))
        busy.sendall(b"GET /held HTTP/1.1\r\nHost: edge\r\n\r\n")
        eventually(lambda: "/held" in server.app.begun, seconds=PATIENCE, what="the request")
        server.server.should_exit = True
        assert b"" == idle.recv(1)
        server.app.released.set()
        assert b"connection: close" in read_until_closed(busy)


# --- Who the client is


@pytest.mark.parametrize(
    ("trusted", "forwarded", "client"),
    [
        ("", b"203.0.113.9", "127.0.0.1"),
        ("192.0.2.0/24", b"203.0.113.9", "127.0.0.1"),
        ("127.0.0.1", b"203.0.113.9", "203.0.113.9"),
        ("127.0.0.0/8, 192.0.2.1", b"198.51.100.1, 203.0.113.9, 192.0.2.1", "203.0.113.9"),
        pytest.param(
            "127.0.0.1", b"192.0.2.1\r\nX-Forwarded-For: 203.0.113.9", "203.0.113.9", id="the proxy adds a header"
        ),
        pytest.param("127.0.0.1", b"junk, , %, 203.0.113.9", "203.0.113.9", id="junk before the proxy's"),
        pytest.param("127.0.0.1", b"203.0.113.9\r\nX_Forwarded_For: 192.0.2.1", "203.0.113.9", id="underscores"),
        pytest.param("127.0.0.1", b"127.0.0.1, 203.0.113.9", "203.0.113.9", id="the proxy's own address"),
    ],
)
def test_only_trusted_proxies_say_who_the_client_is(trusted: str, forwarded: bytes, client: str) -> None:
    with serving({"proxy_headers": bool(trusted), "forwarded_allow_ips": trusted}) as server:
        responses = server.talk(GET + b"X-Forwarded-For: " + forwarded + b"\r\nConnection: close\r\n\r\n")
    assert client == last_body(responses)["client"]


def test_trailers_are_no_headers() -> None:
    trailers = b"X-Forwarded-For: 192.0.2.1\r\nAuthorization: Bearer a\r\nIdempotency-Key: b\r\n\r\n"
    with serving({"proxy_headers": True, "forwarded_allow_ips": "127.0.0.1"}) as server:
        head = POST + b"X-Forwarded-For: 203.0.113.9\r\nTransfer-Encoding: chunked\r\n\r\n"
        response = server.talk(head + b"5\r\nhello\r\n0\r\n" + trailers + LAST).split(b"\r\n\r\n")[1]
    seen = json.loads(response[: response.index(b"HTTP/")])
    assert (seen["client"], seen["body"]) == ("203.0.113.9", "hello")
    assert ["host", "x-forwarded-for", "transfer-encoding"] == [header.split(":")[0] for header in seen["headers"]]
