"""Parse the head of an HTTP/1.1 request, and refuse every head that two servers might read in two ways (RFC 9112)."""

import re
from http import HTTPStatus
from typing import cast
from urllib.parse import unquote

import httptools

from edge_api.shared.http1.bounds import MAX_HEAD_BYTES, MAX_HEADERS
from edge_api.shared.http1.refusal import Refusal

_REQUEST_LINE = re.compile(rb"([A-Z-]+) ([!-\"$-~]+) HTTP/(1\.[01])\r\n")
_OTHER_VERSION = re.compile(rb"[^\r\n]* HTTP/(?!1\.[01])\d(?:\.\d)?\r\n")
_ABSOLUTE = re.compile(rb"https?://([^/?]+)([^?]*)(.*)", re.IGNORECASE)
MAX_LENGTH_DIGITS = 19  # of any length that a body can have
_HOST = re.compile(rb"(?:[\w.~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(?::\d*)?")
# A broken escape, or an escape of a control character, a slash or a character that needs none (RFC 3986 2.3).
_DISGUISED = re.compile(
    rb"%(?:[01][0-9A-F]|2[DEF]|3[0-9]|[46][1-9A-F]|[57][0-9A]|5F|7[EF]|(?![0-9A-F]{2}))", re.IGNORECASE
)
_UNDERSCORE = ord("_")  # a number is found in bytes much faster than bytes are
_FRAMING = {b"host", b"connection", b"content-length", b"transfer-encoding", b"expect"}


class RequestHead:
    """A request line and its headers."""

    __slots__ = (
        "content_length",
        "expects_continue",
        "headers",
        "http_version",
        "is_chunked",
        "keep_alive",
        "method",
        "path",
        "query",
        "raw_path",
    )

    def __init__(self, data: bytes) -> None:
        """Parse `data`, from the request line to the empty line. Raises Refusal."""
        line = _REQUEST_LINE.match(data)
        if line is None:
            raise _refuse_request_line(data)
        method, target, version = cast("tuple[bytes, bytes, bytes]", line.groups())
        self.method, self.http_version = method.decode(), version.decode()
        self.headers = _parse_headers(data)
        framing = _select_framing(self.headers)
        _check_host(framing.get(b"host"), version)
        if not target.startswith(b"/"):
            target, host = _split_absolute(target)
            self.headers = [(name, host if name == b"host" else value) for name, value in self.headers]
        self.raw_path, _, self.query = target.partition(b"?")
        self.path = _decode_path(self.raw_path)
        self.content_length, self.is_chunked = _read_framing(framing, version)
        self.keep_alive = version == b"1.1" and not _is_listed(b"close", framing.get(b"connection", b""))
        self.expects_continue = version == b"1.1" and framing.get(b"expect", b"").lower() == b"100-continue"


class _Headers(list[tuple[bytes, bytes]]):
    """What the parser calls: names in lower case, values without the spaces around them."""

    is_complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if _UNDERSCORE not in name:  # WSGI cannot tell X_Forwarded_For from X-Forwarded-For
            self.append((name.lower(), value.rstrip()))

    def on_headers_complete(self) -> None:
        if self.is_complete:
            raise ValueError("a second request in the head of one")
        self.is_complete = True


def _parse_headers(data: bytes) -> list[tuple[bytes, bytes]]:
    headers = _Headers()
    try:
        httptools.HttpRequestParser(headers).feed_data(data)
    except httptools.HttpParserUpgrade:
        pass  # every offer to use another protocol is ignored; the body is read by its length
    except httptools.HttpParserError as exc:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"The request is not valid HTTP/1.1: {exc}.") from exc
    if not headers.is_complete:
        raise Refusal(HTTPStatus.BAD_REQUEST, "The request is not valid HTTP/1.1.")
    if len(headers) > MAX_HEADERS:
        raise head_too_large()
    return headers


def _select_framing(headers: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return the headers that say where the request ends and to whom it goes. Only Connection may be repeated."""
    framing: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _FRAMING:
            if name in framing and name != b"connection":
                raise Refusal(HTTPStatus.BAD_REQUEST, f"The request must not have two {name.decode().title()} headers.")
            framing[name] = framing[name] + b"," + value if name in framing else value
    return framing


def _read_framing(framing: dict[bytes, bytes], version: bytes) -> tuple[int, bool]:
    """Return the length of the body, and whether it is chunked instead."""
    length, encoding = framing.get(b"content-length", b"0"), framing.get(b"transfer-encoding")
    if not length.isdigit() or len(length) > MAX_LENGTH_DIGITS:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"Content-Length must be a number of at most {MAX_LENGTH_DIGITS} digits.")
    if encoding is None:
        return int(length), False
    if encoding.lower() != b"chunked":
        raise Refusal(HTTPStatus.NOT_IMPLEMENTED, "Transfer-Encoding must be chunked, or not be set.")
    if b"content-length" in framing or version != b"1.1":
        raise Refusal(HTTPStatus.BAD_REQUEST, "Transfer-Encoding must not be combined with Content-Length or HTTP/1.0.")
    return 0, True


def _is_listed(option: bytes, value: bytes) -> bool:
    """Return whether a comma-separated header holds `option`, in any case."""
    return option in [listed.strip() for listed in value.lower().split(b",")]


def _check_host(host: bytes | None, version: bytes) -> None:
    if host is None and version == b"1.1":
        raise Refusal(HTTPStatus.BAD_REQUEST, "The request must have a Host header.")
    if host and not _HOST.fullmatch(host):
        raise Refusal(HTTPStatus.BAD_REQUEST, "The Host header must be a host with an optional port.")


def _decode_path(raw_path: bytes) -> str:
    path = raw_path.decode()
    if "%" not in path:
        return path
    if _DISGUISED.search(raw_path):
        raise Refusal(HTTPStatus.BAD_REQUEST, _SPELLING)
    return unquote(path)


def _refuse_request_line(data: bytes) -> Refusal:
    if _OTHER_VERSION.match(data):
        return Refusal(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "The version must be HTTP/1.1 or HTTP/1.0.")
    return Refusal(HTTPStatus.BAD_REQUEST, "The request is not valid HTTP/1.1: invalid request line.")


def _split_absolute(target: bytes) -> tuple[bytes, bytes]:
    """Return the path with its query, and the host, of a URL as clients send it to proxies (RFC 9112 3.2.2)."""
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        raise Refusal(HTTPStatus.BAD_REQUEST, "The target of the request must be a path or an http URL.")
    host, path, query = found.groups()
    if not _HOST.fullmatch(host):
        raise Refusal(HTTPStatus.BAD_REQUEST, "The host of the target must be a host with an optional port.")
    return (path or b"/") + query, host


def head_too_large() -> Refusal:
    return Refusal(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        f"The URL and the headers must be at most {MAX_HEAD_BYTES:,} bytes and {MAX_HEADERS} headers.",
    )


_SPELLING = "The path must not percent-encode letters, digits, slashes, control characters or any of - . _ ~"
