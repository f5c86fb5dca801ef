"""Django behind an event loop: threads run Django, and only the loop waits for slow clients.

A request gets a thread once its whole body has arrived, and gives it back before the response is sent. A stream, as an
export or a large file, gets a thread for each part of it, when the client has taken the one before.
"""

import asyncio
import json
import math
import sys
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from io import BytesIO
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

from django.conf import settings

from edge_api.shared.problems import MEDIA_TYPE, problem_body

WAITING = 100  # requests, for the threads of the pages
PART_BYTES = 64 * 1024
# By all requests of this process, and as much by all responses, besides the first part of each.
KEPT_BYTES = 32 * 1024 * 1024
RETRY_SECONDS = 2
SAFE = {"GET", "HEAD", "OPTIONS"}  # methods that change nothing

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Wsgi = Callable[..., Iterable[bytes]]
Result = TypeVar("Result")


class Overloaded(Exception):
    """Raised for a request that would exceed a bound on what this process does at once."""


class Answer:
    """A response of Django. It is made and read in threads; `part` is what the client gets next."""

    def __init__(self, wsgi: Wsgi, environ: dict[str, Any]) -> None:
        """Let Django answer, and read the first part."""
        self.status, self.headers = 0, list[tuple[bytes, bytes]]()
        self.part, self.is_open = b"", True
        self._response = wsgi(environ, self._start)
        self._blocks = iter(self._response)
        self._is_stream = getattr(self._response, "streaming", False)
        self.read()

    def read(self) -> None:
        """Read the next part: all that is left, unless it is a stream. After the last part Django's request ends."""
        part = bytearray()
        try:
            for block in self._blocks:
                part += block
                if self._is_stream and len(part) >= PART_BYTES:
                    self.part = bytes(part)
                    return
        except BaseException:
            self.close()
            raise
        self.part = bytes(part)
        self.close()

    def close(self) -> None:
        """End Django's request."""
        self.is_open = False
        getattr(self._response, "close", lambda: None)()

    def _start(self, status: str, headers: list[tuple[str, str]], _error: Any = None) -> None:
        self.status = int(status[:3])
        self.headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


class Pool:
    """Threads with a queue, which is bounded by `waiting` or else by the number of connections."""

    def __init__(self, name: str, threads: int, waiting: float = math.inf) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._free = threads + waiting

    async def begin(self, work: Callable[[], Result]) -> Result:
        """Run the work in a thread. Raises Overloaded."""
        if not self._free:
            raise Overloaded
        self._free -= 1
        try:
            return await self.run(work)
        finally:
            self._free += 1

    def run(self, work: Callable[[], Result]) -> Awaitable[Result]:
        """Run the work in a thread, without a bound on the queue."""
        return asyncio.get_running_loop().run_in_executor(self._executor, work)


class Memory:
    """The bytes that requests, or responses, may keep while their clients are slow."""

    def __init__(self, free_bytes: int) -> None:
        self.free_bytes = free_bytes


class Share:
    """What one request or response keeps. The first part is free, so that large ones cannot push out small ones."""

    def __init__(self, memory: Memory) -> None:
        self._memory, self._kept = memory, 0

    def keep(self, size: int, *, may_refuse: bool = True) -> None:
        """Keep so many bytes from now on, instead of those before. Raises Overloaded, if it may."""
        more = max(size - PART_BYTES, 0) - self._kept
        if may_refuse and more > max(self._memory.free_bytes, 0):
            raise Overloaded
        self._memory.free_bytes -= more
        self._kept += more


class Application:
    """The ASGI application of the web process."""

    def __init__(self, wsgi: Wsgi) -> None:
        self._wsgi = wsgi
        self._requests, self._responses = Memory(KEPT_BYTES), Memory(KEPT_BYTES)
        self._pages = Pool("pages", settings.WEB_THREADS, WAITING)
        # These answer while all threads of the pages are busy. None waits for a service that it does not need itself.
        reports = Pool("reports", 1)
        self._pools = {
            "/healthz": Pool("alive", 1),
            "/readyz": Pool("ready", 1),
            "/.well-known/jwks.json": Pool("keys", 1),
            "/readyz/pipeline": reports,
            "/metrics": reports,
        }

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        pool = self._pools.get(scope["path"], self._pages)
        request, response = Share(self._requests), Share(self._responses)
        try:
            body = await _read_body(receive, request)
            if body is None:
                return
            answer = await pool.begin(partial(Answer, self._wsgi, _environ(scope, body)))
            request.keep(0)
            try:
                # What has been written must not be answered as refused, or the client would write it again.
                response.keep(len(answer.part), may_refuse=scope["method"] in SAFE)
                await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
                if answer.is_open:
                    await _send_stream(answer, pool, receive, send)
                await _send_part(answer.part, send, more_body=False)
            finally:
                if answer.is_open:
                    await pool.run(answer.close)
        except Overloaded:
            await _refuse(send)
        finally:
            request.keep(0)
            response.keep(0)


async def _read_body(receive: Receive, share: Share) -> bytes | None:
    """Return the whole body; None if the client is gone. Raises Overloaded."""
    body, more_body = bytearray(), True
    while more_body:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message["body"]
        share.keep(len(body))
        more_body = message["more_body"]
    return bytes(body)


async def _send_stream(answer: Answer, pool: Pool, receive: Receive, send: Send) -> None:
    """Send all parts but the last; stop when the client is gone."""
    gone = asyncio.ensure_future(receive())
    try:
        while answer.is_open and not gone.done():
            await _send_part(answer.part, send, more_body=True)
            await pool.run(answer.read)
    finally:
        gone.cancel()


async def _send_part(part: bytes, send: Send, *, more_body: bool) -> None:
    """Send in pieces, each when the client has taken the one before: the rest stays here, where it is counted."""
    for start in range(0, len(part) - PART_BYTES, PART_BYTES):
        await send({"type": "http.response.body", "body": part[start : start + PART_BYTES], "more_body": True})
    last = part[max(len(part) - 1, 0) // PART_BYTES * PART_BYTES :]
    await send({"type": "http.response.body", "body": last, "more_body": more_body})


async def _refuse(send: Send) -> None:
    status = HTTPStatus.SERVICE_UNAVAILABLE
    body = json.dumps(problem_body(status, "The service has too much to do at the moment.")).encode()
    headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), "retry-after": str(RETRY_SECONDS)}
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status.value, "headers": encoded})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _environ(scope: Message, body: bytes) -> dict[str, Any]:
    """Return the request as WSGI has it (PEP 3333)."""
    environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(scope["raw_path"]).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": scope["server"][0],
        "SERVER_PORT": str(scope["server"][1]),
        "REMOTE_ADDR": scope["client"][0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        key = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
        text = value.decode("latin-1")
        separator = "; " if key == "HTTP_COOKIE" else ","  # RFC 9113 8.2.3
        environ[key] = f"{environ[key]}{separator}{text}" if key in environ else text
    if (content_type := environ.pop("HTTP_CONTENT_TYPE", None)) is not None:
        environ["CONTENT_TYPE"] = content_type
    environ.pop("HTTP_CONTENT_LENGTH", None)
    if body:
        environ["CONTENT_LENGTH"] = str(len(body))  # also of a body that came in chunks
    return environ
