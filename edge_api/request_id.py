"""One id for a request, from its HTTP header through the record's header to the row and the logs."""

import re

from starlette.types import Scope

HTTP_HEADER, RECORD_HEADER = b"x-request-id", b"request-id"
# Printable and short: it goes into headers and logs as it is.
VALID_ID = re.compile(rb"[!-~]{1,128}")


def asked_id(scope: Scope) -> bytes | None:
    """The client's own, where it sent a sensible one."""
    for name, value in scope["headers"]:
        if name == HTTP_HEADER and VALID_ID.fullmatch(value):
            return bytes(value)
    return None
