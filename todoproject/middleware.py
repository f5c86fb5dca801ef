"""What goes around every request: an id for it, a line in the log, and a clear answer while the database is away."""

import logging
import re
import time
from collections.abc import Callable
from uuid import uuid4

from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.template.loader import render_to_string

from todoproject.logs import request_id
from todos.failures import Failure, sort_failure

logger = logging.getLogger(__name__)

GetResponse = Callable[[HttpRequest], HttpResponseBase]
# Printable and short: it goes into logs and headers as it is.
VALID_ID = re.compile(r"[!-~]{1,128}")
RETRY_SECONDS = 5
QUIET_PATHS = {"/healthz", "/readyz", "/readyz/pipeline", "/metrics"}  # asked every few seconds by machines


class RequestLog:
    """One id in the answer and in every line that is logged meanwhile, and one line for the request itself.

    Takes the client's X-Request-ID where it is a sensible one.
    """

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


class PermissionsPolicy:
    """No page here needs a device of whoever looks at it."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response["Permissions-Policy"] = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
        return response


class DatabaseAway:
    """503 with Retry-After, for people as a page that tries again by itself, instead of an error without a cause."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exc: Exception) -> HttpResponse | None:
        if not isinstance(exc, DatabaseError) or sort_failure(exc) is not Failure.TRANSIENT:
            return None
        logger.warning("the database does not answer: %s", " ".join(str(exc).split()))
        connection.close()
        headers = {"Retry-After": str(RETRY_SECONDS)}
        if request.path.startswith("/api/"):
            detail = "The database does not answer at the moment."
            return JsonResponse({"detail": detail}, status=503, headers=headers)
        page = render_to_string("database_away.html", {"seconds": RETRY_SECONDS})
        return HttpResponse(page, status=503, headers=headers)
