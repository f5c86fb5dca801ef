"""The app factory: `uvicorn --factory edge_api.main:create_app`, or better `python -m edge_api`."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from edge_api.auth.authentication import Auth
from edge_api.http.dispatch import FastPath
from edge_api.http.docs import install_docs
from edge_api.http.routes import add_routes
from edge_api.http.schemas import ProblemDetails, Status
from edge_api.limits.rate_limit import RateLimits
from edge_api.observability.metrics import Metrics
from edge_api.problems import MEDIA_TYPE, RetryLater, install_handlers
from edge_api.publishing.batcher import Publisher
from edge_api.settings import Settings, load_settings
from edge_api.shared.env import ConfigError

if TYPE_CHECKING:
    from edge_api.limits.shared import SharedLimits
    from edge_api.observability.tracing import Tracing

log = logging.getLogger(__name__)


def create_app(settings: Settings | None = None) -> FastAPI:
    """Reads the environment unless `settings` are given; a wrong variable ends the process with its name."""
    try:
        settings = settings or load_settings()
    except ConfigError as exc:
        raise SystemExit(str(exc)) from None
    metrics, tracing = Metrics(), _tracing(settings)
    auth, publisher, limits = Auth(settings.edge), Publisher(settings, metrics), RateLimits(settings.edge, metrics)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        log.info("Starting with %r %r", settings.edge, settings.kafka)  # secrets are masked by their type
        if settings.edge.auth == "open":
            log.warning("EDGE_AUTH is open: whoever reaches this machine may add todos, without signing in")
        shared = _shared(limits, settings, metrics)
        await auth.start()
        await publisher.start()
        yield
        await publisher.stop()
        await auth.stop()
        if shared:
            await shared.stop()
        if tracing:
            await asyncio.to_thread(tracing.stop)

    app = FastPath(
        metrics,
        tracing,
        title="Todo edge",
        version="1",
        description="Takes todos in; a 202 means that Kafka has the todo on every in-sync replica.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a redirect would name the Host that the client made up
    )
    if settings.edge.cors_origins:
        app.allow_origins(settings.edge.cors_origins.split(","))
    install_handlers(app)
    install_docs(app)
    add_routes(app, settings, auth, publisher, metrics, limits)
    _add_health(app, auth, publisher, metrics)
    return app


def _tracing(settings: Settings) -> "Tracing | None":
    if not settings.edge.tracing:
        return None
    from edge_api.observability.tracing import Tracing

    return Tracing()


def _shared(limits: RateLimits, settings: Settings, metrics: Metrics) -> "SharedLimits | None":
    if settings.edge.redis_url is None or not limits.switched_on:
        return None
    from edge_api.limits.shared import SharedLimits

    return SharedLimits(settings.edge.redis_url.get_secret_value(), limits.switched_on, metrics)


def _add_health(app: FastAPI, auth: Auth, publisher: Publisher, metrics: Metrics) -> None:
    @app.get("/healthz", tags=["health"])
    async def healthz() -> Status:
        """The process is alive."""
        return Status(status="ok")

    unready = {"description": "No todo can be taken at the moment.", "content": {MEDIA_TYPE: {}}}

    @app.get("/readyz", tags=["health"], responses={503: {"model": ProblemDetails, **unready}})
    async def readyz() -> Status:
        """Todos can be taken: Kafka acknowledged the latest ones, and tokens can be verified."""
        if problem := publisher.unavailable_reason or auth.problem:
            raise RetryLater(f"Not ready: {problem}.")
        return Status(status="ready")

    @app.get("/metrics", tags=["health"], response_class=PlainTextResponse)
    async def metrics_() -> Response:
        """For Prometheus; edge_api/observability/metrics.py lists them."""
        return Response(metrics.expose(), media_type=CONTENT_TYPE_LATEST)
