"""Every error of the edge in one form: application/problem+json (RFC 9457) with the fields at fault."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from edge_api.contract import FieldError
from edge_api.shared.problems import MEDIA_TYPE, problem_body

RETRY_AFTER_SECONDS = 2


class Problem(Exception):
    """An answer other than success; raised anywhere below a route."""

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
        self.extension = dict(extension)  # members beside those of every problem

    def response(self) -> Response:
        body = problem_body(self.status, self.detail, self.errors) | self.extension
        return Response(json.dumps(body), self.status, self.headers, MEDIA_TYPE)


def unexpected() -> Problem:
    """The server logs the exception with its trace; the client learns nothing about the inside."""
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The edge failed in an unexpected way.")


class RetryLater(Problem):
    """503 with the time after which a retry is worth its while."""

    def __init__(self, detail: str) -> None:
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        super().__init__(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=headers)


def install_handlers(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def own(_request: Request, exc: Problem) -> Response:
        return exc.response()

    @app.exception_handler(HTTPException)
    async def of_the_framework(_request: Request, exc: HTTPException) -> Response:
        return Problem(HTTPStatus(exc.status_code), str(exc.detail), headers=exc.headers).response()

    @app.exception_handler(Exception)
    async def of_the_inside(_request: Request, _exc: Exception) -> Response:
        return unexpected().response()
