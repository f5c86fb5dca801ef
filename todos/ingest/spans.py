"""One span for each stored todo whose record names a trace. Imported only with DJANGO_TRACING, by todos.ingest.tracing.

Where spans are sent and how many of them, is told by OpenTelemetry's own OTEL_* variables.
"""

import atexit
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from threading import Thread

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from edge_api.contract.headers import TRACEPARENT
from todos.ingest.parsing import ParsedBatch, TodoRow
from todos.ledger.batch_history import WriterInfo

# Of one batch. The processor keeps 2,048 by default (OTEL_BSP_MAX_QUEUE_SIZE), and drops what comes beyond.
MAX_SPANS = 1_000
STOP_SECONDS = 3.0
TRACEPARENT_BYTES = 55  # in W3C's version 00, which the edge writes
_W3C = TraceContextTextMapPropagator()


@cache
def _provider() -> TracerProvider:
    """Made by the first batch, because its thread does not survive a fork."""
    resource = Resource.create({SERVICE_NAME: "todo-ingest"}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    atexit.register(stop)
    return provider


def record(topic: str, batch: ParsedBatch, origin: WriterInfo, started_ns: int, ended_ns: int) -> None:
    """Each span lasts as long as the batch did: its todos were stored together."""
    tracer = _provider().get_tracer("todos")
    shared: dict[str, str | int] = {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.destination.name": topic,
        "messaging.batch.message_count": len(batch),
        "todo.worker": origin.worker,
        "todo.task_id": origin.task_id,
    }
    for todo, parent in islice(_traced(batch), MAX_SPANS):
        attributes = shared | {
            "messaging.destination.partition.id": str(todo.source_partition),
            "messaging.kafka.offset": todo.source_offset,
            "todo.id": str(todo.id),
            "todo.request_id": todo.request_id or str(todo.id),  # as the edge answers it
        }
        tracer.start_span("store todo", parent, SpanKind.CONSUMER, attributes, start_time=started_ns).end(ended_ns)


def stop() -> None:
    """Sends what waits, and blocks for STOP_SECONDS at most: the collector may be away."""
    if _provider.cache_info().currsize:
        sending = Thread(target=_provider().shutdown, daemon=True)
        _provider.cache_clear()
        sending.start()
        sending.join(STOP_SECONDS)


def _traced(batch: ParsedBatch) -> Iterator[tuple[TodoRow, Context]]:
    for todo, source in zip(batch.todos, batch.sources, strict=True):
        if source.headers and (parent := _parent(source.headers)):
            yield todo, parent


def _parent(headers: Sequence[tuple[str, bytes | None]]) -> Context | None:
    """None where there is no sound header (anyone may write one), or the trace is one that nobody samples."""
    value = dict(headers).get(TRACEPARENT)
    if value is None or len(value) != TRACEPARENT_BYTES:
        return None
    context = _W3C.extract({TRACEPARENT: value.decode("latin-1")})
    span = get_current_span(context).get_span_context()
    return context if span.is_valid and span.trace_flags.sampled else None
