"""Every error response of the edge, as an exception: application/problem+json with the fields at fault."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from edge_api.contract import FieldError
from edge_api.shared.problems import MEDIA_TYPE, RETRY_AFTER_SECONDS, problem_body

_ABOUT_CONTENT = (400, 413, 415, 422)  # statuses of requests whose todos are at fault


class Problem(Exception):
    """An error response, raised anywhere below a route; `extension` holds members besides the standard ones."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        extension: Mapping[str, Any] = {},
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors, self.headers = status, detail, errors, headers
        self.extension = extension

    def response(self) -> Response:
        body = {**problem_body(self.status, self.detail, self.errors), **self.extension}
        return Response(json.dumps(body), self.status, self.headers, MEDIA_TYPE)


class RetryLater(Problem):
    """A 503 response that names the seconds after which the client can try again."""

    def __init__(self, detail: str) -> None:
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        super().__init__(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=headers)


def outcome_of(exc: BaseException) -> str:
    """Return the outcome, as metrics count it, of the todos of a request that ended in `exc` before Kafka."""
    return "rejected" if isinstance(exc, Problem) and exc.status in _ABOUT_CONTENT else "refused"


def unexpected() -> Problem:
    """Return the problem for an unforeseen exception: the log has its traceback, the client learns no internals."""
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The edge failed in an unexpected way.")


def add_problem_handlers(app: FastAPI) -> None:
    """Make FastAPI answer every exception with a problem."""

    @app.exception_handler(Problem)
    async def handle_problem(_request: Request, exc: Problem) -> Response:
        return exc.response()

    @app.exception_handler(HTTPException)
    async def handle_http_exception(_request: Request, exc: HTTPException) -> Response:
        return Problem(HTTPStatus(exc.status_code), str(exc.detail), headers=exc.headers).response()

    @app.exception_handler(Exception)
    async def handle_exception(_request: Request, _exc: Exception) -> Response:
        return unexpected().response()
