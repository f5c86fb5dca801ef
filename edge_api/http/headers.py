"""The headers of a request that concern its todos, and the Kafka headers of the records made from it."""

from http import HTTPStatus

from starlette.types import Scope
from uuid_utils import uuid7

from edge_api.contract import FieldError, id_from_key
from edge_api.contract.headers import (
    FINGERPRINT,
    IDEMPOTENCY_KEY,
    REQUEST_ID,
    TRACEPARENT,
    VALID_IDEMPOTENCY_KEY,
    VALID_REQUEST_ID,
    X_REQUEST_ID,
)
from edge_api.problems import Problem
from edge_api.publishing.producer import Headers

# As ASGI servers give header names.
REQUEST_ID_HEADER, IDEMPOTENCY_KEY_HEADER = X_REQUEST_ID.lower().encode(), IDEMPOTENCY_KEY.lower().encode()


def client_request_id(scope: Scope) -> bytes | None:
    """Return the client's X-Request-ID, or None if it sent none that is valid."""
    for name, value in scope["headers"]:
        if name == REQUEST_ID_HEADER and VALID_REQUEST_ID.fullmatch(value):
            return bytes(value)
    return None


def parse_idempotency_key(scope: Scope) -> str | None:
    """Return the client's Idempotency-Key, or None if it sent none.

    Raises Problem 400 for an invalid key: if it were ignored, a replay would create a second todo.
    """
    key = None
    for name, value in scope["headers"]:
        if name == IDEMPOTENCY_KEY_HEADER:
            if key is not None or not VALID_IDEMPOTENCY_KEY.fullmatch(value):
                error = FieldError(IDEMPOTENCY_KEY, "must be 1 to 255 visible ASCII characters, and sent once")
                raise Problem(HTTPStatus.BAD_REQUEST, "The idempotency key is not valid.", errors=[error])
            key = bytes(value).decode()
    return key


def new_id() -> str:
    return str(uuid7())


def new_todo_id(owner: str, idempotency_key: str | None, index: int | None = None) -> str:
    """Return a random id, or under an Idempotency-Key the id that every replay gets; `index` is that in a batch."""
    return str(uuid7() if idempotency_key is None else id_from_key(owner, idempotency_key, index))


def record_headers(scope: Scope, request_id: bytes | None, fingerprint: str = "") -> Headers:
    """Return the headers of a record as Publisher.publish takes them; they tell the consumer about the request.

    `fingerprint` is that of the todo's content, set only under an Idempotency-Key. The trace is added by Tracing.start.
    """
    headers: Headers = [(REQUEST_ID, request_id)] if request_id else []
    if fingerprint:
        headers.append((FINGERPRINT, fingerprint.encode()))
    if TRACEPARENT in scope:
        headers.append((TRACEPARENT, scope[TRACEPARENT]))
    return headers
