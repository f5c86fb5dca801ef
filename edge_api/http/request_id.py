"""What a record's headers tell of its request: its id, its trace where there is one, and under an Idempotency-Key the
fingerprint of its content."""

from starlette.types import Scope

from edge_api.contract.headers import FINGERPRINT, REQUEST_ID, TRACEPARENT, VALID_REQUEST_ID, X_REQUEST_ID
from edge_api.publishing.record_batch import NO_HEADERS, encode_headers

# As ASGI servers give header names.
HTTP_HEADER = X_REQUEST_ID.lower().encode()


def asked_id(scope: Scope) -> bytes | None:
    """The client's own, where it sent a sensible one."""
    for name, value in scope["headers"]:
        if name == HTTP_HEADER and VALID_REQUEST_ID.fullmatch(value):
            return bytes(value)
    return None


def record_headers(scope: Scope, request_id: bytes | None, fingerprint: str = "") -> bytes:
    """Encoded, as Publisher.publish takes them."""
    headers = [(REQUEST_ID.encode(), request_id)] if request_id else []
    if fingerprint:
        headers.append((FINGERPRINT.encode(), fingerprint.encode()))
    if TRACEPARENT in scope:
        headers.append((TRACEPARENT.encode(), scope[TRACEPARENT]))
    return encode_headers(*headers) if headers else NO_HEADERS
