"""The error responses that the protocol itself sends: the app never gets the request."""

import json
import logging
import time
from collections.abc import Iterable
from http import HTTPStatus

from edge_api.shared.problems import MEDIA_TYPE, Errors, problem_body

log = logging.getLogger(__name__)

LOG_SECONDS = 60.0
STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
Headers = Iterable[tuple[bytes, bytes]]


class Refusal(Exception):
    """A problem after which the connection is closed."""

    def __init__(self, status: HTTPStatus, detail: str, *, errors: Errors = (), headers: Headers = ()) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors, self.headers = status, detail, errors, headers

    def encode(self, default_headers: Headers) -> bytes:
        """Return the whole response."""
        body = json.dumps(problem_body(self.status, self.detail, self.errors)).encode()
        headers = [
            *default_headers,
            *self.headers,
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        return b"%b%b\r\n%b" % (STATUS_LINES[self.status], lines, body)


class RefusalLog:
    """Log refusals by one line in LOG_SECONDS: a client that makes them must not fill the disk."""

    def __init__(self) -> None:
        self._count, self._logged_at = 0, -LOG_SECONDS

    def add(self, refusal: Refusal) -> None:
        self._count += 1
        now = time.monotonic()
        if now - self._logged_at >= LOG_SECONDS:
            log.info("Refused %d requests, the latest by %d: %s", self._count, refusal.status, refusal.detail)
            self._count, self._logged_at = 0, now
