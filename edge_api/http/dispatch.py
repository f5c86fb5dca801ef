"""FastAPI that calls the endpoints of POSTs itself, by their exact path, ahead of its own middleware and router.

Those cost several times what the endpoints do. They serve all other requests, and document these endpoints too.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from edge_api.contract.headers import IDEMPOTENCY_KEY, X_REQUEST_ID
from edge_api.http.headers import REQUEST_ID_HEADER, client_request_id, new_id
from edge_api.observability.metrics import Metrics
from edge_api.problems import Problem, unexpected

if TYPE_CHECKING:
    from edge_api.observability.tracing import Tracing

CLIENT_CLOSED_REQUEST = 499  # for metrics only: no response has this status

Endpoint = Callable[[Scope, Receive], Awaitable[Response]]


class JsonResponse(Response):
    """A response whose body and headers are encoded already."""

    def __init__(self, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
        self.status_code, self.body, self.background = status, body, None
        self.raw_headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            *headers,
        ]


class PostDispatcher(FastAPI):
    """Count, trace and answer each POST to an endpoint of `add_post`; leave every other request to FastAPI."""

    def __init__(self, metrics: Metrics, tracing: "Tracing | None", **options: Any) -> None:
        super().__init__(**options)
        self._metrics, self._tracing = metrics, tracing
        self._entry: ASGIApp = self._dispatch
        self._endpoints: dict[str, tuple[str, Endpoint]] = {}  # by exact path, with the route's name in metrics

    def add_post(self, path: str, endpoint: Endpoint, **documentation: Any) -> None:
        """Serve POST to `path`, which ends in a slash, and to the same path without it.

        `documentation` is passed to FastAPI's add_api_route. FastAPI's router serves the endpoint below a root path.
        """

        async def create(request: Request) -> Response:
            return await endpoint(request.scope, request.receive)

        bare_path = path.rstrip("/")
        self.add_api_route(path, create, methods=["POST"], **documentation)
        self.add_api_route(bare_path, create, methods=["POST"], include_in_schema=False)
        self._endpoints[path] = self._endpoints[bare_path] = path, endpoint

    def allow_origins(self, origins: list[str]) -> None:
        """Let pages of these origins use every path; without any, requests do not pay for CORS."""
        self._entry = CORSMiddleware(
            self._dispatch,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", IDEMPOTENCY_KEY, X_REQUEST_ID],
            expose_headers=["Location", "Retry-After", X_REQUEST_ID],
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._entry(scope, receive, send)

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in self._endpoints:
            await self._answer(*self._endpoints[scope["path"]], scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def _answer(self, route: str, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send) -> None:
        span = self._tracing.start(route, scope) if self._tracing else None
        fault: Exception | None = None
        try:
            response = await endpoint(scope, receive)
        except asyncio.CancelledError:  # the connection is lost, or the edge shuts down
            self._metrics.requests[route, CLIENT_CLOSED_REQUEST] += 1
            raise
        except Problem as exc:
            response = _with_request_id(exc.response(), scope)
        except Exception as exc:  # noqa: BLE001 - raised again after the response
            fault, response = exc, _with_request_id(unexpected().response(), scope)
        self._metrics.requests[route, response.status_code] += 1
        if self._tracing and span:
            self._tracing.end(span, response)
        await response(scope, receive, send)
        if fault:
            raise fault  # for uvicorn to log, as Starlette does


def _with_request_id(response: Response, scope: Scope) -> Response:
    """Add the header that a successful response has already."""
    response.raw_headers.append((REQUEST_ID_HEADER, client_request_id(scope) or new_id().encode()))
    return response
