"""What a record's headers tell of its request: its id, its trace where there is one, and under an Idempotency-Key the
fingerprint of its content."""

import re

from starlette.types import Scope

from edge_api.contract import FINGERPRINT_HEADER
from edge_api.record_batch import NO_HEADERS, encode_headers

HTTP_HEADER, RECORD_HEADER = b"x-request-id", b"request-id"
TRACEPARENT = "traceparent"  # in W3C's Trace Context, in the record, and in the scope if edge_api.tracing puts it there
# Printable and short: it goes into headers and logs as it is.
VALID_ID = re.compile(rb"[!-~]{1,128}")


def asked_id(scope: Scope) -> bytes | None:
    """The client's own, where it sent a sensible one."""
    for name, value in scope["headers"]:
        if name == HTTP_HEADER and VALID_ID.fullmatch(value):
            return bytes(value)
    return None


def record_headers(scope: Scope, request_id: bytes | None, fingerprint: str = "") -> bytes:
    """Encoded, as Publisher.publish takes them."""
    headers = [(RECORD_HEADER, request_id)] if request_id else []
    if fingerprint:
        headers.append((FINGERPRINT_HEADER.encode(), fingerprint.encode()))
    if TRACEPARENT in scope:
        headers.append((TRACEPARENT.encode(), scope[TRACEPARENT]))
    return encode_headers(*headers) if headers else NO_HEADERS
