"""One request and its response, between the connection and the ASGI app (spec 2.3)."""

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from edge_api.shared.http1.head import RequestHead
from edge_api.shared.http1.refusal import STATUS_LINES, Headers, Refusal

if TYPE_CHECKING:
    from edge_api.shared.http1.protocol import Http1Protocol

log = logging.getLogger("uvicorn.error")  # where both services expect an app's failures

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class Exchange:
    """The app's `receive` and `send`. The connection adds to the body, and clears `more_body` after the last byte."""

    def __init__(self, connection: "Http1Protocol", head: RequestHead, *, more_body: bool) -> None:
        self.more_body = more_body
        self.unread_bytes = 0  # of the body
        self.keep_alive = head.keep_alive  # after the response
        self.expects_continue = head.expects_continue and more_body
        self.is_disconnected = self.is_complete = False
        self.is_response_begun = False  # a part of it is on its way to the client
        self._connection = connection
        self._method, self._raw_path, self._http_version = head.method, head.raw_path, head.http_version
        self._body: list[bytes] = []
        self._is_body_delivered = False
        self._head: bytes | None = None  # of the response, until it is sent together with the first part of the body
        self._has_body, self._is_chunked = True, False
        self.ends_with_connection = False  # the client learns by nothing else where the response ends
        self._left: int | None = None  # bytes that Content-Length still promises

    async def run(self, app: App, scope: Message) -> None:
        """Let the app answer. Its failure is logged, and answered here if the response has not begun."""
        try:
            await app(scope, self.receive, self.send)
        except Exception:
            log.exception("The app failed at %s %s", self._method, self._raw_path.decode())
        except BaseException:  # cancelled: the graceful shutdown took too long
            self._connection.fail(self, None)
            raise
        else:
            if not self.is_over:
                log.error("The app ended without a whole response at %s %s", self._method, self._raw_path.decode())
        if not self.is_over:
            self._connection.fail(self, _FAILED)

    def add_body(self, piece: bytes) -> None:
        self._body.append(piece)
        self.unread_bytes += len(piece)

    async def receive(self) -> Message:
        """Return the next part of the body, or else wait for the end of the exchange."""
        while not (self.is_over or self._body or (not self.more_body and not self._is_body_delivered)):
            await self._connection.wait_for_client(self)
        if self.is_over:
            return {"type": "http.disconnect"}
        piece = b"".join(self._body)
        self._body.clear()
        self.unread_bytes = 0
        self._is_body_delivered = not self.more_body
        return {"type": "http.request", "body": piece, "more_body": self.more_body}

    async def send(self, message: Message) -> None:
        """Send the next part of the response, once the client has taken the earlier ones."""
        if self._connection.is_write_paused:
            await self._connection.writable.wait()
        if self.is_disconnected:
            return
        kind = message["type"]
        if kind == "http.response.start" and self._head is None and not self.is_response_begun:
            self._head = self._encode_head(message["status"], message.get("headers", ()))
        elif kind == "http.response.body" and self._head is not None and not self.is_complete:
            self._send_body(message.get("body", b""), message.get("more_body", False))
        else:
            raise RuntimeError(f"The app sent the ASGI message {kind!r} out of turn.")

    @property
    def is_over(self) -> bool:
        return self.is_disconnected or self.is_complete

    def _encode_head(self, status: int, headers: Headers) -> bytes:
        """Return the status line and the headers; decide how the client learns where the body ends."""
        lines, length = [STATUS_LINES[status]], None
        for name, value in (*self._connection.default_headers, *headers):
            if name == b"content-length":
                length = int(value)
                if not length and status in _WITHOUT_BODY:  # it must not say so (RFC 9110 8.6)
                    continue
            elif name == b"connection":
                if value.lower() == b"close":
                    self.keep_alive = False
                continue
            lines.append(b"%b: %b\r\n" % (name, value))
        lines += self._choose_framing(status, length)
        head = b"".join(lines)
        if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines):
            raise RuntimeError("A header of the response contains a line break.")
        return head + b"\r\n"

    def _choose_framing(self, status: int, length: int | None) -> list[bytes]:
        """Return the headers that are missing: where the body ends, and whether the connection does."""
        lines = []
        self._has_body = self._method != "HEAD" and status >= HTTPStatus.OK and status not in _WITHOUT_BODY
        if self._has_body:
            self._left = length
            if length is None and self._http_version == "1.1":
                self._is_chunked = True
                lines.append(b"transfer-encoding: chunked\r\n")
            elif length is None:
                self.keep_alive, self.ends_with_connection = False, True
        if self.more_body:
            self.keep_alive = False  # the rest of the request is not read
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        return lines

    def _send_body(self, piece: bytes, more_body: bool) -> None:
        if not self._has_body:
            piece = b""
        elif self._is_chunked:
            piece = (b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b"") + (b"" if more_body else b"0\r\n\r\n")
        elif self._left is not None:
            self._left -= len(piece)
            if self._left < 0 or (self._left and not more_body):
                raise RuntimeError("The body of the response is not as long as its Content-Length says.")
        if not self.is_response_begun:
            assert self._head is not None  # noqa: S101 - for mypy
            piece = self._head + piece
            self.is_response_begun = True
        self.is_complete = not more_body
        self._connection.write(piece)
        if self.is_complete:
            self._connection.end_response(self)


_WITHOUT_BODY = HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED
_FAILED = Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "The service failed in an unexpected way.")
