"""Serve HTTP/1.1 on ports that any client can reach: one request at a time, with bounds on bytes, time and connections.

Bytes that follow a request are not parsed before its response has left the process, and no more are read meanwhile. So
a client cannot have more than one request under way on a connection, and no bytes are taken for a request but those
that follow the end of one. A request that arrives in one piece starts no timer.
"""

import asyncio
import socket
import struct
import sys
from contextvars import Context, copy_context
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from edge_api.shared.http1.body import BodyOfLength, ChunkedBody
from edge_api.shared.http1.bounds import (
    MAX_HEAD_BYTES,
    MAX_UNREAD_BYTES,
    MIN_TAKEN_BYTES,
    READ_BYTES,
    SOCKET_BUFFER_BYTES,
    SPARE_CONNECTIONS,
    Bounds,
)
from edge_api.shared.http1.deadline import Deadline
from edge_api.shared.http1.exchange import Exchange
from edge_api.shared.http1.head import RequestHead, head_too_large
from edge_api.shared.http1.refusal import Headers, Refusal, RefusalLog
from edge_api.shared.problems import RETRY_AFTER_SECONDS

if TYPE_CHECKING:
    from uvicorn import Config
    from uvicorn.server import ServerState


class Http1Protocol(asyncio.BufferedProtocol):
    """One connection. After a response that refuses, it drops what the client sends and closes."""

    bounds: Bounds
    read_buffer: memoryview  # shared by all connections: each copies its bytes before the next one reads
    refusals: RefusalLog
    unsent: "Unsent"

    def __init__(
        self,
        config: "Config",
        server_state: "ServerState",
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self.is_write_paused, self.writable = False, asyncio.Event()
        self._app, self._root_path = config.loaded_app, config.root_path
        self._server_state, self._app_state = server_state, app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._context: Context
        self._received = b""  # not parsed yet
        self._exchange: Exchange | None = None  # the one under way
        self._body: BodyOfLength | ChunkedBody | None = None  # of the request, until it is complete
        self._news = asyncio.Event()  # for the app: more of the body, or the end
        self._is_reading, self._is_eof = True, False
        self._awaits_head = True  # its deadline is running
        self._is_lingering, self._linger_until = False, 0.0
        self._deadline, self._write_deadline = Deadline(self._loop), Deadline(self._loop)  # for the two directions
        self._written = self._taken = 0  # bytes: of all responses, and by the client at the last look

    @property
    def default_headers(self) -> Headers:
        return self._server_state.default_headers

    @property
    def unsent_bytes(self) -> int:
        return self._transport.get_write_buffer_size()

    def abort(self) -> None:
        """End the connection at once, without the rest of the response."""
        self._transport.abort()

    # --- Called by the transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport, self._context = transport, copy_context()
        self._client, self._server = _address(transport, "peername"), _address(transport, "sockname")
        transport.set_write_buffer_limits(high=0)  # "paused" means that the kernel has not taken everything
        connection: socket.socket | None = transport.get_extra_info("socket")
        if connection and self._client:
            _bound_socket(connection, self.bounds.write_seconds)
        elif connection and connection.family != socket.AF_UNIX:
            # A client that has reset already. What it sent could still be read, but would count for no address.
            self._is_lingering = True
            transport.abort()
        self._server_state.connections.add(self)  # type: ignore[arg-type]
        self._deadline.set(self.bounds.head_seconds, self._on_slow_head)
        excess = len(self._server_state.connections) - self.bounds.max_connections
        if excess > SPARE_CONNECTIONS:
            transport.abort()
        elif excess > 0:
            self._refuse(_TOO_MANY)

    def get_buffer(self, _size_hint: int) -> memoryview:
        return self.read_buffer

    def buffer_updated(self, size: int) -> None:
        if self._is_lingering:
            if self._loop.time() < self._linger_until:
                self._deadline.set(self.bounds.linger_seconds, self._transport.close)
            return
        self._received += self.read_buffer[:size]
        self._parse()

    def eof_received(self) -> bool:
        """Stay open for the response to a whole request; drop a part of one."""
        self._is_eof = True
        if self._exchange is None:
            return bool(self._received) and self.is_write_paused
        return self._body is None

    def pause_writing(self) -> None:
        self.is_write_paused = True
        self.writable.clear()
        self.unsent.add(self)
        if not self._write_deadline.is_set:
            self._taken = self._written - self.unsent_bytes
            self._write_deadline.set(self.bounds.write_seconds, self._check_taken)

    def resume_writing(self) -> None:
        self.is_write_paused = False
        self.writable.set()
        self.unsent.discard(self)
        if self._exchange is None and not self._is_lingering and not self._transport.is_closing():
            self._next_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server_state.connections.discard(self)
        self.unsent.discard(self)
        self._deadline.stop()
        self._write_deadline.stop()
        if self._exchange:
            self._exchange.is_disconnected = True
        self._news.set()
        self.writable.set()

    # --- Called by uvicorn

    def shutdown(self) -> None:
        """Close the connection after the response that is under way, or now."""
        if self._exchange:
            self._exchange.keep_alive = False
        elif not self._is_lingering:
            self._transport.close()

    # --- Called by the exchange

    async def wait_for_client(self, exchange: Exchange) -> None:
        """Wait until the exchange may have changed: more of its body, or its end."""
        if exchange.more_body:
            if exchange.expects_continue and not exchange.is_response_begun:
                exchange.expects_continue = False
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                self._deadline.set(self.bounds.body_seconds, self._on_slow_body)
            self._resume_reading()
        self._news.clear()
        await self._news.wait()

    def write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._written += len(data)
            self._transport.write(data)

    def end_response(self, exchange: Exchange) -> None:
        """Begin the next request, or close the connection."""
        self._server_state.total_requests += 1
        self._exchange = None
        self._news.set()
        if exchange.keep_alive:
            self._next_request()
        elif self._body or self._received:
            self._linger()
        else:
            self._transport.close()

    def fail(self, exchange: Exchange, refusal: Refusal | None) -> None:
        """Close the connection, with `refusal` as the response if none has begun."""
        if exchange is self._exchange:
            self._refuse(refusal)

    # --- Requests

    def _parse(self) -> None:
        """Take from the received bytes what belongs to the current request, or else begin the next one."""
        try:
            if self._exchange is None and not self.is_write_paused:
                self._parse_head()
            elif self._exchange and self._body:
                self._parse_body(self._exchange, self._body)
        except Refusal as refusal:
            self._refuse(refusal)
            return
        if self._received and self._body is None and (self._exchange or self.is_write_paused):
            self._pause_reading()  # pipelined

    def _parse_head(self) -> None:
        if self._received.startswith(b"\r\n"):
            self._received = self._received[2:]  # some clients end a body with one (RFC 9112 2.2)
            if not self._received and not self._awaits_head:
                return
        end = self._received.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES) + 4
        if end < 4:
            if len(self._received) >= MAX_HEAD_BYTES:
                raise head_too_large()
            if self._is_eof:
                self._transport.close()
            elif not self._awaits_head:
                self._awaits_head = True
                self._deadline.set(self.bounds.head_seconds, self._on_slow_head)
            return
        head = RequestHead(self._received[:end])
        self._received = self._received[end:]
        self._awaits_head = False
        self._deadline.clear()
        self._begin_exchange(head)

    def _begin_exchange(self, head: RequestHead) -> None:
        if head.is_chunked:
            self._body = ChunkedBody(self.bounds.max_body_bytes)
        elif head.content_length:
            self._body = BodyOfLength(head.content_length, self.bounds.max_body_bytes)
        exchange = Exchange(self, head, more_body=self._body is not None)
        if self._body:
            self._parse_body(exchange, self._body)
            if self._body and not exchange.expects_continue:
                self._deadline.set(self.bounds.body_seconds, self._on_slow_body)
        self._exchange = exchange
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": head.http_version,
            "method": head.method,
            "scheme": "http",
            "path": self._root_path + head.path,
            "raw_path": self._root_path.encode() + head.raw_path,
            "query_string": head.query,
            "root_path": self._root_path,
            "headers": head.headers,
            "client": self._client,
            "server": self._server,
            "state": self._app_state.copy(),
        }
        # Without a context of its own, a pipelined request would inherit the variables of the request before it.
        task = self._loop.create_task(exchange.run(self._app, scope), context=self._context.copy())
        self._server_state.tasks.add(task)
        task.add_done_callback(self._server_state.tasks.discard)

    def _parse_body(self, exchange: Exchange, body: BodyOfLength | ChunkedBody) -> None:
        piece, self._received = body.take(self._received)
        if piece:
            exchange.add_body(piece)
        if body.is_complete:
            self._body, exchange.more_body = None, False
            self._deadline.clear()
        elif exchange.unread_bytes > MAX_UNREAD_BYTES:
            self._pause_reading()
        self._news.set()

    def _next_request(self) -> None:
        """Begin the next request, if it has arrived and the client has taken all responses before it."""
        if self._received:
            self._parse()
        if self._exchange or self._is_lingering or self.is_write_paused:
            return
        if self._is_eof:
            self._transport.close()
        else:
            self._resume_reading()
            if not self._awaits_head:
                self._deadline.set(self.bounds.idle_seconds, self._transport.close)

    # --- The end

    def _refuse(self, refusal: Refusal | None) -> None:
        """Send `refusal` as the last response, unless another one has begun."""
        exchange, self._exchange = self._exchange, None
        is_begun = False
        if exchange:
            exchange.is_disconnected, is_begun = True, exchange.is_response_begun
            self._news.set()
        if exchange and is_begun and exchange.ends_with_connection:
            self._reset()
        elif refusal is None or is_begun:
            self._transport.close()
        else:
            self.refusals.add(refusal)
            self.write(refusal.encode(self.default_headers))
            self._linger()

    def _linger(self) -> None:
        """Close once the client sends no more: one that still sends would lose the response otherwise."""
        self._received = b""
        self._is_lingering, self._linger_until = True, self._loop.time() + self.bounds.body_seconds
        if self._is_eof or self._transport.is_closing():
            self._transport.close()
        else:
            self._transport.write_eof()
            self._resume_reading()
            self._deadline.set(self.bounds.linger_seconds, self._transport.close)

    def _reset(self) -> None:
        """End the connection in a way that no client takes for the end of the response."""
        connection: socket.socket = self._transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()

    def _on_slow_head(self) -> None:
        self._refuse(Refusal(HTTPStatus.REQUEST_TIMEOUT, f"No request arrived within {self.bounds.head_seconds:g} s."))

    def _on_slow_body(self) -> None:
        detail = f"The body did not arrive within {self.bounds.body_seconds:g} s."
        self._refuse(Refusal(HTTPStatus.REQUEST_TIMEOUT, detail))

    def _check_taken(self) -> None:
        """Abort the connection if the client has taken too little of the responses since the last look."""
        if not self.is_write_paused:
            return
        taken = self._written - self.unsent_bytes
        if taken - self._taken < MIN_TAKEN_BYTES:
            self.abort()
        else:
            self._taken = taken
            self._write_deadline.set(self.bounds.write_seconds, self._check_taken)

    def _pause_reading(self) -> None:
        if self._is_reading:
            self._is_reading = False
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if not self._is_reading and not self._is_eof:
            self._is_reading = True
            self._transport.resume_reading()


