"""uvicorn's HTTP/1.1 with bounds on headers, on the time that the parts of a request take, and on connections.

It overrides internals of uvicorn, so requirements/edge.in pins it exactly and edge_api.server.self_check runs at start.
A request that arrives in one piece, as nearly all do, starts no timer.
"""

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from edge_api.contract import MAX_BATCH_BYTES
from edge_api.http.body import BODY_TIMEOUT_SECONDS
from edge_api.problems import Problem, RetryLater

MAX_HEADERS, MAX_HEADER_BYTES = 100, 16 * 1024  # the bytes of names, values and URL
HEADERS_SECONDS = 10.0
# In chunks of one byte a body is six times as long.
MAX_REQUEST_BYTES = 8 * MAX_BATCH_BYTES
CLOSE_SECONDS = 1.0


class HeadersTooLarge(Exception):
    """Raised into the parser, which then stops."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Beyond a bound it sends a problem in place of a response, and closes the connection."""

    max_connections: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._awaits_headers = True  # of the next request
        self._headers_too_large = self._is_refused = False
        self._last_piece = self._received = 0  # bytes: of the latest data, and of the current request so far
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._set_deadline(HEADERS_SECONDS)
        if len(self.connections) > self.max_connections:
            self._refuse(RetryLater("Not stored: too many connections."))

    def connection_lost(self, exc: Exception | None) -> None:
        self._clear_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        self._last_piece = len(data)
        self._received += self._last_piece
        super().data_received(data)
        allowed = MAX_HEADER_BYTES if self._awaits_headers else MAX_REQUEST_BYTES
        # Trailers of a chunked body are appended to its headers.
        if self._received > allowed or len(self.headers or ()) > MAX_HEADERS:
            self._refuse(_TOO_LARGE)
        elif self._awaits_headers and not self._deadline:
            self._set_deadline(HEADERS_SECONDS)

    def on_message_begin(self) -> None:
        # Without an open request before it, all of this piece belongs to the new one; else an unknown part of it.
        self._received = self._last_piece if self._awaits_headers else 0
        self._awaits_headers = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        may_be_too_large = self._last_piece + self._received > MAX_HEADER_BYTES
        if len(self.headers) > MAX_HEADERS or (may_be_too_large and self._header_bytes() > MAX_HEADER_BYTES):
            self._headers_too_large = True
            raise HeadersTooLarge
        self._awaits_headers = False
        self._clear_deadline()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        is_last = not self.pipeline
        super().on_response_complete()
        if not is_last or self.transport.is_closing():
            return
        if self._is_refused:
            self.transport.close()
        elif self.cycle.more_body:  # the response came early; the rest of the body is read and dropped
            self._set_deadline(BODY_TIMEOUT_SECONDS)
        else:
            self._awaits_headers, self._received = True, 0

    def send_400_response(self, msg: str) -> None:
        self._refuse(_TOO_LARGE if self._headers_too_large else _NOT_HTTP)

    def _refuse(self, problem: Problem) -> None:
        """Read no more, and close the connection as soon as the earlier requests have their responses."""
        if self._is_refused:
            return
        self._is_refused = True
        self._clear_deadline()
        cycle = self.cycle
        if cycle and cycle.response_complete and cycle.more_body:
            self.transport.close()  # the request at fault has its response
        elif cycle is None or cycle.response_complete:
            self._send_and_close(problem)
        elif cycle.more_body and self.pipeline:
            self.pipeline.popleft()  # the request at fault, before the app gets it
        elif cycle.more_body:
            cycle.disconnected = True
            cycle.message_event.set()
            self._send_and_close(problem)

    def _send_and_close(self, problem: Problem) -> None:
        """Close only after CLOSE_SECONDS: a client that is still sending would lose the response otherwise."""
        if not self.transport.is_closing():
            self.transport.write(_encode(problem))
            self.transport.write_eof()
            self._set_deadline(CLOSE_SECONDS)

    def _header_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _set_deadline(self, seconds: float) -> None:
        self._clear_deadline()
        self._deadline = self.loop.call_later(seconds, self._on_deadline)

    def _clear_deadline(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _on_deadline(self) -> None:
        self._deadline = None
        if self._is_refused:
            self.transport.close()
        else:
            self._refuse(_TOO_SLOW)


def bounded(max_connections: int) -> type[BoundedProtocol]:
    """Return the protocol class with that bound, as uvicorn takes it."""
    return type("Protocol", (BoundedProtocol,), {"max_connections": max_connections})


def _encode(problem: Problem) -> bytes:
    response = problem.response()
    headers = b"".join(b"%s: %s\r\n" % header for header in [*response.raw_headers, (b"connection", b"close")])
    return b"".join([STATUS_LINE[response.status_code], headers, b"\r\n", response.body])


_NOT_HTTP = Problem(HTTPStatus.BAD_REQUEST, "The request is not valid HTTP/1.1.")
_TOO_SLOW = Problem(HTTPStatus.REQUEST_TIMEOUT, f"No request arrived within {HEADERS_SECONDS:g} s.")
_TOO_LARGE = Problem(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    f"The URL and the headers must be at most {MAX_HEADER_BYTES:,} bytes and {MAX_HEADERS} headers.",
)
