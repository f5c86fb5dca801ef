"""One span for each request to add todos. Imported only with EDGE_TRACING: OpenTelemetry's packages are optional.

The span's context goes into the records of the request, so that what the consumer does is part of the same trace.
Where spans are sent and how many of them, is told by OpenTelemetry's own OTEL_* variables.
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
        """A child of the client's span, where the request names one. Leaves its context in the scope."""
        attributes = {"http.request.method": "POST", "http.route": route, "url.path": scope["path"]}
        span = self._tracer.start_span(f"POST {route}", _parent(scope), SpanKind.SERVER, attributes)
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, set_span_in_context(span, Context()))
        if traceparent := carrier.get(TRACEPARENT):
            scope[TRACEPARENT] = traceparent.encode()
        return span

    @staticmethod
    def end(span: Span, response: Response) -> None:
        status = response.status_code
        span.set_attribute("http.response.status_code", status)
        span.set_attribute("todo.request_id", dict(response.raw_headers)[X_REQUEST_ID.lower().encode()].decode())
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            span.set_status(StatusCode.ERROR)
        span.end()

    def stop(self) -> None:
        """Sends what waits, and blocks for STOP_SECONDS at most: the collector may be away."""
        sending = Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        sending.join(STOP_SECONDS)


def _parent(scope: Scope) -> Context:
    """Empty where the client's header is missing, comes twice or makes no sense: the trace begins here."""
    found = [value.decode("latin-1") for name, value in scope["headers"] if name == TRACEPARENT.encode()]
    return _W3C.extract({TRACEPARENT: found[0]}) if len(found) == 1 else Context()
