"""What a request line and headers may be: one reading of each, or a refusal."""

import pytest

from edge_api.shared.http1.bounds import MAX_HEADERS
from edge_api.shared.http1.head import RequestHead
from edge_api.shared.http1.refusal import Refusal

HOST = b"Host: todo.example\r\n"


def parse(line: bytes, headers: bytes = HOST) -> RequestHead:
    return RequestHead(line + b"\r\n" + headers + b"\r\n")


@pytest.mark.parametrize(
    ("line", "status"),
    [
        pytest.param(b"PRI * HTTP/2.0", 505, id="preface of HTTP/2"),
        pytest.param(b"GET / HTTP/1.2", 505, id="another minor version"),
        pytest.param(b"GET / HTTP/0.9", 505, id="HTTP/0.9"),
        pytest.param(b"GET /", 400, id="no version"),
        pytest.param(b"GET / RTSP/1.0", 400, id="another protocol"),
        pytest.param(b"GET  / HTTP/1.1", 400, id="two spaces"),
        pytest.param(b"GET / HTTP/1.1 ", 400, id="space at the end"),
        pytest.param(b" GET / HTTP/1.1", 400, id="space at the begin"),
        pytest.param(b"\r\nGET / HTTP/1.1", 400, id="a second empty line"),
        pytest.param(b"GET / HTTP/1.1\nX: 1", 400, id="bare LF"),
        pytest.param(b"GET / HTTP/1.1\rX: 1", 400, id="bare CR"),
        pytest.param(b"get / HTTP/1.1", 400, id="method in lower case"),
        pytest.param(b"NOSUCH / HTTP/1.1", 400, id="unknown method"),
        pytest.param(b"CONNECT todo.example:443 HTTP/1.1", 400, id="tunnel"),
        pytest.param(b"OPTIONS * HTTP/1.1", 400, id="no path"),
        pytest.param(b"GET new/ HTTP/1.1", 400, id="path without a slash"),
        pytest.param(b"GET ftp://todo.example/ HTTP/1.1", 400, id="another scheme"),
        pytest.param(b"GET http:/// HTTP/1.1", 400, id="URL without a host"),
        pytest.param(b"GET http://a@todo.example/ HTTP/1.1", 400, id="URL with a user"),
        pytest.param(b"GET /\xff HTTP/1.1", 400, id="not ASCII"),
        pytest.param(b"GET /\x00 HTTP/1.1", 400, id="NUL"),
        pytest.param(b"GET /a#b HTTP/1.1", 400, id="fragment"),
        pytest.param(b"GET /%6detrics HTTP/1.1", 400, id="encoded letter"),
        pytest.param(b"GET /new%2F HTTP/1.1", 400, id="encoded slash"),
        pytest.param(b"GET /new%2f HTTP/1.1", 400, id="encoded slash, in lower case"),
        pytest.param(b"GET /%2e%2e/metrics HTTP/1.1", 400, id="encoded dots"),
        pytest.param(b"GET /%7Ea HTTP/1.1", 400, id="encoded tilde"),
        pytest.param(b"GET /%5F HTTP/1.1", 400, id="encoded underscore"),
        pytest.param(b"GET /%0aforged HTTP/1.1", 400, id="encoded line feed"),
        pytest.param(b"GET /%1B[0m HTTP/1.1", 400, id="encoded escape"),
        pytest.param(b"GET /%zz HTTP/1.1", 400, id="broken escape"),
        pytest.param(b"GET /%a HTTP/1.1", 400, id="short escape"),
    ],
)
def test_a_request_line_that_can_be_read_in_two_ways_is_refused(line: bytes, status: int) -> None:
    assert refusal(line + b"\r\n" + HOST + b"\r\n") == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param(b"", 400, id="no Host"),
        pytest.param(HOST + HOST, 400, id="two Hosts"),
        pytest.param(b"Host: todo.example/x\r\n", 400, id="Host with a path"),
        pytest.param(b"Host: a@todo.example\r\n", 400, id="Host with a user"),
        pytest.param(b"Host: todo example\r\n", 400, id="Host with a space"),
        pytest.param(b"Host: todo.example:port\r\n", 400, id="Host with a port that is no number"),
        pytest.param(b"Host: [::1\r\n", 400, id="half an IPv6 address"),
        pytest.param(HOST + b"X : 1\r\n", 400, id="space before the colon"),
        pytest.param(HOST + b"X\r\n", 400, id="no colon"),
        pytest.param(HOST + b": 1\r\n", 400, id="no name"),
        pytest.param(HOST + b"X: a\r\n b\r\n", 400, id="folded"),
        pytest.param(b" X: 1\r\n" + HOST, 400, id="folded onto the request line"),
        pytest.param(HOST + b"X: a\nY: b\r\n", 400, id="bare LF"),
        pytest.param(HOST + b"X: a\rY: b\r\n", 400, id="bare CR"),
        pytest.param(HOST + b"X: a\x00b\r\n", 400, id="NUL"),
        pytest.param(HOST + b"X: a\x1bb\r\n", 400, id="ESC"),
        pytest.param(HOST + b"X\xc3\xa4: a\r\n", 400, id="name that is not ASCII"),
        pytest.param(HOST + b"X: 1\r\n" * MAX_HEADERS, 431, id="too many"),
        pytest.param(HOST + b"Content-Length: 5\r\nContent-Length: 5\r\n", 400, id="two lengths"),
        pytest.param(HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n", 400, id="two different lengths"),
        pytest.param(HOST + b"Content-Length: 5, 5\r\n", 400, id="list of lengths"),
        pytest.param(HOST + b"Content-Length: +5\r\n", 400, id="length with a plus"),
        pytest.param(HOST + b"Content-Length: -5\r\n", 400, id="negative length"),
        pytest.param(HOST + b"Content-Length: 0x5\r\n", 400, id="hexadecimal length"),
        pytest.param(HOST + b"Content-Length: 1_0\r\n", 400, id="length as Python writes numbers"),
        pytest.param(HOST + b"Content-Length: 5 5\r\n", 400, id="length with a space"),
        pytest.param(HOST + b"Content-Length:\r\n", 400, id="empty length"),
        pytest.param(HOST + b"Content-Length: " + b"9" * 30 + b"\r\n", 400, id="huge length"),
        pytest.param(HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400, id="chunks and a length"),
        pytest.param(HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400, id="a length and chunks"),
        pytest.param(HOST + b"Transfer-Encoding: chunked\r\n" * 2, 400, id="chunked twice"),
        pytest.param(HOST + b"Transfer-Encoding: gzip, chunked\r\n", 501, id="compressed and chunked"),
        pytest.param(HOST + b"Transfer-Encoding: chunked, chunked\r\n", 400, id="list of chunked"),
        pytest.param(HOST + b"Transfer-Encoding: chunked, gzip\r\n", 400, id="chunked is not last"),
        pytest.param(HOST + b"Transfer-Encoding: xchunked\r\n", 400, id="nearly chunked"),
        pytest.param(HOST + b"Transfer-Encoding: identity\r\n", 400, id="identity"),
        pytest.param(HOST + b"Transfer-Encoding: \x0bchunked\r\n", 400, id="chunked after a control character"),
        pytest.param(HOST + b'Transfer-Encoding: "chunked"\r\n', 400, id="chunked in quotes"),
        pytest.param(
            HOST + b"Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 5, 5\r\n", 400, id="with an upgrade"
        ),
    ],
)
def test_headers_that_can_be_read_in_two_ways_are_refused(headers: bytes, status: int) -> None:
    assert refusal(b"POST / HTTP/1.1\r\n" + headers + b"\r\n") == status


