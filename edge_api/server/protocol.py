"""uvicorn's HTTP/1.1 with bounds: on headers, on the time that a request's parts may take, and on connections.

A request that comes in one piece, as nearly all do, starts no timer.
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
LAST_WORDS_SECONDS = 1.0


class TooLarge(Exception):
    """Raised into the parser, which then stops."""


class Connection(HttpToolsProtocol):
    max_connections: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._awaits_headers = True  # of the next request
        self._is_too_large = self._is_refused = False
        self._piece = self._received = 0  # bytes of what came last, and of the request so far
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
        self._piece = len(data)
        self._received += self._piece
        super().data_received(data)
        allowed = MAX_HEADER_BYTES if self._awaits_headers else MAX_REQUEST_BYTES
        if self._received > allowed or len(self.headers or ()) > MAX_HEADERS:  # also of those that trail a body
            self._refuse(_TOO_LARGE)
        elif self._awaits_headers and not self._deadline:
            self._set_deadline(HEADERS_SECONDS)

    def on_message_begin(self) -> None:
        self._received = self._piece if self._awaits_headers else 0  # else it began in the midst of the piece
        self._awaits_headers = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if len(self.headers) > MAX_HEADERS or (self._piece + self._received > MAX_HEADER_BYTES and self._is_over()):
            self._is_too_large = True
            raise TooLarge
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
        elif self.cycle.more_body:  # answered early; the rest is read and thrown away
            self._set_deadline(BODY_TIMEOUT_SECONDS)
        else:
            self._awaits_headers, self._received = True, 0

    def send_400_response(self, msg: str) -> None:
        self._refuse(_TOO_LARGE if self._is_too_large else _UNREADABLE)

    def _refuse(self, problem: Problem) -> None:
        """Listens no more, and closes the connection as soon as the requests before are answered."""
        if self._is_refused:
            return
        self._is_refused = True
        self._clear_deadline()
        cycle = self.cycle
        if cycle and cycle.response_complete and cycle.more_body:
            self.transport.close()  # it has its answer
        elif cycle is None or cycle.response_complete:
            self._say(problem)
        elif cycle.more_body and self.pipeline:
            self.pipeline.popleft()  # the request at fault, before it began
        elif cycle.more_body:
            cycle.disconnected = True
            cycle.message_event.set()
            self._say(problem)

    def _say(self, problem: Problem) -> None:
        """A connection that is closed at once takes its answer with it, where the client is still sending."""
        if not self.transport.is_closing():
            self.transport.write(_to_bytes(problem))
            self.transport.write_eof()
            self._set_deadline(LAST_WORDS_SECONDS)

    def _is_over(self) -> bool:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEADER_BYTES

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


def bounded(max_connections: int) -> type[Connection]:
    return type("BoundedConnection", (Connection,), {"max_connections": max_connections})


def _to_bytes(problem: Problem) -> bytes:
    answer = problem.response()
    headers = [*answer.raw_headers, (b"connection", b"close")]
    return b"".join(
        [STATUS_LINE[answer.status_code], *[b"%s: %s\r\n" % header for header in headers], b"\r\n", answer.body]
    )


_UNREADABLE = Problem(HTTPStatus.BAD_REQUEST, "This is not HTTP/1.1.")
_TOO_SLOW = Problem(HTTPStatus.REQUEST_TIMEOUT, f"No request came within {HEADERS_SECONDS:g} s.")
_TOO_LARGE = Problem(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    f"URL and headers must be at most {MAX_HEADER_BYTES:,} bytes, and {MAX_HEADERS} headers.",
)
