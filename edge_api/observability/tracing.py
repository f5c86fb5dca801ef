"""One span for each request to add todos. Imported only with EDGE_TRACING: OpenTelemetry's packages are optional.

The records of the request carry the span's context, so the consumer's spans are part of the same trace. OpenTelemetry's
own OTEL_* variables configure the exporter and the sampling.
"""

from http import HTTPStatus
from threading import Thread

from fastapi import Response
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import Scope

from edge_api.contract.headers import TRACEPARENT, X_REQUEST_ID

STOP_SECONDS = 3.0
_W3C = TraceContextTextMapPropagator()


class Tracing:
    def __init__(self) -> None:
        resource = Resource.create({SERVICE_NAME: "todo-edge"}).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("edge_api")

    def start(self, route: str, scope: Scope) -> Span:
        """Start a span, the child of the client's if the request names one. Stores its context in `scope`."""
        attributes = {"http.request.method": "POST", "http.route": route, "url.path": scope["path"]}
        span = self._tracer.start_span(f"POST {route}", _parent(scope), SpanKind.SERVER, attributes)
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, set_span_in_context(span, Context()))
        if traceparent := carrier.get(TRACEPARENT):
            scope[TRACEPARENT] = traceparent.encode()
        return span

    @staticmethod
    def end(span: Span, response: Response) -> None:
        """End the span with the status and the request id of the response."""
        status = response.status_code
        span.set_attribute("http.response.status_code", status)
        span.set_attribute("todo.request_id", dict(response.raw_headers)[X_REQUEST_ID.lower().encode()].decode())
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            span.set_status(StatusCode.ERROR)
        span.end()

    def stop(self) -> None:
        """Send the spans that are left. Blocks for STOP_SECONDS at most, for the collector may be unavailable."""
        sending = Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        sending.join(STOP_SECONDS)


def _parent(scope: Scope) -> Context:
    """Return the client's context; an empty one, so a new trace, if its header is missing, repeated or invalid."""
    found = [value.decode("latin-1") for name, value in scope["headers"] if name == TRACEPARENT.encode()]
    return _W3C.extract({TRACEPARENT: found[0]}) if len(found) == 1 else Context()
