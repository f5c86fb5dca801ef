"""Whether the bounded protocol works with the uvicorn that is installed: it overrides internals of uvicorn."""

import asyncio
import logging
import re
import socket

import uvicorn
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from edge_api.server.protocol import MAX_HEADER_BYTES

CHECK_SECONDS = 2.0
POST = b"POST / HTTP/1.1\r\nHost: edge\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
# Requests, and patterns of the responses to them; between them they run every override but the deadlines.
EXPECTED = {
    POST + b"\r\n2\r\nab\r\n0\r\n\r\n": rb"HTTP/1\.1 204 ",
    POST + b"X: " + b"x" * MAX_HEADER_BYTES + b"\r\n\r\n": rb"HTTP/1\.1 431 .*application/problem\+json",
    POST + b"\r\nno chunk\r\n\r\n": rb"HTTP/1\.1 400 .*application/problem\+json",
}


def check_protocol(protocol: type[asyncio.Protocol]) -> str | None:
    """Return None if the protocol responds as expected to a few requests on a socket pair, else what it did."""
    log = logging.getLogger("uvicorn.error")
    log.disabled = True  # it would warn of the invalid requests
    try:
        return asyncio.run(_check(protocol))
    finally:
        log.disabled = False


async def _check(protocol: type[asyncio.Protocol]) -> str | None:
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)  # the caller logs the result
    for request, expected in EXPECTED.items():
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                response = await _exchange(protocol, request)
        except Exception as exc:  # noqa: BLE001 - changed internals may raise any error
            return f"{type(exc).__name__}: {exc}"
        if not re.match(expected, response, re.DOTALL):
            return f"expected a response like {expected.decode()}, received {response[:100]!r}"
    return None


async def _exchange(protocol: type[asyncio.Protocol], request: bytes) -> bytes:
    config = uvicorn.Config(_app, http=protocol, lifespan="off", log_config=None, access_log=False)
    config.load()
    server, client = socket.socketpair()
    state = ServerState()
    transport, _ = await asyncio.get_running_loop().create_connection(
        lambda: protocol(config=config, server_state=state, app_state={}),  # type: ignore[call-arg]
        sock=server,
    )
    reader, writer = await asyncio.open_connection(sock=client)
    writer.write(request)
    try:
        return await reader.read()
    finally:
        writer.close()
        transport.abort()


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    while (message := await receive())["type"] == "http.request":
        if not message["more_body"]:
            await Response(status_code=204)(scope, receive, send)
            return
