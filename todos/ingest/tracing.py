"""Trace stored todos with OpenTelemetry: one span for each todo whose record names a sampled trace.

Tracing is off unless DJANGO_TRACING is set. Only then is OpenTelemetry imported, because its packages are optional.
OpenTelemetry's own OTEL_* variables say where spans are sent and how many.
"""

import atexit
import logging
import time
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from threading import Thread
from typing import TYPE_CHECKING

from django.conf import settings

from edge_api.contract.headers import TRACEPARENT
from todos.ingest.parsing import ParsedBatch, TodoRow
from todos.ingest.store import StoreResult
from todos.ledger.batch_history import WriterInfo

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider

logger = logging.getLogger(__name__)

# Of one batch. The processor keeps 2,048 by default (OTEL_BSP_MAX_QUEUE_SIZE), and drops what comes beyond.
MAX_SPANS = 1_000
STOP_SECONDS = 3.0
TRACEPARENT_BYTES = 55  # in W3C's version 00, which the edge writes


def trace_batch(topic: str, batch: ParsedBatch, result: StoreResult, writer: WriterInfo, started_ns: int) -> None:
    """Trace a batch that was stored just now; `started_ns` is Unix time. A failure is only logged."""
    if not settings.TRACING or result.erased or result.dead_letters > len(batch.dead_letters):
        return  # some of the todos were not stored, and the result does not say which
    try:
        _record(topic, batch, writer, started_ns, time.time_ns())
    except Exception as exc:  # noqa: BLE001 - the batch is stored, a trace is not worth an error
        logger.warning("A batch is not traced: %s: %s", type(exc).__name__, exc)


def stop_tracing() -> None:
    """Send the remaining spans. Blocks for STOP_SECONDS at most, because the collector may be down."""
    if _provider.cache_info().currsize:
        sending = Thread(target=_provider().shutdown, daemon=True)
        _provider.cache_clear()
        sending.start()
        sending.join(STOP_SECONDS)


@cache
def _provider() -> "TracerProvider":
    """Return the provider, which the first batch creates because its thread does not survive a fork."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({SERVICE_NAME: "todo-ingest"}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    atexit.register(stop_tracing)
    return provider


def _record(topic: str, batch: ParsedBatch, writer: WriterInfo, started_ns: int, ended_ns: int) -> None:
    """Record spans that last as long as the batch did, because its todos were stored together."""
    from opentelemetry.trace import SpanKind

    tracer = _provider().get_tracer("todos")
    shared: dict[str, str | int] = {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.destination.name": topic,
        "messaging.batch.message_count": len(batch),
        "todo.worker": writer.worker,
        "todo.task_id": writer.task_id,
    }
    for todo, parent in islice(_traced(batch), MAX_SPANS):
        attributes = shared | {
            "messaging.destination.partition.id": str(todo.source_partition),
            "messaging.kafka.offset": todo.source_offset,
            "todo.id": str(todo.id),
            "todo.request_id": todo.request_id or str(todo.id),  # as the edge answers it
        }
        tracer.start_span("store todo", parent, SpanKind.CONSUMER, attributes, start_time=started_ns).end(ended_ns)


def _traced(batch: ParsedBatch) -> "Iterator[tuple[TodoRow, Context]]":
    for todo, source in zip(batch.todos, batch.sources, strict=True):
        if source.headers and (parent := _parent(source.headers)):
            yield todo, parent


def _parent(headers: Sequence[tuple[str, bytes | None]]) -> "Context | None":
    """Return the trace that a record names; None without a valid header, or if the trace is not sampled."""
    from opentelemetry.trace import get_current_span
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    value = dict(headers).get(TRACEPARENT)
    if value is None or len(value) != TRACEPARENT_BYTES:
        return None
    context = TraceContextTextMapPropagator().extract({TRACEPARENT: value.decode("latin-1")})
    span = get_current_span(context).get_span_context()
    return context if span.is_valid and span.trace_flags.sampled else None
