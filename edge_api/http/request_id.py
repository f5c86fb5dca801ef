"""What a record's headers tell of its request: its id, its trace where there is one, and under an Idempotency-Key the
fingerprint of its content."""

from starlette.types import Scope

from edge_api.contract.headers import FINGERPRINT, REQUEST_ID, TRACEPARENT, VALID_REQUEST_ID, X_REQUEST_ID
from edge_api.publishing.producer import Headers

# As ASGI servers give header names.
HTTP_HEADER = X_REQUEST_ID.lower().encode()


def asked_id(scope: Scope) -> bytes | None:
    """The client's own, where it sent a sensible one."""
    for name, value in scope["headers"]:
        if name == HTTP_HEADER and VALID_REQUEST_ID.fullmatch(value):
            return bytes(value)
    return None


def record_headers(scope: Scope, request_id: bytes | None, fingerprint: str = "") -> Headers:
    """Return the headers of a record as Publisher.publish takes them."""
    headers: Headers = [(REQUEST_ID, request_id)] if request_id else []
    if fingerprint:
        headers.append((FINGERPRINT, fingerprint.encode()))
    if TRACEPARENT in scope:
        headers.append((TRACEPARENT, scope[TRACEPARENT]))
    return headers