class Unsent:
    """The connections whose clients have not taken all that was written, with a bound on all these bytes together."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._connections: set[Http1Protocol] = set()

    def add(self, connection: Http1Protocol) -> None:
        """Add a connection. Beyond the bound, those with the most bytes are aborted."""
        self._connections.add(connection)
        while sum(each.unsent_bytes for each in self._connections) > self._max_bytes:
            largest = max(self._connections, key=lambda each: each.unsent_bytes)
            self._connections.discard(largest)
            largest.abort()

    def discard(self, connection: Http1Protocol) -> None:
        self._connections.discard(connection)


def bounded(bounds: Bounds) -> type[asyncio.Protocol]:
    """Return the protocol class for one server with these bounds, as uvicorn takes it."""
    members = {
        "bounds": bounds,
        "read_buffer": memoryview(bytearray(READ_BYTES)),
        "refusals": RefusalLog(),
        "unsent": Unsent(bounds.max_unsent_bytes),
    }
    return cast("type[asyncio.Protocol]", type("BoundedHttp1Protocol", (Http1Protocol,), members))


def _address(transport: asyncio.Transport, name: str) -> tuple[str, int] | None:
    """Return host and port; None for a socket that has none."""
    address = transport.get_extra_info(name)
    return (str(address[0]), int(address[1])) if isinstance(address, tuple) else None


def _bound_socket(connection: socket.socket, write_seconds: float) -> None:
    """Bound what the kernel keeps for a client, and how long for one that takes nothing of it or is gone."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_BYTES)
    if sys.platform == "linux":
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(write_seconds * 1000))


_TOO_MANY = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "Not accepted: too many connections.",
    headers=[(b"retry-after", b"%d" % RETRY_AFTER_SECONDS)],
)