def test_an_absolute_target_is_no_substitute_for_the_host() -> None:
    assert refusal(b"GET http://todo.example/ HTTP/1.1\r\n\r\n") == 400


def test_chunks_need_http_1_1() -> None:
    assert refusal(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n") == 400


def refusal(head: bytes) -> int:
    with pytest.raises(Refusal) as caught:
        RequestHead(head)
    return caught.value.status


@pytest.mark.parametrize(
    ("target", "raw_path", "path", "query"),
    [
        (b"/", b"/", "/", b""),
        (b"/new/?a=b?c", b"/new/", "/new/", b"a=b?c"),
        (b"/?q=%6d%2F%00", b"/", "/", b"q=%6d%2F%00"),
        (b"/%C3%A4%20b", b"/%C3%A4%20b", "/ä b", b""),
        (b"/%252F", b"/%252F", "/%2F", b""),
        (b"//metrics", b"//metrics", "//metrics", b""),
        (b"/a/../metrics", b"/a/../metrics", "/a/../metrics", b""),
        (b"http://other.example/new/?a", b"/new/", "/new/", b"a"),
        (b"HTTPS://other.example?a", b"/", "/", b"a"),
    ],
)
def test_a_target_is_a_path_with_its_query(target: bytes, raw_path: bytes, path: str, query: bytes) -> None:
    head = parse(b"GET " + target + b" HTTP/1.1")
    assert (head.raw_path, head.path, head.query) == (raw_path, path, query)


def test_the_host_of_an_absolute_target_replaces_the_header() -> None:
    head = parse(b"GET http://other.example:81/ HTTP/1.1", b"X: 1\r\n" + HOST)
    assert head.headers == [(b"x", b"1"), (b"host", b"other.example:81")]


@pytest.mark.parametrize("host", [b"", b"todo.example", b"todo.example:7007", b"127.0.0.1:80", b"[::1]:7007", b"a_b"])
def test_hosts(host: bytes) -> None:
    assert parse(b"GET / HTTP/1.1", b"Host: " + host + b"\r\n").headers == [(b"host", host)]


def test_names_are_in_lower_case_and_values_without_spaces_around_them() -> None:
    head = parse(b"GET / HTTP/1.1", HOST + b"X-A: \t b c \t\r\nx-a:\r\nX-B: \xff\r\n")
    assert head.headers[1:] == [(b"x-a", b"b c"), (b"x-a", b""), (b"x-b", b"\xff")]


def test_a_header_with_an_underscore_is_dropped() -> None:
    """WSGI names X_Forwarded_For and X-Forwarded-For alike."""
    assert parse(b"GET / HTTP/1.1", HOST + b"X_Forwarded_For: 192.0.2.1\r\n").headers == [(b"host", b"todo.example")]


@pytest.mark.parametrize(
    ("headers", "length", "is_chunked"),
    [
        (b"", 0, False),
        (b"Content-Length: 0\r\n", 0, False),
        (b"Content-Length: 005 \r\n", 5, False),
        (b"Transfer-Encoding: CHUNKED \r\n", 0, True),
        (
            b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\nContent-Length: 5\r\n",
            5,
            False,
        ),
        (b"Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n", 0, True),
    ],
)
def test_the_body_ends_where_the_headers_say_it(headers: bytes, length: int, is_chunked: bool) -> None:
    head = parse(b"POST / HTTP/1.1", HOST + headers)
    assert (head.content_length, head.is_chunked) == (length, is_chunked)


@pytest.mark.parametrize(
    ("line", "headers", "keep_alive", "expects_continue"),
    [
        (b"GET / HTTP/1.1", b"", True, False),
        (b"GET / HTTP/1.1", b"Connection: keep-alive\r\n", True, False),
        (b"GET / HTTP/1.1", b"Connection: TE, Close\r\n", False, False),
        (b"GET / HTTP/1.1", b"Connection: TE\r\nConnection: close\r\n", False, False),
        (b"GET / HTTP/1.0", b"Connection: keep-alive\r\n", False, False),
        (b"POST / HTTP/1.1", b"Expect: 100-Continue\r\n", True, True),
        (b"POST / HTTP/1.0", b"Expect: 100-continue\r\n", False, False),
    ],
)
def test_what_follows_the_head(line: bytes, headers: bytes, keep_alive: bool, expects_continue: bool) -> None:
    head = parse(line, HOST + headers)
    assert (head.keep_alive, head.expects_continue) == (keep_alive, expects_continue)


def test_http_1_0_needs_no_host() -> None:
    assert parse(b"GET / HTTP/1.0", b"").http_version == "1.0"
