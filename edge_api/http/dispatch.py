"""FastAPI with a short cut: the busy routes are answered before its middleware and router.

Those cost several times what the routes themselves do. Everything else, and these routes' documentation, is FastAPI's.
"""

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send
from uuid_utils import uuid7

from edge_api.contract.headers import IDEMPOTENCY_KEY, X_REQUEST_ID
from edge_api.http.request_id import HTTP_HEADER, asked_id
from edge_api.observability.metrics import Metrics
from edge_api.problems import Problem, unexpected

if TYPE_CHECKING:
    from edge_api.observability.tracing import Tracing

Endpoint = Callable[[Scope, Receive], Awaitable[Response]]


class Answer(Response):
    """A response whose headers are bytes already."""

    def __init__(self, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
        self.status_code, self.body, self.background = status, body, None
        self.raw_headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            *headers,
        ]


class FastPath(FastAPI):
    def __init__(self, metrics: Metrics, tracing: "Tracing | None" = None, **options: Any) -> None:
        super().__init__(**options)
        self._metrics, self._tracing = metrics, tracing
        self._entry: ASGIApp = self._serve
        self._busy: dict[str, tuple[str, Endpoint]] = {}

    def add_post(self, path: str, endpoint: Endpoint, **documentation: Any) -> None:
        """POST to exactly this path; the router serves it too, under a root path, say."""

        async def create(request: Request) -> Response:
            return await endpoint(request.scope, request.receive)

        description = inspect.getdoc(endpoint)
        self.add_api_route(path, create, methods=["POST"], description=description, **documentation)
        self._busy[path] = path.rstrip("/") + "/", endpoint

    def allow_origins(self, origins: list[str]) -> None:
        """CORS around everything, the busy routes too; without it they pay for one more call."""
        self._entry = CORSMiddleware(
            self._serve,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", IDEMPOTENCY_KEY, X_REQUEST_ID],
            expose_headers=["Location", "Retry-After", X_REQUEST_ID],
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._entry(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in self._busy:
            await self._answer(*self._busy[scope["path"]], scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def _answer(self, route: str, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send) -> None:
        span = self._tracing.start(route, scope) if self._tracing else None
        fault: Exception | None = None
        try:
            response = await endpoint(scope, receive)
        except Problem as exc:
            response = _with_request_id(exc.response(), scope)
        except Exception as exc:  # noqa: BLE001 - it is raised again behind the answer
            fault, response = exc, _with_request_id(unexpected().response(), scope)
        self._metrics.requests[route, response.status_code] += 1
        if self._tracing and span:
            self._tracing.end(span, response)
        await response(scope, receive, send)
        if fault:
            raise fault  # for uvicorn to log, as Starlette does


def _with_request_id(response: Response, scope: Scope) -> Response:
    """A success has one already."""
    response.raw_headers.append((HTTP_HEADER, asked_id(scope) or str(uuid7()).encode()))
    return response
