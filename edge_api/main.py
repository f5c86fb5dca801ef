"""The app factory. `python -m edge_api` serves the app behind the bounded HTTP/1.1 protocol."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI
from pydantic import SecretStr

from edge_api.auth.authentication import Auth
from edge_api.http.admission import Admission
from edge_api.http.batches import new_batch
from edge_api.http.dispatch import PostDispatcher
from edge_api.http.health import add_health
from edge_api.http.openapi import add_docs_page, document_batch, document_todo
from edge_api.http.todos import new_todo
from edge_api.limits.rate_limit import RateLimits
from edge_api.observability.metrics import Metrics
from edge_api.problems import add_problem_handlers
from edge_api.publishing.batcher import Publisher
from edge_api.settings import Settings, load_settings
from edge_api.shared.env import ConfigError

if TYPE_CHECKING:
    from edge_api.limits.shared import SharedLimits
    from edge_api.observability.tracing import Tracing

log = logging.getLogger(__name__)


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the edge from `settings`, or else from the environment; an invalid variable ends the process."""
    try:
        settings = settings or load_settings()
    except ConfigError as exc:
        raise SystemExit(str(exc)) from None
    metrics = Metrics()
    tracing = _create_tracing(settings)
    auth = Auth(settings.edge)
    metrics.keys_age = auth.keys_age
    limits = RateLimits(settings.edge, metrics)
    publisher = Publisher(settings, metrics)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        log.info("Starting with %r %r", settings.edge, settings.kafka)  # secrets are masked by their type
        if settings.edge.auth == "open":
            log.warning("EDGE_AUTH is open: every client that reaches this machine may add todos without a token")
        async with AsyncExitStack() as stack:
            if tracing:
                stack.push_async_callback(asyncio.to_thread, tracing.stop)
            if settings.edge.redis_url and limits.active:
                stack.push_async_callback(_share_limits(settings.edge.redis_url, limits, metrics).stop)
            await auth.start()
            stack.push_async_callback(auth.stop)
            await publisher.start()
            stack.push_async_callback(publisher.stop)
            yield

    app = PostDispatcher(
        metrics,
        tracing,
        title="Todo edge",
        version="1",
        description="Accepts todos. A 202 response means that every in-sync replica of Kafka has the todo.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a redirect would contain the client-supplied Host header
    )
    if settings.edge.cors_origins:
        app.allow_origins(settings.edge.cors_origins.split(","))
    add_problem_handlers(app)
    parts = settings, Admission(auth, limits, metrics), publisher, metrics
    app.add_post("/new/", new_todo(*parts), **document_todo(settings.edge))
    app.add_post("/new/batch/", new_batch(*parts), **document_batch(settings.edge))
    add_health(app, auth, publisher, metrics)
    add_docs_page(app)
    return app


def _create_tracing(settings: Settings) -> "Tracing | None":
    if not settings.edge.tracing:
        return None
    from edge_api.observability.tracing import Tracing  # OpenTelemetry is optional

    return Tracing()


def _share_limits(redis_url: SecretStr, limits: RateLimits, metrics: Metrics) -> "SharedLimits":
    from edge_api.limits.shared import SharedLimits, connect  # the client for Redis is slow to import

    return SharedLimits(connect(redis_url.get_secret_value()), limits.active, metrics)
