"""One id for each request, in its answer and in every line that is logged meanwhile, and one line for the request."""

import logging
import re
import time
from collections.abc import Callable
from uuid import uuid4

from django.http import HttpRequest, HttpResponseBase

from todoproject.logs import request_id

logger = logging.getLogger(__name__)

GetResponse = Callable[[HttpRequest], HttpResponseBase]
# Printable and short: it goes into logs and headers as it is.
VALID_ID = re.compile(r"[!-~]{1,128}")
QUIET_PATHS = {"/healthz", "/readyz", "/readyz/pipeline", "/metrics"}  # asked every few seconds by machines


class RequestLog:
    """Takes the client's X-Request-ID where it is a sensible one."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        asked = request.headers.get("X-Request-ID", "")
        current = asked if VALID_ID.fullmatch(asked) else str(uuid4())
        token, started = request_id.set(current), time.monotonic()
        try:
            response = self.get_response(request)
            response["X-Request-ID"] = current
            _log(request, response.status_code, time.monotonic() - started)
            return response
        finally:
            request_id.reset(token)


def _log(request: HttpRequest, status: int, seconds: float) -> None:
    level = logging.DEBUG if request.path in QUIET_PATHS else logging.INFO
    fields = {"method": request.method, "path": request.path, "status": status, "seconds": round(seconds, 4)}
    logger.log(
        level, "%s %s %d in %.0f ms", request.method, request.get_full_path(), status, seconds * 1000, extra=fields
    )
