"""FastAPI with a short cut: the busy routes are answered before its middleware and router.

Those cost several times what the routes themselves do. Everything else, and these routes' documentation, is FastAPI's.
"""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.types import Receive, Scope, Send

from edge_api.problems import Problem, unexpected

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
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._busy: dict[str, Endpoint] = {}

    def add_post(self, path: str, endpoint: Endpoint, **documentation: Any) -> None:
        """POST to exactly this path; the router serves it too, under a root path, say."""

        async def create(request: Request) -> Response:
            return await endpoint(request.scope, request.receive)

        description = inspect.getdoc(endpoint)
        self.add_api_route(path, create, methods=["POST"], description=description, **documentation)
        self._busy[path] = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in self._busy:
            await self._answer(self._busy[scope["path"]], scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def _answer(self, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await endpoint(scope, receive)
        except Problem as exc:
            response = exc.response()
        except Exception:
            await unexpected().response()(scope, receive, send)
            raise  # for uvicorn to log, as Starlette does
        await response(scope, receive, send)
