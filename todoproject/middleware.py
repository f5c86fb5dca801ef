"""Give every request an id, a line in the log and clear errors, also while the database is unavailable."""

import json
import logging
import re
import time
from collections.abc import Callable
from http import HTTPStatus
from uuid import uuid4

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.db import Error as DatabaseFailure
from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.template.loader import render_to_string
from rest_framework.response import Response

from edge_api.contract.headers import REQUEST_ID_PATTERN, X_REQUEST_ID
from todoproject.logs import PROBES, request_id
from todos.api.problems import problem
from todos.ingest.errors import ErrorKind, classify_error

logger = logging.getLogger(__name__)

GetResponse = Callable[[HttpRequest], HttpResponseBase]
# Printable and short, because it goes into logs and headers unchanged.
VALID_ID = re.compile(REQUEST_ID_PATTERN)
RETRY_SECONDS = 5
API = "/api/"
DETAILS = {
    HTTPStatus.NOT_FOUND: "There is nothing at this path.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "The service failed in an unexpected way.",
}
# Requested every few seconds by machines, and many by each page of the admin.
QUIET_PATHS = PROBES | {"/metrics", "/.well-known/jwks.json"}


class RequestLog:
    """Put one id into the response and into every line logged meanwhile; log the request itself.

    The client's X-Request-ID is used if it is printable and short.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self._verdicts: dict[str, tuple[object, ...]] = {}

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        client_id = request.headers.get(X_REQUEST_ID, "")
        current = client_id if VALID_ID.fullmatch(client_id) else str(uuid4())
        token, started = request_id.set(current), time.monotonic()
        try:
            response = self.get_response(request)
            response[X_REQUEST_ID] = current
            _log(request, response.status_code, time.monotonic() - started)
            # What a client did wrong, as a wrong Host, is no verdict.
            if request.path in PROBES and not 400 <= response.status_code < 500:
                self._log_verdict(request.path, response)
            return response
        finally:
            request_id.reset(token)

    def _log_verdict(self, path: str, response: HttpResponseBase) -> None:
        """Log each change of a probe's answer; its client sees the others."""
        verdict = _verdict(response)
        if verdict != self._verdicts.get(path, (HTTPStatus.OK,)):
            level = logging.INFO if response.status_code == HTTPStatus.OK else logging.WARNING
            content = getattr(response, "content", b"").decode()
            logger.log(level, "%s answers %d: %s", path, response.status_code, content)
        self._verdicts[path] = verdict


def _verdict(response: HttpResponseBase) -> tuple[object, ...]:
    """Return the status and the codes of the problems, without the numbers in their texts, which always change."""
    if response.status_code == HTTPStatus.OK or not isinstance(response, JsonResponse):
        return (response.status_code,)
    problems = json.loads(response.content).get("problems", [])
    return response.status_code, *sorted({problem["code"] for problem in problems})


def _log(request: HttpRequest, status: int, seconds: float) -> None:
    why = f": {host_problem}" if status == HTTPStatus.BAD_REQUEST and (host_problem := _host_problem(request)) else ""
    is_quiet = request.path in QUIET_PATHS or request.path.startswith(settings.STATIC_URL)
    level = logging.WARNING if why else logging.DEBUG if is_quiet else logging.INFO
    fields = {"method": request.method, "path": request.path, "status": status, "seconds": round(seconds, 4)}
    # Without the query, which may contain a secret.
    line = "%s %s %d in %.0f ms%s"
    logger.log(level, line, request.method, request.path, status, seconds * 1000, why, extra=fields)


def _host_problem(request: HttpRequest) -> str:
    """Return what is wrong with the header Host, or nothing."""
    try:
        request.get_host()
    except DisallowedHost as exc:
        return str(exc)
    return ""


class PlainCookies:
    """Drop cookies with U+0000, which a quoted cookie may hold and no query for its session can."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request.COOKIES = {name: value for name, value in request.COOKIES.items() if "\0" not in value}
        return self.get_response(request)


class ApiProblems:
    """Turn Django's own errors under /api/, such as an unknown path, into problems; with DJANGO_DEBUG too."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        is_page = not isinstance(response, Response) and response.get("Content-Type", "").startswith("text/html")
        if response.status_code < HTTPStatus.BAD_REQUEST or not is_page or not request.path.startswith(API):
            return response
        status = HTTPStatus(response.status_code)
        return problem(status, DETAILS.get(status, f"{status.description or status.phrase}."))


class DatabaseAway:
    """Answer 503 with Retry-After while the database is unavailable; browsers get a page that reloads itself."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exc: Exception) -> HttpResponse | None:
        if not isinstance(exc, DatabaseFailure) or classify_error(exc) is not ErrorKind.TRANSIENT:
            return None
        logger.warning("the database does not answer: %s", " ".join(str(exc).split()))
        connection.close()
        headers = {"Retry-After": str(RETRY_SECONDS)}
        if request.path.startswith(API):
            detail = "The database does not answer at the moment."
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=headers)
        page = render_to_string("database_unavailable.html", {"seconds": RETRY_SECONDS})
        return HttpResponse(page, status=503, headers=headers)
