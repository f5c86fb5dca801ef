"""Reads a request's body as JSON bytes, bounded in size and in time."""

import asyncio
from http import HTTPStatus

from fastapi import Request
from starlette.types import Receive, Scope

from edge_api.contract import MAX_BODY_BYTES, FieldError
from edge_api.problems import Problem

BODY_TIMEOUT_SECONDS = 10.0


async def read_json_body(request: Request) -> bytes:
    """Raises Problem: 415 for another content type, 413 above MAX_BODY_BYTES, 408 for a sender that is too slow."""
    _check_headers(request.scope)
    try:
        async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
            return await _read(request.receive)
    except TimeoutError:
        raise Problem(
            HTTPStatus.REQUEST_TIMEOUT,
            f"The body did not arrive within {BODY_TIMEOUT_SECONDS:g} s.",
            headers={"Connection": "close"},
        ) from None


def _check_headers(scope: Scope) -> None:
    content_type = b""
    for name, value in scope["headers"]:
        if name == b"content-type":
            content_type = value
        elif name == b"content-length" and int(value) > MAX_BODY_BYTES:
            raise _too_large()
        elif name == b"content-encoding" and value.lower() != b"identity":
            error = FieldError("Content-Encoding", "must not be set: the body is read as it is")
            raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body must not be compressed.", errors=[error])
    if content_type != b"application/json" and not _is_json(content_type.decode("latin-1")):
        error = FieldError("Content-Type", "must be application/json, in UTF-8")
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body must be JSON.", errors=[error])


def _is_json(content_type: str) -> bool:
    media_type, *parameters = [part.strip().lower() for part in content_type.split(";")]
    charsets = [part.removeprefix("charset=").strip('"') for part in parameters if part.startswith("charset=")]
    return media_type == "application/json" and all(charset in ("utf-8", "utf8") for charset in charsets)


async def _read(receive: Receive) -> bytes:
    """Trusts no Content-Length: counts what really comes."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Problem(HTTPStatus.BAD_REQUEST, "The client closed the connection.")
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
        if not message.get("more_body", False):
            return bytes(body)


def _too_large() -> Problem:
    error = FieldError("body", f"must be at most {MAX_BODY_BYTES:,} bytes")
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large.", errors=[error])
