"""/healthz, /readyz and /metrics."""

from fastapi import FastAPI, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from edge_api.auth.authentication import Auth
from edge_api.http.schemas import ProblemDetails, Status
from edge_api.observability.metrics import Metrics
from edge_api.problems import RetryLater
from edge_api.publishing.batcher import Publisher
from edge_api.shared.problems import MEDIA_TYPE


def add_health(app: FastAPI, auth: Auth, publisher: Publisher, metrics: Metrics) -> None:
    @app.get("/healthz", tags=["health"])
    async def healthz() -> Status:
        """The process is alive."""
        return Status(status="ok")

    unready = {"description": "The edge cannot accept todos at the moment.", "content": {MEDIA_TYPE: {}}}

    @app.get("/readyz", tags=["health"], responses={503: {"model": ProblemDetails, **unready}})
    async def readyz() -> Status:
        """The edge can accept todos: Kafka acknowledged the latest ones, and tokens can be verified."""
        if problem := publisher.unavailable_reason or auth.unavailable_reason:
            raise RetryLater(f"Not ready: {problem}.")
        return Status(status="ready")

    @app.get("/metrics", tags=["health"], response_class=PlainTextResponse)
    async def metrics_() -> Response:
        """Metrics for Prometheus."""
        return Response(metrics.expose(), media_type=CONTENT_TYPE_LATEST)
