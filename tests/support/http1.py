"""A server of edge_api.shared.http1 on a real socket, with an app that tells what it was asked."""

import asyncio
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import uvicorn

from edge_api.shared.http1.bounds import Bounds
from edge_api.shared.http1.exchange import Message, Receive, Send
from edge_api.shared.http1.protocol import bounded

PATIENCE = 60.0
MAX_BODY_BYTES = 1_000_000
LARGE_BYTES = 8 * 1024 * 1024  # more than the buffers of both sockets
GET = b"GET / HTTP/1.1\r\nHost: edge\r\n"
POST = b"POST / HTTP/1.1\r\nHost: edge\r\n"


class EchoApp:
    """Responds with what it was asked, once it has the whole body. Some paths make it behave otherwise."""

    def __init__(self) -> None:
        self.begun: list[str] = []  # paths
        self.clients: list[tuple[str, int] | None] = []
        self.disconnected = threading.Event()
        self.released = threading.Event()  # for /held

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        path = scope["path"]
        self.begun.append(path)
        self.clients.append(scope["client"])
        if path == "/raises":
            raise LookupError("the app is broken")
        if path in ("/nothing", "/eager"):
            await self._respond_first(path, receive, send)
            return
        body = None if path == "/early" else await self._read(receive)
        if body is None and path != "/early":
            self.disconnected.set()
            return
        while path == "/held" and not self.released.is_set():
            await asyncio.sleep(0.01)
        content = self._describe(scope, body or b"")
        if path == "/large":
            content = b"x" * LARGE_BYTES
        sized = [] if path in ("/stream", "/breaks-unsized") else [(b"content-length", b"%d" % len(content))]
        split = [(b"x-split", b"1\r\nx: 2")] if path == "/split" else []
        await send({"type": "http.response.start", "status": 200, "headers": sized + split})
        if path in ("/breaks", "/breaks-unsized"):
            await send({"type": "http.response.body", "body": content[:5], "more_body": True})
            raise LookupError("the app is broken")
        middle = len(content) // 2 if path == "/stream" else 0
        await send({"type": "http.response.body", "body": content[:middle], "more_body": True})
        await send({"type": "http.response.body", "body": content[middle:]})

    async def _respond_first(self, path: str, receive: Receive, send: Send) -> None:
        """Begin the response before the body is read, or respond without a body."""
        if path == "/nothing":
            await send({"type": "http.response.start", "status": 204, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body"})
            return
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await send({"type": "http.response.body", "body": await self._read(receive) or b""})

    async def _read(self, receive: Receive) -> bytes | None:
        body: bytes = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                return body
        return None

    def _describe(self, scope: Message, body: bytes) -> bytes:
        headers = [f"{name.decode()}: {value.decode('latin-1')}" for name, value in scope["headers"]]
        description = {name: scope[name] for name in ("method", "path", "http_version")}
        description |= {"client": scope["client"] and scope["client"][0], "headers": headers}
        return json.dumps(
            description | {"query": scope["query_string"].decode(), "body": body.decode("latin-1")}
        ).encode()


class Http1Server:
    def __init__(self, server: uvicorn.Server, app: EchoApp, address: tuple[str, int]) -> None:
        self.server, self.app, self.address = server, app, address

    @property
    def connections(self) -> int:
        return len(self.server.server_state.connections)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=PATIENCE)

    def talk(self, *pieces: bytes, ends: bool = False) -> bytes:
        """Send the pieces, with `ends` also that they are all, and return what comes until the server closes."""
        with closing(self.connect()) as client:
            for piece in pieces:
                client.sendall(piece)
            if ends:
                client.shutdown(socket.SHUT_WR)
            return read_until_closed(client)


@contextmanager
def serving(options: dict[str, Any] | None = None, **bounds: Any) -> Iterator[Http1Server]:
    app = EchoApp()
    all_bounds = Bounds(**{"max_connections": 100, "max_body_bytes": MAX_BODY_BYTES} | bounds)
    config = uvicorn.Config(
        app,
        http=bounded(all_bounds),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,  # a test that fails may leave a connection
        **(options or {"proxy_headers": False}),
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield Http1Server(server, app, listener.getsockname())
        finally:
            app.released.set()
            server.should_exit = True
            thread.join()


def read_until_closed(client: socket.socket) -> bytes:
    """Return what comes until the server closes the connection; fails where it does not."""
    received = b""
    while piece := client.recv(65_536):
        received += piece
    return received


def statuses(responses: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", responses)]


def last_body(responses: bytes) -> Any:
    return json.loads(responses.rpartition(b"\r\n\r\n")[2])
