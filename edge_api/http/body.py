"""Read requests' bodies, within bounds on their size and the memory of all of them. The server bounds their time."""

import asyncio
from http import HTTPStatus

from starlette.types import Receive, Scope

from edge_api.contract import MAX_BATCH_BYTES, FieldError
from edge_api.problems import Problem, RetryLater

MAX_READING_BYTES = 32 * MAX_BATCH_BYTES  # of all bodies that have arrived in part
JSON, NDJSON = "application/json", "application/x-ndjson"
_CROWDED_OUT = "other bodies need the memory"  # message of a cancellation


class BodyReader:
    """Reads bodies. While those that have arrived in part need too much memory, it gives up the ones begun first."""

    def __init__(self) -> None:
        self._held = 0
        self._held_by: dict[asyncio.Task[object], int] = {}  # ordered by when their first bytes arrived

    async def read(
        self, scope: Scope, receive: Receive, max_bytes: int, media_types: tuple[str, ...]
    ) -> tuple[str, bytes]:
        """Return the body's media type and its bytes.

        Raises Problem: 415 for another content type or charset, 413 above `max_bytes`, 503 for a body that is given up.
        """
        media_type = _check_headers(scope, max_bytes, media_types)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for mypy: every request has one
        try:
            return media_type, await self._receive_all(task, receive, max_bytes)
        except asyncio.CancelledError as exc:
            if exc.args != (_CROWDED_OUT,):
                raise
            task.uncancel()
            raise _crowded_out() from None
        finally:
            self._held -= self._held_by.pop(task, 0)

    async def _receive_all(self, task: asyncio.Task[object], receive: Receive, max_bytes: int) -> bytes:
        """Count the bytes received; do not trust Content-Length."""
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Problem(HTTPStatus.BAD_REQUEST, "The client closed the connection.")
            piece: bytes = message.get("body", b"")
            if len(body) + len(piece) > max_bytes:
                raise _too_large(max_bytes)
            if not message.get("more_body", False):
                return bytes(body + piece) if body else piece
            body += piece
            self._hold(task, len(piece))

    def _hold(self, task: asyncio.Task[object], size: int) -> None:
        self._held_by[task] = self._held_by.get(task, 0) + size
        self._held += size
        while self._held > MAX_READING_BYTES:
            first = next(iter(self._held_by))
            self._held -= self._held_by.pop(first)
            first.cancel(_CROWDED_OUT)


def _check_headers(scope: Scope, max_bytes: int, media_types: tuple[str, ...]) -> str:
    """Return the media type, one of `media_types`. Raises Problem if the headers rule the body out."""
    content_type = b""
    for name, value in scope["headers"]:
        if name == b"content-type":
            content_type = value
        elif name == b"content-length" and int(value) > max_bytes:
            raise _too_large(max_bytes)
        elif name == b"content-encoding" and value.lower() != b"identity":
            error = FieldError("Content-Encoding", "must not be set: compressed bodies are not accepted")
            raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body must not be compressed.", errors=[error])
    if content_type == b"application/json":
        return JSON
    media_type = _media_type(content_type.decode("latin-1"))
    if media_type not in media_types:
        error = FieldError("Content-Type", f"must be {' or '.join(media_types)}, in UTF-8")
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body must be JSON.", errors=[error])
    return media_type


def _media_type(content_type: str) -> str:
    """Return the media type in lower case, or an empty string if the charset is not UTF-8."""
    media_type, *parameters = [part.strip().lower() for part in content_type.split(";")]
    charsets = [part.removeprefix("charset=").strip('"') for part in parameters if part.startswith("charset=")]
    return media_type if all(charset in ("utf-8", "utf8") for charset in charsets) else ""


def _too_large(max_bytes: int) -> Problem:
    error = FieldError("body", f"must be at most {max_bytes:,} bytes")
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large.", errors=[error])


def _crowded_out() -> Problem:
    return RetryLater("Not stored: the body arrived slowly while many others were being read. Send it at once.")
